"""Limits: so many writes and no more, counted for all processes together, and no vote lost when Valkey is away."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from subprocess import Popen

import msgspec
import pytest
from redis.asyncio import Redis

from services.settings import OperatorToken
from services.web.http.counters import Headers, Limit
from services.web.http.limits import PATIENCE_SECONDS, Limits
from services.web.http.problems import TooManyRequests
from tests.support import servers
from tests.support.runners import until
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client as site_client

TEN = Limit("ten", 10, 60, "writes")
FIVE = Limit("five", 5, 60, "writes")


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Redis]:
    """An empty Valkey."""
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def limits(valkey: Redis) -> AsyncIterator[Limits]:
    """The limits of one process."""
    made = Limits(valkey)
    yield made
    await made.close()


@pytest.fixture
def own_valkey() -> Iterator[tuple[str, "Popen[bytes]"]]:
    """A Valkey that a test may stop or kill."""
    with servers.valkey() as (url, process):
        yield url, process


async def granted(limits: Limits, times: int, *counters: tuple[Limit, str]) -> int:
    """Make claims at once and count those that were granted."""
    answers = await asyncio.gather(*(limits.take(*counters) for _ in range(times)), return_exceptions=True)
    assert all(isinstance(answer, tuple | TooManyRequests) for answer in answers), answers
    return sum(isinstance(answer, tuple) for answer in answers)


def header(headers: Headers, name: bytes) -> str:
    """Read one header."""
    return dict(headers)[name].decode("ascii")


async def test_exactly_the_limit_is_granted(limits: Limits) -> None:
    """Of many claims at once, within one batch and over several, no more and no fewer are granted than the limit says."""
    assert await granted(limits, 25, (TEN, "a")) == 10
    assert await granted(limits, 25, (TEN, "a")) == 0


async def test_owners_do_not_share(limits: Limits) -> None:
    """One owner's writes leave another's alone."""
    assert await granted(limits, 12, (TEN, "a")) == 10
    assert await granted(limits, 3, (TEN, "b")) == 3


async def test_processes_share(limits: Limits, valkey: Redis) -> None:
    """Two processes count together."""
    other = Limits(valkey)
    found = await asyncio.gather(granted(limits, 9, (TEN, "a")), granted(other, 9, (TEN, "a")))
    await other.close()
    assert sum(found) == 10


async def test_a_refused_claim_counts_against_nothing(limits: Limits) -> None:
    """A visitor over its own limit doesn't use up its network's."""
    two = Limit("two", 2, 60, "writes")
    assert await granted(limits, 20, (two, "visitor"), (TEN, "network")) == 2
    assert await granted(limits, 20, (TEN, "network")) == 8


async def let_pass(valkey: Redis, seconds: int) -> None:
    """Let so many seconds have passed for all that was counted: its counters begin so much earlier."""
    for key in await valkey.keys():
        start, *rest = msgspec.msgpack.decode(await valkey.get(key))
        await valkey.set(key, msgspec.msgpack.encode([start - 1000 * seconds, *rest]))


async def test_a_refusal_says_when_to_come_back(limits: Limits, valkey: Redis) -> None:
    """After Retry-After, and not before it, a claim is granted again."""
    assert await granted(limits, 6, (FIVE, "a")) == 5
    with pytest.raises(TooManyRequests) as refused:
        await limits.take((FIVE, "a"))
    wait = int(header(refused.value.headers, b"retry-after"))
    assert 1 <= wait <= 60
    assert header(refused.value.headers, b"ratelimit").startswith('"five";r=0;t=')
    await let_pass(valkey, wait // 2)
    assert await granted(limits, 1, (FIVE, "a")) == 0
    await let_pass(valkey, wait - wait // 2)
    assert await granted(limits, 1, (FIVE, "a")) == 1


async def test_the_window_slides(limits: Limits, valkey: Redis) -> None:
    """What was written late in a window still counts early in the next: there is no moment to write twice the limit."""
    assert await granted(limits, 1, (FIVE, "a")) == 1
    for seconds, more in ((42, 4), (24, 1), (42, 4)):
        await let_pass(valkey, seconds)
        assert await granted(limits, 5, (FIVE, "a")) == more


async def test_the_headers_tell_policy_and_rest(limits: Limits) -> None:
    """A granted claim is told its limits, and what remains of the scarcest."""
    three = Limit("three", 3, 60, "writes")
    headers = await limits.take((TEN, "a"), (three, "b"))
    assert header(headers, b"ratelimit-policy") == '"ten";q=10;w=60, "three";q=3;w=60'
    assert header(headers, b"ratelimit") == '"three";r=2;t=60'


@pytest.mark.parametrize(
    ("most", "seconds", "left", "said"),
    [
        (1000, 60, 900, "No more than 1,000 sign-ups in a minute; try again in 1 second."),
        (2, 86400, 7_200_001, "No more than 2 sign-ups in a day; try again in 3 hours."),
        (2, 600, 59_001, "No more than 2 sign-ups in 10 minutes; try again in 60 seconds."),
        (2, 3600, 150_000, "No more than 2 sign-ups in an hour; try again in 3 minutes."),
    ],
)
def test_a_refusal_says_of_what_there_is_too_much_and_until_when(most: int, seconds: int, left: int, said: str) -> None:
    """Who is refused is told what is counted, and a time after which there is room for sure."""
    assert str(Limit("sign-ups", most, seconds, "sign-ups").refusal(left)) == said


async def test_counters_do_not_stay(limits: Limits, valkey: Redis) -> None:
    """Every counter expires by itself."""
    await granted(limits, 3, (TEN, "a"), (FIVE, "b"))
    assert [0 < await valkey.ttl(key) <= 60 for key in await valkey.keys("*")] == [True, True]


async def test_claims_are_gathered(limits: Limits, valkey: Redis) -> None:
    """What arrives while a call is under way is decided by one further call."""
    await granted(limits, 1, (TEN, "a"))
    before = (await valkey.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert await granted(limits, 200, (Limit("many", 1000, 60, "writes"), "a")) == 200
    after = (await valkey.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 3


async def test_a_valkey_that_forgot_the_script_is_told_again(limits: Limits, valkey: Redis) -> None:
    """After a restart or a flush of its scripts, limits hold on without a gap."""
    assert await granted(limits, 10, (TEN, "a")) == 10
    await valkey.script_flush()
    assert await granted(limits, 5, (TEN, "a")) == 0


async def test_a_dropped_connection_lifts_nothing(limits: Limits, valkey: Redis) -> None:
    """A connection that Valkey closed is replaced within the same claim."""
    assert await granted(limits, 10, (TEN, "a")) == 10
    await valkey.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
    assert await granted(limits, 5, (TEN, "a")) == 0


async def test_without_valkey_each_process_counts(own_valkey: tuple[str, "Popen[bytes]"]) -> None:
    """While Valkey is gone exactly the limit is granted again, with headers, and the check says what counts."""
    url, process = own_valkey
    async with Redis.from_url(url) as client:
        limits = Limits(client)
        assert await granted(limits, 12, (TEN, "a")) == 10
        process.kill()
        process.wait(5)
        assert await granted(limits, 30, (TEN, "a"), (Limit("many", 1000, 60, "writes"), "b")) == 10
        assert header(await limits.take((TEN, "b")), b"ratelimit").startswith('"ten";r=9;t=')
        assert "counts by itself" in (await limits.check().ask() or "")
        await limits.close()


async def test_a_stalled_valkey_costs_its_patience_once(own_valkey: tuple[str, "Popen[bytes]"]) -> None:
    """When Valkey stops answering, one batch waits; the others go on at once, and limits hold again when it answers."""
    url, process = own_valkey
    async with Redis.from_url(url) as client:
        limits = Limits(client)
        assert await granted(limits, 10, (TEN, "a")) == 10
        os.kill(process.pid, signal.SIGSTOP)
        started = time.monotonic()
        assert await granted(limits, 5, (Limit("many", 1000, 60, "writes"), "a")) == 5
        waited = time.monotonic() - started
        for _ in range(50):
            assert await granted(limits, 1, (Limit("many", 1000, 60, "writes"), "a")) == 1
        assert waited < 5 * PATIENCE_SECONDS
        assert time.monotonic() - started - waited < 25 * PATIENCE_SECONDS
        assert await granted(limits, 15, (TEN, "b")) == 10
        os.kill(process.pid, signal.SIGCONT)

        async def answers() -> bool:
            return await limits.check().ask() is None

        await until(answers)
        assert await granted(limits, 5, (TEN, "a")) == 0
        await limits.close()


async def test_no_answer_waits_for_a_stalled_valkey(dsn: str, own_valkey: tuple[str, "Popen[bytes]"]) -> None:
    """A sign-up is taken, for its mail is planned; operators' pages are shown, and signing out works."""
    url, process = own_valkey
    reader = OperatorToken(name="reader", scopes=frozenset({"read"}), token="token-of-a-reader-here")
    given = settings(dsn, url, operator_tokens=(reader,))
    session = await session_cookie(given, reader)
    async with site_client(given) as made, asyncio.timeout(60):
        os.kill(process.pid, signal.SIGSTOP)
        try:
            taken = await made.post("/v1/newsletter/subscriptions", json={"email": "reader@example.org"})
            shown = await made.get("/ops", headers={"cookie": session})
            left = await made.post("/ops/sign-out", headers={"cookie": session, "sec-fetch-site": "same-origin"})
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert [taken.status_code, shown.status_code, left.status_code] == [202, 200, 303]


async def test_new_visitors_are_limited_by_network(dsn: str, valkey_url: str) -> None:
    """One network can't make visitors without end; who has a token isn't counted, nor is another network."""
    given = settings(dsn, valkey_url, new_visitors_per_hour=2, trusted_proxies=(ip_network("192.0.2.0/24"),))
    async with site_client(given) as made:

        async def visit(network: str, **headers: str) -> int:
            made.cookies.clear()
            answer = await made.post("/v1/visitors", headers={"X-Forwarded-For": f"{network}.9", **headers})
            return answer.status_code

        assert [await visit("198.51.100") for _ in range(3)] == [201, 201, 429]
        refused = await made.post("/v1/visitors", headers={"X-Forwarded-For": "198.51.100.9"})
        assert re.fullmatch(
            r"No more than 2 new visitors from one network in an hour; try again in \d+ (minutes|seconds?)\.",
            refused.json()["detail"],
        )
        assert await visit("203.0.113") == 201
        token = (await made.post("/v1/visitors", headers={"X-Forwarded-For": "203.0.113.10"})).json()["token"]
        assert [await visit("203.0.113", Authorization=f"Bearer {token}") for _ in range(3)] == [200, 200, 200]
