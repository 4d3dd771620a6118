"""The edge: what holds for every request, whatever its route does."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Literal

import asyncpg
import httpx
import msgspec
import pytest
from litestar.types import Receive, Scope, Send
from structlog.testing import capture_logs

from services.web.app import ROUTES
from services.web.http import call
from services.web.http.answers import Answer
from services.web.http.bodies import Input
from services.web.http.call import VISITOR, operator
from services.web.http.endpoints import endpoint
from services.web.http.problems import Kind, add_kinds, problem_answer
from services.web.site import Call
from tests.support.http import assert_problem
from tests.support.processes import PATIENCE
from tests.support.settings import OPERATOR, settings
from tests.support.sites import client


class Choice(Input):
    """A body."""

    choice: Literal["ship", "skip"]


class Said(msgspec.Struct):
    """An answer."""

    said: str


class AlreadyThere(Exception):
    """A domain error that knows its twin."""

    def __init__(self, message: str, id_: str) -> None:
        super().__init__(message)
        self.id = id_


add_kinds({AlreadyThere: Kind(409, "already-there", "Already there", members=("id",))})


@endpoint("PUT", "/v1/try/{tool}", by=VISITOR, takes=Choice, gives=Said)
async def choose(call: Call, choice: Choice) -> Said:
    """Say who chose what."""
    return Said(f"{call.visitor} {call.path['tool']} {choice.choice}")


@endpoint("POST", "/v1/ops/catalog", by=operator("catalog"), takes=Choice, gives=Said, max_body=16 * 1024 * 1024)
async def operate(call: Call, choice: Choice) -> Said:
    """Say which operator it was."""
    return Said(call.operator)


@endpoint("POST", "/v1/ops/void", by=operator("voters"), gives=Said)
async def void(call: Call) -> Said:
    """Need a scope that the tests' operator lacks."""
    return Said(call.operator)


class Streamed(Answer):
    """An answer that never ends by itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send for ever."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(0.01)


ERRORS: dict[str, Exception] = {
    "bug": KeyError("secret detail"),
    "there": AlreadyThere("You have one already.", "abc"),
    "refused": ConnectionRefusedError("no socket at a path nobody must see"),
    "starting": asyncpg.CannotConnectNowError("the database system is starting up"),
    "late": TimeoutError(),
    "data": asyncpg.DataError("a defect of ours"),
}


@endpoint("GET", "/v1/fail/{tool}", gives=Said)
async def fail(call: Call) -> Answer:
    """Fail as asked."""
    if call.path["tool"] == "stream":
        return Streamed(b"")
    raise ERRORS[call.path["tool"]]


@pytest.fixture
async def site(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The API with the routes of this file."""
    given = settings(dsn, valkey_url, cors_origins=("https://site.example",))
    own = {("POST", "/v1/ops/catalog")}
    kept = [r for r in ROUTES if (r.opt["operation"].method, r.opt["operation"].path) not in own]
    async with client(given, [*kept, choose, operate, void, fail]) as made:
        yield made


@pytest.fixture
async def token(site: httpx.AsyncClient) -> str:
    """A visitor's token."""
    answer = await site.post("/v1/visitors")
    site.cookies.clear()
    made: str = answer.json()["token"]
    return made


def bearer(token: str) -> dict[str, str]:
    """Present a token."""
    return {"Authorization": f"Bearer {token}"}


async def test_every_answer_carries_the_security_headers(site: httpx.AsyncClient) -> None:
    """Answers and refusals alike can't be framed, sniffed or leak where they were opened from; no HSTS without https."""
    for path in ("/health/live", "/nowhere", "/v1/fail/bug", "/schema"):
        headers = (await site.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers


async def test_https_is_kept_to(dsn: str, valkey_url: str) -> None:
    """On an https site, browsers are told to stay there, and the visitor's cookie never travels in the clear."""
    async with client(settings(dsn, valkey_url, base_url="https://site.example")) as made:
        answer = await made.post("/v1/visitors")
    assert "max-age=" in answer.headers["strict-transport-security"]
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["set-cookie"].startswith("__Host-ballotpress_visitor=")


async def test_a_sane_request_id_is_kept(site: httpx.AsyncClient) -> None:
    """A caller's request id comes back; anything odd, or nothing, is replaced by one of ours, each time another."""
    assert (await site.get("/health/live", headers={"X-Request-Id": "abc-1.2_3"})).headers["x-request-id"] == "abc-1.2_3"
    odd = ["a b", "é".encode(), "x" * 65, ""]
    answers = [await site.get("/health/live", headers={"X-Request-Id": value}) for value in odd]
    made = {answer.headers["x-request-id"] for answer in answers}
    assert len(made) == len(odd)
    assert all(value.isascii() and " " not in value and value for value in made)


async def test_head_is_get_without_a_body(site: httpx.AsyncClient) -> None:
    """HEAD works wherever GET does, with the same status and headers."""
    for path in ("/health/live", "/schema/openapi.json", "/nowhere", "/v1/fail/bug"):
        unpacked = {"Accept-Encoding": "identity"}  # so that the content's length is that of the body
        got, headed = await site.get(path, headers=unpacked), await site.head(path, headers=unpacked)
        assert headed.status_code == got.status_code
        assert headed.content == b""
        assert headed.headers["content-length"] == str(len(got.content)) or got.status_code == 500
        assert headed.headers["content-type"] == got.headers["content-type"]


async def test_head_of_a_stream_ends(site: httpx.AsyncClient) -> None:
    """HEAD of what streams for ever is answered and over."""
    async with asyncio.timeout(PATIENCE):
        answer = await site.head("/v1/fail/stream")
    assert answer.status_code == 200


async def test_unknown_paths_and_methods_are_problems(site: httpx.AsyncClient) -> None:
    """404 is a problem; 405 is one too, and names what the path takes, HEAD included."""
    assert_problem(await site.get("/nowhere"), 404)
    answer = await site.delete("/health/live")
    assert_problem(answer, 405)
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


async def test_options_name_all_methods_of_a_path(site: httpx.AsyncClient) -> None:
    """OPTIONS says what a path takes, whichever route was registered first, and HEAD where GET is."""
    answer = await site.options("/v1/tools/some-tool/vote")
    assert answer.status_code == 204
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}


@pytest.mark.parametrize("name", ["A", "a.b", "a%20b", "a%00b", "%ff%fe", "a%0A", "x" * 121, "%E2%82%AC", "a%2Fb"])
async def test_odd_slugs_are_not_found(site: httpx.AsyncClient, token: str, name: str) -> None:
    """A path parameter that can't be one is a 404 problem, never a 500."""
    answer = await site.put(f"/v1/try/{name}", json={"choice": "ship"}, headers=bearer(token))
    problem = assert_problem(answer, 404)
    assert "errors" not in problem or problem["errors"][0]["pointer"] == "/tool"


async def test_our_own_failures_say_nothing(site: httpx.AsyncClient) -> None:
    """A defect is a 500 problem with the request's id and no internals, and is logged under that id."""
    with capture_logs() as logs:
        answer = await site.get("/v1/fail/bug")
    problem = assert_problem(answer, 500)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "KeyError" not in answer.text
    assert [line["log_level"] for line in logs if line["event"] == "request failed"] == ["error"]
    assert_problem(await site.get("/v1/fail/data"), 500)


@pytest.mark.parametrize("name", ["refused", "starting", "late"])
async def test_an_absent_database_is_temporary(site: httpx.AsyncClient, name: str) -> None:
    """What a database throws while it is away is 503, says when to come back, and nothing of its cause."""
    answer = await site.get(f"/v1/fail/{name}")
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert "path" not in answer.text


async def test_domain_errors_are_told_by_the_table(site: httpx.AsyncClient) -> None:
    """An exception in the table has its status, its type, its own words, and the members it was given."""
    problem = assert_problem(await site.get("/v1/fail/there"), 409)
    assert problem["type"] == "/problems/already-there"
    assert problem["detail"] == "You have one already."
    assert problem["id"] == "abc"


async def test_the_table_takes_no_row_twice() -> None:
    """Two modules can't give one exception two meanings."""
    with pytest.raises(ValueError, match="already"):
        add_kinds({AlreadyThere: Kind(410, "gone", "Gone")})
    assert problem_answer(AlreadyThere("x", "y"), "1").status == 409


async def test_bodies_over_the_limit_are_refused(site: httpx.AsyncClient, token: str) -> None:
    """64 KiB and not a byte more, whether the length is announced or not; the catalogue may have 16 MiB."""
    padding = 64 * 1024 - len('{"choice":"ship"}')
    fits = b'{"choice":"ship"}' + b" " * padding

    async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"Content-Type": "application/json", **bearer(token)}
    assert (await site.put("/v1/try/a", content=fits, headers=headers)).status_code == 200
    assert (await site.put("/v1/try/a", content=in_pieces(fits), headers=headers)).status_code == 200
    assert_problem(await site.put("/v1/try/a", content=fits + b" ", headers=headers), 413)
    assert_problem(await site.put("/v1/try/a", content=in_pieces(fits + b" "), headers=headers), 413)
    catalog = {"Content-Type": "application/json", **bearer(OPERATOR.token)}
    large = fits + b" " * (16 * 1024 * 1024 - len(fits))
    assert (await site.post("/v1/ops/catalog", content=large, headers=catalog)).status_code == 200
    assert_problem(await site.post("/v1/ops/catalog", content=large + b" ", headers=catalog), 413)


async def test_a_body_that_does_not_come_is_given_up(
    site: httpx.AsyncClient, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that goes silent inside its body gets 408, and its place is free again."""
    monkeypatch.setattr(call, "BODY_SECONDS", 0.2)

    async def stalling() -> AsyncIterator[bytes]:
        yield b'{"choice"'
        await asyncio.sleep(3600)

    headers = {"Content-Type": "application/json", **bearer(token)}
    async with asyncio.timeout(PATIENCE):
        assert_problem(await site.put("/v1/try/a", content=stalling(), headers=headers), 408)
    assert (await site.put("/v1/try/a", json={"choice": "ship"}, headers=headers)).status_code == 200


async def test_a_large_body_has_time_as_long_as_it_comes(site: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes at the least pace is taken; a length that is announced, and doesn't come, gives no more time."""
    monkeypatch.setattr(call, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(call, "LEAST_PACE", 2**20)
    announced = {"Content-Type": "application/json", "Content-Length": str(2**24), **bearer(OPERATOR.token)}

    async def coming(pieces: int) -> AsyncIterator[bytes]:
        yield b'{"choice":"ship"}'
        for _ in range(pieces):
            yield b" " * 2**20
            await asyncio.sleep(0.2)
        if pieces == 0:
            await asyncio.sleep(3600)

    async with asyncio.timeout(PATIENCE):
        assert (await site.post("/v1/ops/catalog", content=coming(4), headers=announced)).status_code == 200
        assert_problem(await site.post("/v1/ops/catalog", content=coming(0), headers=announced), 408)


async def test_only_configured_origins_may_read(site: httpx.AsyncClient) -> None:
    """Browsers let a configured origin read answers, with credentials, and no other; caches keep them apart."""
    ours = await site.get("/health/live", headers={"Origin": "https://site.example"})
    assert ours.headers["access-control-allow-origin"] == "https://site.example"
    assert ours.headers["access-control-allow-credentials"] == "true"
    for origin in ("https://evil.example", "null", "https://site.example.evil.example"):
        theirs = await site.get("/health/live", headers={"Origin": origin})
        assert "access-control-allow-origin" not in theirs.headers
        assert "Origin" in theirs.headers["vary"]
    refused = await site.get("/nowhere", headers={"Origin": "https://site.example"})
    assert refused.headers["access-control-allow-origin"] == "https://site.example"


async def test_preflights_are_answered(site: httpx.AsyncClient) -> None:
    """A configured origin is told what it may send; another learns nothing."""
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
    ours = await site.options("/v1/try/a", headers={"Origin": "https://site.example", **asks})
    assert ours.status_code == 204
    assert "PUT" in ours.headers["access-control-allow-methods"]
    assert {"Authorization", "Idempotency-Key"} <= set(ours.headers["access-control-allow-headers"].split(", "))
    theirs = await site.options("/v1/try/a", headers={"Origin": "https://evil.example", **asks})
    assert not [name for name in theirs.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "left_out"),
    [("GET", None), ("HEAD", None), ("PUT", None), ("OPTIONS", "origin"), ("OPTIONS", "access-control-request-method")],
)
async def test_only_a_preflight_is_answered_as_one(site: httpx.AsyncClient, method: str, left_out: str | None) -> None:
    """Any other method, and OPTIONS without both headers, get their own answer, with no word on what may be sent."""
    headers = {"origin": "https://site.example", "access-control-request-method": "PUT"}
    headers.pop(left_out or "", None)
    answer = await site.request(method, "/health/live", headers=headers)
    assert answer.status_code == {"PUT": 405, "OPTIONS": 204}.get(method, 200)
    assert "access-control-allow-methods" not in answer.headers
    assert ("allow" in answer.headers) == (method in ("OPTIONS", "PUT"))


async def test_a_visitor_keeps_its_id(site: httpx.AsyncClient) -> None:
    """The first call makes a visitor (201), a later one with its token, as Bearer or cookie, finds it (200)."""
    first = await site.post("/v1/visitors")
    site.cookies.clear()
    assert first.status_code == 201
    made = first.json()
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"ballotpress_visitor={made['token']};")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    for presented in (bearer(made["token"]), {"Cookie": f"a=b; ballotpress_visitor={made['token']}"}):
        again = await site.post("/v1/visitors", headers=presented)
        site.cookies.clear()
        assert again.status_code == 200
        assert again.json() == made


async def test_visitors_are_told_by_token_or_cookie(site: httpx.AsyncClient, token: str) -> None:
    """Bearer wins over the cookie, even when it is the Bearer token that is bad; without either it is 401."""
    body = {"choice": "ship"}
    other = (await site.post("/v1/visitors")).json()
    site.cookies.clear()
    cookie = {"Cookie": f"ballotpress_visitor={other['token']}"}
    assert (await site.put("/v1/try/a", json=body, headers=cookie)).json()["said"].startswith(other["visitor"])
    both = await site.put("/v1/try/a", json=body, headers={**cookie, **bearer(token)})
    assert both.json()["said"].startswith(token[:22])
    for presented in (
        {},
        {**cookie, **bearer(token[:-1])},
        bearer(token + "A"),
        bearer(""),
        {"Cookie": "ballotpress_visitor="},
    ):
        answer = await site.put("/v1/try/a", json=body, headers=presented)
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_operators_need_token_and_scope(site: httpx.AsyncClient, token: str) -> None:
    """An operator's route answers 401 to everyone else, visitors included, and 403 to an operator without the scope."""
    answer = await site.post("/v1/ops/catalog", json={"choice": "ship"}, headers=bearer(OPERATOR.token))
    assert answer.json() == {"said": "ops"}
    assert_problem(await site.post("/v1/ops/void", headers=bearer(OPERATOR.token)), 403)
    for presented in ({}, bearer(token), bearer(OPERATOR.token + "x"), {"Cookie": f"ballotpress_visitor={OPERATOR.token}"}):
        assert_problem(await site.post("/v1/ops/void", headers=presented), 401)


async def test_writes_are_limited_by_visitor_and_network(dsn: str, valkey_url: str) -> None:
    """Over its limit a visitor is told when to come back; another visitor of another network isn't held up."""
    given = settings(dsn, valkey_url, writes_per_minute=3, secret_keys=("another-secret-key-of-32-characters",))
    async with client(given, [*ROUTES, choose]) as made:
        token = (await made.post("/v1/visitors")).json()["token"]
        made.cookies.clear()
        statuses = []
        for _ in range(5):
            answer = await made.put("/v1/try/a", json={"choice": "ship"}, headers=bearer(token))
            statuses.append(answer.status_code)
        assert statuses == [200, 200, 200, 429, 429]
        assert_problem(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert '"visitor";q=3;w=60' in answer.headers["ratelimit-policy"]
        assert answer.headers["ratelimit"].startswith('"visitor";r=0;t=')


async def test_the_log_tells_slow_and_broken_requests_only(site: httpx.AsyncClient) -> None:
    """At its usual level the log has no line for a request that went well."""
    with capture_logs() as logs:
        await site.get("/health/live")
        await site.get("/v1/fail/late")
    answered = [line for line in logs if line["event"] == "answered" and line["log_level"] != "debug"]
    assert [(line["route"], line["status"]) for line in answered] == [("/v1/fail/{tool}", 503)]
    assert json.dumps(answered)
