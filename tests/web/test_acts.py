"""Who did what by page and by program: each address that changes something leaves a line in the operators' log."""

from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import msgspec
import pytest

from events.log.committer import Committer
from services.clock import fresh_id
from services.operators.deeds import DEEDS
from services.operators.sessions import Sessions
from services.settings import SCOPES, OperatorToken
from tests.support.catalogs import file, tool
from tests.support.cohorts import cast
from tests.support.deeds import deeds_of
from tests.support.routes import Route, all_routes
from tests.support.runners import catch_up_all
from tests.support.settings import settings
from tests.support.signing_in import VISIT, session_cookie
from tests.support.sites import client

ANN = OperatorToken(name="ann", scopes=SCOPES, token="token-of-ann-in-the-tests")
BOB = OperatorToken(name="bob", scopes=frozenset({"read"}), token="token-of-bob-in-the-tests")
BEARER: Final = {"authorization": f"Bearer {ANN.token}"}
BROWSER: Final = {"sec-fetch-site": "same-origin", "accept": "text/html"}

HELD: Final = """
insert into newsletter.holds (provider, refused, held_for, held_at, probe_at) values ('google', 10, 'no', now(), now())
on conflict (provider) do update set held_at = now(), probe_at = now()
"""

LEAVES_NONE: Final = {
    ("POST", "/v1/ops/mail-check"): "it asks a worker to look again, as that does daily, and decides nothing",
    ("POST", "/v1/ops/webhooks/{webhook:str}/test"): "a trial changes nothing",
}
"""The addresses that take something and leave no line, each with the reason."""

LEAVES: Final = {
    ("POST", "/ops/sign-in"): "signed-in",
    ("POST", "/ops/sign-out"): "signed-out",
    ("POST", "/ops/sessions"): "ended-session",
    ("POST", "/v1/ops/catalog"): "ToolAdded",
    ("PUT", "/v1/ops/tools/{tool:str}/puzzle"): "switched-puzzle-on",
    ("DELETE", "/v1/ops/tools/{tool:str}/puzzle"): "switched-puzzle-off",
    ("POST", "/ops/puzzles"): "switched-puzzle-on",
    ("POST", "/v1/ops/voters/{visitor:str}/disqualification"): "CorrectionRecorded",
    ("DELETE", "/v1/ops/voters/{visitor:str}/disqualification"): "CorrectionRecorded",
    ("POST", "/ops/voters"): "CorrectionRecorded",
    ("POST", "/v1/ops/webhooks"): "added-webhook",
    ("PUT", "/v1/ops/webhooks/{webhook:str}/state"): "turned-webhook-off",
    ("POST", "/v1/ops/webhooks/{webhook:str}/replay"): "replayed-webhook",
    ("POST", "/v1/ops/webhooks/{webhook:str}/secret"): "rotated-secret",
    ("DELETE", "/v1/ops/webhooks/{webhook:str}"): "removed-webhook",
    ("POST", "/ops/webhooks"): "added-webhook",
    ("POST", "/ops/webhooks/{webhook:str}"): "turned-webhook-off",
    ("PUT", "/v1/ops/mail-check/waiver"): "waived-mail-check",
    ("DELETE", "/v1/ops/mail-check/waiver"): "took-waiver-back",
    ("POST", "/ops/mail"): "waived-mail-check",
    ("POST", "/v1/ops/holds/{provider:str}/resumption"): "resumed-hold",
    ("POST", "/ops/holds"): "resumed-hold",
}
"""The addresses that leave a line, each with its type: the test below asks them all."""

LEAVES_EVENTS: Final = {
    ("GET", "/ops/sign-in/back"): "signed-in",
    ("POST", "/ops/reviews/{id:str}/decision"): "ReviewRejected",
    ("POST", "/v1/ops/reviews/{id:str}/decision"): "ReviewRejected",
    ("POST", "/ops/integrity/{id:str}/decision"): "CohortDecided",
    ("POST", "/v1/ops/integrity/{id:str}/decision"): "CohortDecided",
    ("POST", "/ops/quarantine"): "EventDropped",
    ("POST", "/v1/ops/quarantine/{entry:str}/drop"): "EventDropped",
    ("POST", "/ops/suppressions"): "SubscriberReinstated",
    ("POST", "/v1/ops/suppressions/{subscriber:str}/reinstatement"): "SubscriberReinstated",
}
"""Those whose events, or the sign-in at the provider, other tests of these pages look for."""


def changing() -> set[Route]:
    """Return the operators' addresses by which something can change."""
    looks = ("GET", "HEAD")
    operators = {route for route in all_routes() if route.path.startswith(("/ops", "/v1/ops"))}
    return {route for route in operators if route.method not in looks} | {Route("GET", "/ops/sign-in/back")}


def test_of_every_address_it_is_said_what_it_leaves() -> None:
    """Each address that takes something is in one of the three lists, and each type has words."""
    assert {*LEAVES_NONE, *LEAVES, *LEAVES_EVENTS} == changing()
    assert {*LEAVES.values(), *LEAVES_EVENTS.values()} <= DEEDS.keys()


class Ann:
    """An operator who asks addresses; each is expected to leave its line, and none beside it. `ids` fill the paths."""

    def __init__(self, http: httpx.AsyncClient, database: Any, cookie: str) -> None:
        self._http = http
        self._database = database
        self._browser = BROWSER | {"cookie": cookie}
        self.ids = {"tool": "alpha", "provider": "google"}
        self.done: set[tuple[str, str]] = set()

    async def program(self, method: str, path: str, given: Any = None, leaves: str | None = None) -> httpx.Response:
        """Ask as a program."""
        return await self._ask(method, path, leaves, headers=BEARER, json=given)

    async def form(self, path: str, form: dict[str, str], leaves: str | None = None) -> httpx.Response:
        """Post a form as a browser."""
        return await self._ask("POST", path, leaves, headers=self._browser, data=form)

    async def _ask(self, method: str, path: str, leaves: str | None, **request: Any) -> httpx.Response:
        before = await deeds_of(self._database, "ann")
        answer = await self._http.request(method, Route(method, path).address(**self.ids), **request)
        assert answer.status_code in (200, 201, 303), (path, answer.text)
        new = (await deeds_of(self._database, "ann"))[: -len(before) or None]
        expected = leaves or LEAVES[method, path]
        assert expected in new and (expected[0].isupper() or new == [expected]), (method, path, new)
        self.done.add((method, path))
        return answer


@pytest.fixture
async def ann(dsn: str, valkey_url: str, connection: Any) -> AsyncIterator[Ann]:
    """Ann, on a site with a tool, where Bob has signed in."""
    given = settings(dsn, valkey_url, operator_tokens=(ANN, BOB))
    await Sessions(connection, given).begin_by_token(fresh_id(), fresh_id(), BOB, VISIT)
    async with client(given) as http:
        cookie = await session_cookie(given, ANN)
        await connection.execute("update operators.acts set at = at - interval '2 hours'")
        yield Ann(http, connection, cookie)


async def test_each_address_that_changes_something_leaves_its_line(
    ann: Ann, committer: Committer, connection: Any, dsn: str
) -> None:
    """Whatever it is about: with the operator's name, once, and in words."""
    await ann.program("POST", "/v1/ops/catalog", msgspec.to_builtins(file(tool("alpha"))))
    await _about_votes(ann, committer, connection, dsn)
    await _about_webhooks(ann)
    await _about_mail(ann, connection)
    await ann.form("/ops/sessions", {"do": "all"})
    await ann.form("/ops/sign-out", {})
    await ann.form("/ops/sign-in", {"token": ANN.token})
    assert ann.done == LEAVES.keys()


async def _about_votes(ann: Ann, committer: Committer, connection: Any, dsn: str) -> None:
    alpha = await connection.fetchval("select data->>'tool' from log.events where type = 'ToolAdded'")
    (voter,) = await cast(committer, alpha, "ship", 1)
    await catch_up_all(dsn)
    ann.ids["visitor"] = voter
    await ann.program("POST", "/v1/ops/voters/{visitor:str}/disqualification", {"reason": "one hand"})
    await ann.program("DELETE", "/v1/ops/voters/{visitor:str}/disqualification", {"reason": "two hands"})
    await ann.form("/ops/voters", {"voters": voter, "reason": "one hand", "action": "void", "step": "do"})
    await ann.program("PUT", "/v1/ops/tools/{tool:str}/puzzle", {"hours": 2})
    await ann.program("DELETE", "/v1/ops/tools/{tool:str}/puzzle")
    await ann.form("/ops/puzzles", {"tool": "alpha", "hours": "1"})
    await ann.form("/ops/puzzles", {"tool": "alpha"}, leaves="switched-puzzle-off")


async def _about_webhooks(ann: Ann) -> None:
    made = await ann.program("POST", "/v1/ops/webhooks", {"url": "https://hooks.example/as-good-as-a-secret"})
    ann.ids["webhook"] = made.json()["webhook"]["id"]
    one = "/v1/ops/webhooks/{webhook:str}"
    await ann.program("PUT", f"{one}/state", {"on": False, "reason": "moving"})
    await ann.program("PUT", f"{one}/state", {"on": True}, leaves="turned-webhook-on")
    await ann.program("POST", f"{one}/replay", {"position": 1})
    await ann.program("POST", f"{one}/secret", {})
    for do, left in (
        ("off", "turned-webhook-off"),
        ("on", "turned-webhook-on"),
        ("replay", "replayed-webhook"),
        ("rotate", "rotated-secret"),
    ):
        await ann.form("/ops/webhooks/{webhook:str}", {"do": do, "position": "1"}, leaves=left)
    await ann.program("DELETE", one)
    made = await ann.form("/ops/webhooks", {"url": "https://hooks.example/", "review_waits": "on"})


async def _about_mail(ann: Ann, connection: Any) -> None:
    await ann.program("PUT", "/v1/ops/mail-check/waiver", {"reason": "a trial"})
    await ann.program("DELETE", "/v1/ops/mail-check/waiver")
    await ann.form("/ops/mail", {"do": "waive", "reason": "a trial"})
    await ann.form("/ops/mail", {"do": "hold"}, leaves="took-waiver-back")
    await connection.execute(HELD)
    await ann.program("POST", "/v1/ops/holds/{provider:str}/resumption")
    await connection.execute(HELD)
    await ann.form("/ops/holds", {"provider": "google"})
