"""Leases of limits: what a process counts by itself never adds up to more than the limit, and comes back when it isn't used."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from redis.asyncio import Redis

from services.web.http.counters import Headers, Limit
from services.web.http.leases import LEAST_LIMIT
from services.web.http.limits import Limits
from services.web.http.problems import TooManyRequests
from services.web.http.spent import Spent
from tests.support.processes import PATIENCE
from tests.support.runners import until

THOUSAND = Limit("thousand", 1000, 60, "writes")

# Waits for the others, writes as fast as it can until nothing was granted for some seconds, and prints how many were.
WRITER = """
import asyncio, sys, time
from redis.asyncio import Redis
from services.web.http.counters import Limit
from services.web.http.limits import Limits
from services.web.http.problems import TooManyRequests
async def write():
    limit, granted, refused, last = Limit("thousand", 1000, 600, "writes"), 0, 0, time.monotonic()
    async with Redis.from_url(sys.argv[1]) as valkey:
        limits = Limits(valkey)
        await valkey.incr("ready")
        async with asyncio.timeout(60):
            while int(await valkey.get("ready")) < 3:
                await asyncio.sleep(0.01)
        async def caller():
            nonlocal granted, refused, last
            while refused < 500 or time.monotonic() < last + 3:  # what is lent comes back after a second
                try:
                    await limits.take((limit, "network"))
                    granted, refused, last = granted + 1, 0, time.monotonic()
                except TooManyRequests:
                    refused += 1
                await asyncio.sleep(0.001)
        await asyncio.gather(*(caller() for _ in range(8)))
        assert await limits.check().ask() is None
        await limits.close()
    print(granted)
asyncio.run(write())
"""


@pytest.fixture
async def valkey(valkey_url: str) -> AsyncIterator[Redis]:
    """An empty Valkey."""
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
        await client.config_resetstat()
        yield client


@pytest.fixture
async def processes(valkey: Redis) -> AsyncIterator[list[Limits]]:
    """The limits of three processes."""
    made = [Limits(valkey) for _ in range(3)]
    yield made
    for one in made:
        await one.close()


async def took(limits: Limits, *counters: tuple[Limit, str]) -> bool:
    """Make a claim, and tell whether it was granted."""
    try:
        await limits.take(*counters)
    except TooManyRequests:
        return False
    return True


async def calls(valkey: Redis) -> int:
    """Return how often Valkey has run the script."""
    stats = await valkey.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def remaining(headers: Headers) -> int:
    """Read what remains."""
    return int(dict(headers)[b"ratelimit"].split(b";r=")[1].split(b";")[0])


async def comes_to(number: int, counted: Callable[[int], Awaitable[bool]]) -> int:
    """Wait until what was lent is given back, and `counted` comes to a number and its own claims; return both together."""

    async def given_back() -> bool:
        nonlocal number
        number += 1
        await asyncio.sleep(1.1)  # so seldom that nothing is lent for it
        return await counted(number)

    await until(given_back)
    return number


def test_processes_together_grant_the_limit_and_no_more(valkey_url: str) -> None:
    """Three processes that write as fast as they can are granted a thousand between them: no one more, and no one less."""
    command = (sys.executable, "-c", WRITER, valkey_url)
    asyncio.run(_empty(valkey_url))
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    granted = [int(writer.communicate(timeout=PATIENCE)[0]) for writer in writers]
    assert sum(granted) == THOUSAND.most


async def _empty(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()


async def test_no_five_sixths_of_a_window_see_more_than_the_limit(processes: list[Limits]) -> None:
    """Whatever is lent, used late or given back: of three processes' bursts, at most the limit in that time, less a moment."""
    limit, asked, granted = Limit("burst", 300, 6, "writes"), list[float](), list[float]()
    end = time.monotonic() + 14

    async def write(limits: Limits, pause: float) -> None:
        while time.monotonic() < end:
            before = time.monotonic()
            if await took(limits, (limit, "network")):
                asked.append(before)
                granted.append(time.monotonic())
            await asyncio.sleep(pause)

    await asyncio.gather(*(write(one, pause) for one in processes for pause in (0.001, 0.01, 0.07)))
    span = 5 / 6 * limit.seconds - limit.seconds / 60
    # From before the first of them was asked for to after the last was granted: a slow machine makes that no shorter.
    assert all(later - first > span for first, later in zip(sorted(asked), sorted(granted)[limit.most :], strict=False))
    assert len(granted) > 2 * limit.most


async def test_what_is_written_often_seldom_asks(processes: list[Limits], valkey: Redis) -> None:
    """Of a thousand writes of one network, one after another, few reach Valkey; the headers count on meanwhile."""
    limit = Limit("many", 100_000, 60, "writes")
    rests = [remaining(await processes[0].take((limit, "network"))) for _ in range(1000)]
    assert await calls(valkey) < 40
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == 99_999 and 97_000 < rests[-1] <= 99_000


async def test_what_was_not_used_is_given_back(processes: list[Limits], valkey: Redis) -> None:
    """A moment after the last write, without another one, and when a process ends, Valkey counts what happened and no more."""
    here, there, last = processes

    async def counted(number: int) -> bool:
        return remaining(await last.take((THOUSAND, "network"))) == THOUSAND.most - number

    assert [await took(here, (THOUSAND, "network")) for _ in range(20)] == [True] * 20
    asked = await comes_to(20, counted)
    assert [await took(there, (THOUSAND, "network")) for _ in range(20)] == [True] * 20
    await there.close()
    assert await counted(asked + 21)


async def test_a_refused_write_uses_nothing_that_is_lent(processes: list[Limits]) -> None:
    """A visitor over its own limit leaves its network's lease as it was."""
    limits, two = processes[0], Limit("two", 2, 60, "writes")
    assert [await took(limits, (THOUSAND, "network")) for _ in range(20)] == [True] * 20
    found = await asyncio.gather(*(took(limits, (two, "visitor"), (THOUSAND, "network")) for _ in range(50)))
    assert sum(found) == 2

    async def counted(number: int) -> bool:
        return remaining(await limits.take((THOUSAND, "network"))) == THOUSAND.most - number

    await comes_to(22, counted)


@pytest.mark.parametrize(
    "limit", [Limit("small", LEAST_LIMIT - 1, 60, "writes"), Limit("own", 10_000, 60, "writes", is_lent=False)]
)
async def test_of_a_small_limit_or_a_callers_own_nothing_is_lent(processes: list[Limits], valkey: Redis, limit: Limit) -> None:
    """Each write against it asks, and every process knows at once what remains."""
    rests = [remaining(await processes[n % 3].take((limit, "visitor"))) for n in range(60)]
    assert rests == list(range(limit.most - 1, limit.most - 61, -1))
    assert 60 <= await calls(valkey) <= 66  # and the first of each process, which taught Valkey the script


async def test_what_is_counted_afterwards_is_refused_in_time(processes: list[Limits], valkey: Redis) -> None:
    """What happened is counted by leases too, and refused as soon as the limit is used up, in this process and in another."""
    limit = Limit("happened", 300, 60, "writes")
    here, there = Spent(processes[0]), Spent(processes[1])
    happened = 0

    async def refused() -> bool:
        nonlocal happened
        for spent in (here, there):
            try:
                spent.check(lambda: [(limit, "tool")])
            except TooManyRequests:
                continue
            spent.note([(limit, "tool")])
            happened += 1
            return False
        return True

    async with asyncio.timeout(60):
        while not await refused():
            await valkey.ping()  # so long it takes at least to count one
            await asyncio.sleep(0.002)
    assert limit.most <= happened <= limit.most + 8


async def test_a_valkey_that_forgets_gets_nothing_back(processes: list[Limits], valkey: Redis) -> None:
    """What was lent by counters that are gone is not taken off those that were begun since."""
    assert [await took(processes[0], (THOUSAND, "network")) for _ in range(20)] == [True] * 20
    await valkey.flushall()
    assert remaining(await processes[1].take((THOUSAND, "network"))) == THOUSAND.most - 1
    await processes[0].close()
    assert remaining(await processes[1].take((THOUSAND, "network"))) <= THOUSAND.most - 2
