"""Outgoing webhooks as operators see to them: added, tried, turned off and on, replayed, rotated and removed."""

from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from services.clock import now
from services.settings import OperatorToken
from services.webhooks.messages import KINDS
from tests.support import calling
from tests.support.http import Caller, Site, assert_problem, pointers
from tests.support.receiver import received, receiving
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

NOBODY = "AaIBaD4Jdt2r0cFH3ftnxQ"
EDITOR = OperatorToken(name="editor", scopes=frozenset({"webhooks"}), token="token-of-who-sees-to-webhooks")


@pytest.fixture
def operator(site: Site) -> Iterator[Caller]:
    """An operator with the scope, who leaves no webhook behind."""
    caller = site.operator_for("webhooks")
    yield caller
    for one in caller.get("/v1/ops/webhooks").json()["items"]:
        assert caller.delete(f"/v1/ops/webhooks/{one['id']}").status_code == 200


def add(operator: Caller, url: str = "https://hooks.example/x", **more: Any) -> dict[str, Any]:
    """Add a webhook, and return the answer."""
    answer = operator.post("/v1/ops/webhooks", {"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_webhook_is_added_and_its_secret_shown_once(site: Site, operator: Caller) -> None:
    """It begins at the head with every kind; no later answer holds the secret."""
    made = add(operator, note="the shop")
    webhook = made["webhook"]
    assert made["secret"].startswith("whsec_") and webhook["kinds"] == list(KINDS) and webhook["is_on"] and not webhook["lag"]
    path = f"/v1/ops/webhooks/{webhook['id']}"
    for answer in (operator.get(path), operator.get("/v1/ops/webhooks"), site.operator.get("/v1/ops/status")):
        assert answer.status_code == 200 and webhook["id"] in answer.text and made["secret"] not in answer.text
    assert "/x" not in site.operator.get("/v1/ops/status").text.partition('"webhooks"')[2]


def test_a_repetition_is_the_first_one_again(operator: Caller) -> None:
    """Under one Idempotency-Key there is one webhook, and its secret is answered again."""
    headers = {"Idempotency-Key": f"add-{now().timestamp()}"}
    first, again = (operator.post("/v1/ops/webhooks", {"url": "https://a.example/"}, headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert len(operator.get("/v1/ops/webhooks").json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "http://example.com/"}, "/url"),
        ({"url": "https://10.0.0.1/"}, "/url"),
        ({"url": "https://169.254.169.254/latest/"}, "/url"),
        ({"url": "https://u:p@example.com/"}, "/url"),
        ({"url": "https://example.com/", "kinds": []}, "/kinds"),
        ({"url": "https://example.com/", "kinds": ["vote.cast"]}, "/kinds/0"),
        ({"url": "https://example.com/", "note": "a\nb"}, "/note"),
        ({"url": "https://example.com/", "secret": "mine"}, "/secret"),
        ({}, "/url"),
    ],
)
def test_a_bad_webhook_is_refused(operator: Caller, body: Any, pointer: str) -> None:
    """What can't be told there, or of, is a 400 that names the place; nothing is kept."""
    assert pointers(assert_problem(operator.post("/v1/ops/webhooks", body), 400)) == [pointer]
    assert operator.get("/v1/ops/webhooks").json() == {"items": []}


def test_it_needs_the_scope(site: Site) -> None:
    """Other operators, visitors and strangers may neither see webhooks nor make them."""
    for scope in ("read", "catalog", "moderate", "voters", "digest"):
        assert_problem(site.operator_for(scope).get("/v1/ops/webhooks"), 403)
    assert_problem(site.visitor().post("/v1/ops/webhooks", {"url": "https://example.com/"}), 401)
    assert_problem(site.anyone.get(f"/v1/ops/webhooks/{NOBODY}"), 401)


def test_it_is_turned_off_and_on_replayed_and_rotated(site: Site, operator: Caller) -> None:
    """Each is said in the answer, and may be repeated."""
    made = add(operator)
    path = f"/v1/ops/webhooks/{made['webhook']['id']}"
    for _ in range(2):
        off = operator.put(f"{path}/state", {"on": False, "reason": "moving house"}).json()
        assert (off["is_on"], off["off_reason"]) == (False, "webhooks turned it off: moving house") and off["off_at"]
    on = operator.put(f"{path}/state", {"on": True}).json()
    assert on["is_on"] and on["off_reason"] is None
    replayed = operator.post(f"{path}/replay", {"position": 1}).json()
    assert replayed["position"] == 0
    assert operator.post(f"{path}/replay", {"position": 2**62}).json()["position"] == site.head()
    assert pointers(assert_problem(operator.post(f"{path}/replay", {"position": 0}), 400)) == ["/position"]
    rotated = operator.post(f"{path}/secret", {"hours": 2})
    assert rotated.status_code == 201 and rotated.json()["secret"] != made["secret"]
    assert rotated.json()["webhook"]["secrets"] == 2
    assert operator.post(f"{path}/secret", {"hours": 0}).json()["webhook"]["secrets"] == 2
    assert operator.delete(path).json() == {"id": made["webhook"]["id"]}
    for answer in (
        operator.get(path),
        operator.delete(path),
        operator.post(f"{path}/test"),
        operator.post(f"{path}/secret", {}),
    ):
        assert_problem(answer, 404)


def test_a_trial_says_what_came_of_it(operator: Caller) -> None:
    """The test message is signed and tells nothing; a failure is an answer, not an error."""
    with received() as receiver:
        made = add(operator, receiver.url(), kinds=["issue.sent"] if "issue.sent" in KINDS else ["review.waits"])
        path = f"/v1/ops/webhooks/{made['webhook']['id']}/test"
        assert operator.post(path).json() == {"status": 204, "failed": None}
        (one,) = receiver.received
        body = Verifier(made["secret"]).verify(one.body, one.headers)
        assert body["type"] == "webhook.test" and body["data"]["subscription"] == made["webhook"]["id"]
        receiver.answer = lambda received: "fails"
        assert operator.post(path).json() == {"status": 500, "failed": "it answered 500"}


async def test_the_page_does_it_all(dsn: str, valkey_url: str) -> None:
    """A form adds a webhook and shows its secret once, hostile notes are text, and each button does what it says."""
    given = settings(dsn, valkey_url, operator_tokens=(EDITOR,), webhook_loopback=True)
    cookie = await session_cookie(given, EDITOR)
    async with client(given) as http, receiving() as receiver:
        http.headers.update({"cookie": cookie, "sec-fetch-site": "same-origin", "accept": "text/html"})
        bad = await http.post("/ops/webhooks", data={"url": "https://10.0.0.1/", "verdict_changed": "yes"})
        assert bad.status_code == 400
        assert (await http.post("/ops/webhooks", data={"url": "https://a.example/"})).status_code == 400
        form = {"url": receiver.url(), "note": "<b>shop</b>", "verdict_changed": "yes", "review_waits": "yes"}
        made = await http.post("/ops/webhooks", data=form)
        assert made.status_code == 200 and "whsec_" in made.text and "&lt;b&gt;shop" in made.text and "<b>shop" not in made.text
        shown = await http.get("/ops/webhooks")
        assert "whsec_" not in shown.text and "verdict.changed, review.waits" in shown.text
        (path,) = {line.split('"')[0] for line in shown.text.split('action="')[1:] if line.startswith("/ops/webhooks/")}
        tried = await http.post(path, data={"do": "test"})
        assert "The test message was taken (204)." in tried.text
        receiver.answer = lambda received: "fails"
        assert "was not taken: it answered 500" in (await http.post(path, data={"do": "test"})).text
        assert "whsec_" in (await http.post(path, data={"do": "rotate"})).text
        for do, more, said in (("off", {}, "off"), ("on", {}, "on"), ("replay", {"position": "1"}, "replay")):
            done = await http.post(path, data={"do": do, **more})
            assert (done.status_code, done.headers["location"]) == (303, f"/ops/webhooks?said={said}")
        assert (await http.post(path, data={"do": "replay"})).status_code == 400
        assert "secrets sign" in (await http.get("/ops/webhooks?said=on")).text
        assert (await http.post(path, data={"do": "remove"})).headers["location"] == "/ops/webhooks?said=removed"
        assert (await http.post(path, data={"do": "on"})).status_code == 404
        assert "Nobody is told" in (await http.get("/ops/webhooks")).text


def test_metrics_count_webhooks(site: Site, operator: Caller) -> None:
    """Those that are on, fail, or went off are counted; none is named."""
    made = add(operator)
    text = calling.get(f"{site.client.base_url}/metrics").text
    assert 'ballotpress_webhooks{of="on"} 1.0' in text and 'ballotpress_webhooks{of="gone_off"} 0.0' in text
    assert 'ballotpress_webhook_lag_events{of="furthest"}' in text and made["webhook"]["id"] not in text
