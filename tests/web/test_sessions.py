"""Operators' sessions: what they rest on, who sees and ends them, and that an end holds at once everywhere."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from services.clock import fresh_id
from services.operators import log
from services.operators.deeds import KINDS
from services.operators.sessions import MOST_OF_ONE, Session, Sessions, clear, end
from services.setting_groups import SigningIn
from services.settings import OperatorToken, Settings
from tests.support.settings import settings
from tests.support.signing_in import VISIT, cookie_of, session_cookie
from tests.support.sites import client

ANN = OperatorToken(name="ann", scopes=frozenset({"read", "operators"}), token="token-of-ann-in-the-tests")
BOB = OperatorToken(name="bob", scopes=frozenset({"moderate"}), token="token-of-bob-in-the-tests")
BROWSER = {"sec-fetch-site": "same-origin", "accept": "text/html"}


@pytest.fixture
def given(dsn: str, valkey_url: str) -> Settings:
    """Settings with two operators."""
    return settings(dsn, valkey_url, operator_tokens=(ANN, BOB))


@pytest.fixture
async def http(given: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that hasn't signed in."""
    async with client(given) as made:
        made.headers.update(BROWSER)
        yield made


async def begun(connection: Any, given: Settings, operator: OperatorToken = BOB) -> str:
    """Begin a session and return its secret."""
    secret = fresh_id()
    await Sessions(connection, given).begin_by_token(fresh_id(), secret, operator, VISIT)
    return secret


async def who(connection: Any, given: Settings, secret: str) -> str | None:
    """Name whom a secret signs in, by these settings."""
    found = await Sessions(connection, given).find([secret])
    return None if found is None else found.name


async def test_signing_in_begins_a_session_and_signing_out_ends_it(http: httpx.AsyncClient, connection: Any) -> None:
    """The database knows who, how and from where, coarsely, and no secret; once ended, where from is forgotten."""
    headers = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
    done = await http.post("/ops/sign-in", data={"token": BOB.token}, headers=headers)
    assert (done.status_code, done.headers["location"]) == (303, "/ops/reviews")
    cookie = done.headers["set-cookie"].partition(";")[0]
    row = await connection.fetchrow("select * from operators.sessions")
    assert (row["operator"], row["how"], row["browser"], row["network"]) == ("bob", "token", "Firefox", "192.0.2.0/24")
    assert cookie.partition("=")[2] not in str(row) and BOB.token not in str(row)
    assert (await http.get("/ops/reviews", headers={"cookie": cookie})).status_code == 200
    await http.post("/ops/sign-out", headers={"cookie": cookie})
    assert (await http.get("/ops/reviews", headers={"cookie": cookie})).status_code == 303
    row = await connection.fetchrow("select * from operators.sessions")
    assert (row["is_ended"], row["browser"], row["network"]) == (True, "", "")
    acts = await connection.fetch("select operator, kind, subject, about from operators.acts order by id")
    assert [(act["operator"], act["kind"], act["about"]) for act in acts] == [
        ("bob", "signed-in", "token"),
        ("bob", "signed-out", "bob"),
    ]


async def test_sign_ins_of_an_hour_are_one_line(http: httpx.AsyncClient, connection: Any) -> None:
    """A program that signs in every minute fills no log, nor do the sessions that they crowd out; another hour is another."""
    for _ in range(MOST_OF_ONE + 2):
        assert (await http.post("/ops/sign-in", data={"token": BOB.token})).status_code == 303
    read = "select kind, times from operators.acts where operator = 'bob' order by id"
    assert [tuple(row) for row in await connection.fetch(read)] == [("signed-in", MOST_OF_ONE + 2), ("signed-out", 2)]
    told = await log.read(connection, log.Asked(kinds=frozenset(KINDS)), log.TOP, 10)
    assert f"signed in by a token, {MOST_OF_ONE + 2} times until " in told[-1].what
    await connection.execute("update operators.acts set at = at - interval '61 minutes'")
    await http.post("/ops/sign-in", data={"token": BOB.token})
    await http.post("/ops/sign-in", data={"token": ANN.token})
    assert await connection.fetchval("select count(*) from operators.acts where kind = 'signed-in'") == 3


@pytest.mark.parametrize("token", [BOB.token, "not-a-token-of-anybody"])
async def test_sign_ins_by_a_token_are_limited(dsn: str, valkey_url: str, token: str) -> None:
    """A network has as many as wrong tokens, whatever comes of them; then it is told to wait, and others sign in as ever."""
    proxies = (ip_network("192.0.2.0/24"),)
    few = settings(dsn, valkey_url, operator_tokens=(ANN, BOB), network_writes_per_minute=100, trusted_proxies=proxies)
    async with client(few) as http:
        http.headers.update(BROWSER | {"x-forwarded-for": f"203.0.{len(token)}.7"})
        answers = [await http.post("/ops/sign-in", data={"token": token}) for _ in range(7)]
        assert [answer.status_code for answer in answers[:5]] == [303 if token == BOB.token else 403] * 5
        assert answers[-1].status_code == 429 and int(answers[-1].headers["retry-after"]) > 0
        refused = await http.post("/ops/sign-in", data={"token": ANN.token})
        assert refused.status_code == 429 and "in 10 minutes; try again in" in refused.text and "a little" not in refused.text
        elsewhere = {"x-forwarded-for": "203.0.113.200"}
        assert (await http.post("/ops/sign-in", data={"token": ANN.token}, headers=elsewhere)).status_code == 303


async def test_a_session_ends_with_what_it_rests_on(connection: Any, given: Settings) -> None:
    """A token that was changed, removed or forbidden for signing in ends its sessions; one with other scopes gives those."""
    secret = await begun(connection, given)
    assert await who(connection, given, secret) == "bob"
    changed = OperatorToken(name="bob", scopes=BOB.scopes, token="another-token-of-bob-in-the-tests")
    moved = OperatorToken(name="bob", scopes=frozenset({"digest"}), token=BOB.token)
    for tokens in ((ANN, changed), (ANN,)):
        assert await who(connection, settings("", "", operator_tokens=tokens), secret) is None
    shut = settings("", "", operator_tokens=(ANN, BOB), signing_in=SigningIn(by_token=False))
    assert await who(connection, shut, secret) is None
    found = await Sessions(connection, settings("", "", operator_tokens=(moved,))).find([secret])
    assert found is not None and found.scopes == {"digest"}


@pytest.mark.parametrize("column", ["ends_at", "seen_at"])
async def test_a_session_ends_with_its_time(connection: Any, given: Settings, column: str) -> None:
    """Two hours after it began, and one after the last page; what is over is closed, and forgotten after 90 days."""
    secret = await begun(connection, given)
    await connection.execute("update operators.sessions set seen_at = now() - interval '59 minutes'")
    assert await who(connection, given, secret) == "bob"
    assert await connection.fetchval("select now() - seen_at < interval '1 minute' from operators.sessions"), "it was seen"
    await connection.execute(f"update operators.sessions set {column} = now() - interval '61 minutes'")  # noqa: S608
    assert await who(connection, given, secret) is None
    await clear(connection, 60)
    assert await connection.fetchval("select network from operators.sessions where ended_at is not null") == ""
    await connection.execute("update operators.sessions set ended_at = now() - interval '91 days'")
    await clear(connection, 60)
    assert await connection.fetchval("select count(*) from operators.sessions") == 0


async def test_all_see_their_own_sessions_and_who_may_all(http: httpx.AsyncClient, connection: Any, given: Settings) -> None:
    """Bob sees and ends his own alone, Ann those of all; an end holds at the next request, also in another process."""
    his, other, hers = [await session_cookie(given, one) for one in (BOB, BOB, ANN)]
    page = (await http.get("/ops/sessions", headers={"cookie": his})).text
    assert page.count(">bob") == 3 and "ann" not in page and "Failed sign-ins" not in page
    shown: dict[str, list[Session]] = {}
    for one in await Sessions(connection, given).read(10):
        shown.setdefault(one.operator, []).append(one)
    refused = await http.post("/ops/sessions", data={"session": shown["ann"][0].id}, headers={"cookie": his})
    assert refused.headers["location"] == "/ops/sessions?said=nothing"
    assert (await http.get("/ops", headers={"cookie": hers})).status_code == 200
    async with client(given) as elsewhere:
        assert (await http.post("/ops/sessions", data={"do": "all"}, headers={"cookie": hers})).status_code == 303
        for cookie in (his, other):
            assert (await elsewhere.get("/ops/reviews", headers={"cookie": cookie})).status_code == 303
        assert (await elsewhere.get("/ops", headers={"cookie": hers})).status_code == 200
    acts = await connection.fetch("select about from operators.acts where operator = 'ann' and kind = 'ended-session'")
    assert [act["about"] for act in acts] == ["bob", "bob"]


async def test_many_sessions_of_one_hide_nobody_elses(http: httpx.AsyncClient, connection: Any, given: Settings) -> None:
    """An operator has twenty open at the most, the last used; all others see and end their own, also beyond the page."""
    his = await session_cookie(given, BOB)
    secrets = [await begun(connection, given, ANN) for _ in range(MOST_OF_ONE + 2)]
    assert [await who(connection, given, secret) for secret in secrets] == [None, None, *["ann"] * MOST_OF_ONE]
    assert [one.operator for one in await Sessions(connection, given).read(1, "bob")] == ["bob"]
    await http.post("/ops/sessions", data={"do": "all"}, headers={"cookie": his})
    assert len(await Sessions(connection, given).read(50)) == MOST_OF_ONE + 1, "Bob's own stays, and so do Ann's"


async def test_a_form_that_names_no_session_ends_none(http: httpx.AsyncClient, connection: Any, given: Settings) -> None:
    """Only the word `all` ends all others; a mistyped field is refused."""
    his, hers = [await session_cookie(given, one) for one in (BOB, ANN)]
    for data in ({"session[]": "x"}, {"do": "al"}, {"do": "all", "session": fresh_id()}):
        assert (await http.post("/ops/sessions", data=data, headers={"cookie": hers})).status_code in (400, 422), data
    assert (await http.get("/ops/sessions", headers={"cookie": his})).status_code == 200


async def test_ends_at_a_shell_name_one_or_an_operator_or_all(connection: Any, given: Settings) -> None:
    """The same statement ends one session, those of an operator, or all, and says which were open."""
    first, second, hers = [await begun(connection, given, one) for one in (BOB, BOB, ANN)]
    one = await Sessions(connection, given).find([first])
    assert one is not None and await end(connection, "shell", [one.session]) == [one.session]
    assert await end(connection, "shell", [one.session]) == []
    assert len(await end(connection, "shell", operator="bob")) == 1
    assert await who(connection, given, second) is None and await who(connection, given, hers) == "ann"
    assert len(await end(connection, "shell")) == 1


async def test_failed_sign_ins_are_counted_and_shown(http: httpx.AsyncClient, connection: Any, given: Settings) -> None:
    """A wrong token is counted by the hour; who may see all sessions is told."""
    for _ in range(3):
        assert (await http.post("/ops/sign-in", data={"token": "not-a-token-of-anybody"})).status_code == 403
    page = await http.get("/ops/sessions", headers={"cookie": await session_cookie(given, ANN)})
    assert "3 times with a token: wrong token" in " ".join(page.text.split())


async def test_signing_in_leads_back_to_our_own_pages_alone(http: httpx.AsyncClient) -> None:
    """Who is led to the sign-in comes back to the page asked for; nowhere else, however the path is written."""
    led = await http.get("/ops/log?words=ship&type=VoteCast")
    assert led.headers["location"] == "/ops/sign-in?to=%2Fops%2Flog%3Fwords%3Dship%26type%3DVoteCast"
    assert 'name="to" value="/ops/log?words=ship&amp;type=VoteCast"' in (await http.get(led.headers["location"])).text
    for to, expected in (
        ("/ops/log?words=ship", "/ops/log?words=ship"),
        ("/ops/log?x=/../..", "/ops"),
        ("/ops/../tools", "/ops"),
        ("/opsx", "/ops"),
        ("//evil.example/ops/", "/ops"),
        ("https://evil.example/ops/", "/ops"),
        ("/ops/sign-out", "/ops"),
        ("/ops/\\evil", "/ops"),
        ("/tools", "/ops"),
        ("/ops/" + "x" * 400, "/ops"),
    ):
        done = await http.post("/ops/sign-in", data={"token": ANN.token, "to": to})
        assert (done.status_code, done.headers["location"]) == (303, expected), to


async def test_a_made_up_cookie_costs_no_query(http: httpx.AsyncClient, given: Settings, connection: Any) -> None:
    """Without a signature of ours nothing is looked up; with one of an unknown secret nobody is found."""
    for cookie in ("ballotpress_ops=x.y", cookie_of(given, "unknown")):
        assert (await http.get("/ops", headers={"cookie": cookie})).headers["location"] == "/ops/sign-in"
