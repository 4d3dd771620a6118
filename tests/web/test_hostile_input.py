"""What strangers send to any route: refused or taken, never a fault of ours (a 500), and each page has one address."""

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.clock import fresh_id
from services.settings import Newsletter, OperatorToken
from services.web.http.auth import VisitorTokens
from tests.support.routes import Route, all_routes
from tests.support.settings import SECRET_KEY, settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

ROOT = Path(__file__).parents[2]
OURS = ("emails", "events", "projections", "services")
# A group that is repeated and gives nothing back; `()*+,` is a part of a set of characters, those of RFC 3986.
POSSESSIVE = re.compile(r"\)(?:[+?]|\*(?!\+,)|\{\d*,?\d*\})\+|\(\?>")
EDITOR = OperatorToken(
    name="editor", scopes=frozenset({"catalog", "read", "voters", "moderate", "digest"}), token="token-of-an-editor-here"
)
TOPIC = "arn:aws:sns:eu-west-1:1:reports"
DIGITS = b"9" * 5000
JSON = (
    b'{"score": 63.5, garbage',
    b'{"score":63.0,"body":"\\ud800 is not a character, and this is long enough","verdict":"ship"}',
    b'{"score":0.5,"reason":%s}' % DIGITS,
    b'{"limit":%s}' % DIGITS,
    b'{"a":' * 2000,
    b"[" * 100_000,
    b'{"reason":"a\\u0000b","choice":"ship","decision":"reject","body":"\\u0000 and long enough to be text","verdict":"ship"}',
    b'{"reason":"\\udfff","email":"a\\u0000@example.com","token":"\\u0000.\\u0000"}',
    b'{"token":"\\u00e9.\\u00e9.\\u00e9"}',
    b'{"events":[{"type":"bounce","code":"\\u0000","recipient":"\\u0000"}]}',
    b'{"TopicArn":"%s","Type":[],"Timestamp":"0001-01-01T00:00:00+23:59"}' % TOPIC.encode(),
    b"\xff\xfe\x00",
)
FORMS = (
    b"choice=%00&reason=%00&voters=%00&body=%00&back=%00&token=%00&email=%00&position=%00",
    b"choice=ship&back=/%0d%0aX:1&tool=%0a&position=" + DIGITS,
    b"reason=x&position=99999999999999999999&step=do&action=void&voters=" + b"x" * 30_000,
    b"%ff=%ff&\xff=1",
    b"&".join([b"a=1"] * 300),
    b"do=save&paused_until=0001-01-01&frequency=weekly&category=%e2%80%ae",
    b"verdict=ship&score=" + DIGITS + b"&body=long+enough+to+be+a+review+of+something",
)
QUERIES = (
    "after=9223372036854775807999", "cursor=%00", "cursor=%C3%A9.x", "token=%00.%C3%A9.=", "stream=%00", "words=%00",
    "as_of=0001-01-01T00:00:00%2B23:59", "as_of=9999-12-31T23:59:59-23:59", "from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z",
    "before=9223372036854775807&words=x", "category=%F0%9F%98%80%00", "limit=" + "9" * 5000, "%ff=%ff", "tool=%ED%A0%80",
    "reason=%00",
)  # fmt: skip
HEADERS: tuple[dict[bytes, bytes], ...] = (
    {b"cookie": b"ballotpress_ops=EXP.\xc3\xa9.NAME; ballotpress_visitor=\xff.\x00; =; ;;"},
    {b"authorization": b"Bearer \xff\x00\xc3\xa9"},
    {b"idempotency-key": b"\xc3\xa9"},
    {b"if-none-match": b'\xff\xff, W/"', b"last-event-id": b"9" * 5000},
    {b"origin": b"http://[\xff", b"host": b"["},
    {b"ballotpress-signature": b"t=\xb2,v1=" + b"0" * 64},
)
PARAMETERS = ("%00", "a%00b", "%C3%A9%0A", "%F0%9F%98%80", "%ED%A0%80", "9" * 400, "%20", "%25")


@pytest.fixture
async def browser(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A visitor's and operator's browser."""
    given = settings(dsn, valkey_url, operator_tokens=(EDITOR,), newsletter=Newsletter(ses_topics=(TOPIC,)))
    session = await session_cookie(given, EDITOR)
    async with client(given) as made:
        made.headers["cookie"] = f"ballotpress_visitor={VisitorTokens((SECRET_KEY,)).issue(fresh_id())}; {session}"
        made.headers["sec-fetch-site"] = "same-origin"
        yield made


def attempts(route: Route) -> Iterator[dict[str, Any]]:
    """Give the odd requests to a route."""
    url, bearer = route.address(), {b"authorization": f"Bearer {EDITOR.token}".encode()}
    for headers in HEADERS:
        yield {"url": url, "headers": headers}
    for name in route.parameters:
        for value in PARAMETERS:
            yield {"url": route.address(**{name: value})}
    for query in QUERIES if route.method in ("GET", "DELETE") else ("token=%00.%C3%A9.=", "cookie=%00"):
        yield {"url": f"{url}?{query}", "headers": bearer if "/v1/ops" in url else {}}
    if route.method != "GET":
        for form in FORMS:
            yield {"url": url, "content": form, "headers": {b"content-type": b"application/x-www-form-urlencoded"}}
        for body in JSON:
            own = bearer if "/v1/ops" in url else {}
            yield {"url": url, "content": body, "headers": {b"content-type": b"application/json", **own}}


async def test_no_input_is_a_fault_of_ours(browser: httpx.AsyncClient) -> None:
    """Broken JSON, endless numbers and depths, NUL, lone surrogates and odd headers: no answer is a 5xx."""
    routes = [route for route in all_routes() if route.path != "/v1/tallies/live"]
    assert len(routes) > 60
    for route in routes:
        for attempt in attempts(route):
            answer = await browser.request(route.method, **attempt)
            assert answer.status_code < 500 or route.path == "/health/ready", (route, attempt)


@pytest.mark.parametrize(
    "path",
    ["//", "//metrics", "/metrics/", "/%2fmetrics", "/%6Detrics", "/a/%2E%2E/metrics", "//ops/sign-in", "/ops%2Fsign-in",
     "/ops//sign-in", "/tools/", "/tools/%2E", "/v1//tools", "/%74ools", "/health%2flive", "/" * 30_000, "/tools/%E2%80%ae"],
)  # fmt: skip
async def test_a_page_has_one_address(browser: httpx.AsyncClient, path: str) -> None:
    """A second spelling of a path is nobody's, so no rule for the first is slipped past."""
    request = browser.build_request("GET", "/")
    request.url = httpx.URL(scheme="http", host="site.test", raw_path=path.encode())
    assert (await browser.send(request)).status_code == 404


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python before 3.11.5, as Debian 12 has it, lets such a group match what it tried in vain: more than it should."""
    found = []
    for file in (file for package in OURS for file in (ROOT / package).rglob("*.py")):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        spelled = [text.decode("latin-1") if isinstance(text, bytes) else text for text in texts]
        found += [(file.name, text) for text in spelled if isinstance(text, str) and POSSESSIVE.search(text)]
    assert found == []
