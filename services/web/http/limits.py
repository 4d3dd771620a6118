"""Limits: how many writes a visitor and a network may make, counted in Valkey for all processes together.

The window slides in six slices: never more than the limit within five sixths of it, and a caller who waits a whole window may
write again. (A fixed window lets twice the limit through around its end, GCRA with so large a burst in its first window.)
Claims that arrive while a call is under way are gathered and decided by the next one; what a network writes often is lent to
the process beforehand (`leases.py`). While Valkey is away, each process counts by itself, by the same rule: after one failed
call none waits for it until a probe, about once a second, has got through.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from hashlib import sha1
from importlib.resources import files
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple, cast

import hiredis
import msgspec
import structlog
from redis import exceptions
from redis.asyncio import Connection, Redis

from events.log.tasks import end
from services.web.http.checks import Check
from services.web.http.counters import Counter, Headers, Limit, told
from services.web.http.leases import Held, Lease, Leases, Lent
from services.web.http.local_counts import Bound, LocalCounts

TICKS: Final = 10
TICK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = TICKS * TICK_SECONDS
PROBE_SECONDS: Final = 1.0
TIDY_SECONDS: Final = 1.0
MOST_IN_A_BATCH: Final = 500
ENOUGH_FOR_A_BATCH: Final = 64
PACE_SECONDS: Final = 0.001  # one call costs as much as thirty claims: under load, more gather before the next

_SCRIPT: Final = files(__package__).joinpath("limits.lua").read_text("utf-8")
_TOO_SLOW: Final = "Valkey did not answer in time"
_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Claim(NamedTuple):
    """A request to count one write against limits, each with its owner."""

    counters: tuple[Counter, ...]
    decided: asyncio.Future[Headers]


class _Asked(NamedTuple):
    """A claim, those of its counters that Valkey is asked about, and what was taken from leases for the others."""

    claim: Claim
    counters: list[Counter]
    held: Held


class Limits:
    """Grants or refuses claims; made once a process, inside its event loop."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey
        self._loop = asyncio.get_running_loop()  # kept: before Python 3.12, to ask for it is a system call
        self._connection: Connection | None = None
        self._waiting: list[Claim] = []
        self._deciding: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._local = LocalCounts()
        self._leases = Leases()
        self._tidying: asyncio.TimerHandle | None = None

    def check(self) -> Check:
        """Return the check that limits are in force."""

        async def ask() -> str | None:
            return None if self._probing is None else "Valkey does not answer; each process counts by itself"

        return Check("limits", False, ask)

    async def take(self, *counters: Counter) -> Headers:
        """Count one against each limit and return the headers for the caller. Raises TooManyRequests if one is used up."""
        if (held := self._leases.take_all(counters, monotonic())) is not None:
            return _told_here(counters, held)
        return await self.claim(*counters)

    def count_here(self, counter: Counter) -> bool:
        """Count one against a limit if some of it is lent to this process, and tell whether it is."""
        return self._leases.take_all((counter,), monotonic()) is not None

    def claim(self, *counters: Counter) -> "asyncio.Future[Headers]":
        """Count one against each limit; the future holds the headers for the caller, or TooManyRequests."""
        claim = Claim(counters, self._loop.create_future())
        if self._probing is not None:
            self._decide_here(claim)
            return claim.decided
        self._waiting.append(claim)
        self._begin()
        return claim.decided

    async def close(self) -> None:
        """Give back what is left of leases, if Valkey takes it now; stop the tasks and release the connection."""
        if self._probing is None and self._leases.end_old(inf):
            self._begin()
        if self._deciding is not None:
            await asyncio.wait([self._deciding], timeout=PATIENCE_SECONDS)
        if self._tidying is not None:
            self._tidying.cancel()
        await end(*(task for task in (self._deciding, self._probing) if task is not None))
        if self._connection is not None:
            await self._valkey.connection_pool.release(self._connection)
            self._connection = None

    def _begin(self) -> None:
        if self._deciding is None:
            self._deciding = asyncio.create_task(self._decide())

    def _tidy(self) -> None:
        """Give back what is left of leases that are over, once a second as long as there are any."""
        self._tidying = None
        if self._leases.end_old(monotonic()):
            self._begin()
        self._tidy_later()

    def _tidy_later(self) -> None:
        if self._tidying is None and self._leases:
            self._tidying = self._loop.call_later(TIDY_SECONDS, self._tidy)

    async def _decide(self) -> None:
        try:
            while self._waiting or self._leases.has_unused:
                batch, self._waiting = self._waiting[:MOST_IN_A_BATCH], self._waiting[MOST_IN_A_BATCH:]
                await self._decide_batch(batch)
                if self._waiting and len(self._waiting) < ENOUGH_FOR_A_BATCH:
                    await asyncio.sleep(PACE_SECONDS)
        finally:
            self._deciding = None
            self._tidy_later()

    async def _decide_batch(self, batch: Sequence[Claim]) -> None:
        asked = self._unlent(batch, monotonic())
        question = _Question(asked, self._leases)
        if not question.keys:
            return
        try:
            answers = await _patiently(self._call([*question.keys], question.encoded()))
        except Exception as error:  # no fault of the limits may stop a vote
            self._stand_in(error)
            for one in asked:
                self._decide_here(one.claim)
            return
        now = monotonic()
        for one, place in zip(asked, range(0, len(answers), 4), strict=False):
            wait, scarcest, remaining, reset = answers[place : place + 4]
            self._answer(one, wait, question.limits[scarcest - 1], remaining, reset, now)
        for counter, place in zip(question.wanting, range(4 * len(asked), len(answers), 5), strict=True):
            self._leases.renew(counter, Lent(*answers[place : place + 5]), now)

    def _unlent(self, batch: Sequence[Claim], now: float) -> list[_Asked]:
        """Return what Valkey must be asked; claims for whose counters all is lent are granted."""
        unlent = []
        for claim in batch:
            held: list[tuple[Counter, Lease]] = []
            asked: list[Counter] = []
            for counter in claim.counters:
                if (lease := self._leases.take(counter, now)) is None:
                    asked.append(counter)
                else:
                    held.append((counter, lease))
            if asked:
                unlent.append(_Asked(claim, asked, held))
            else:
                _settle(claim, _told_here(claim.counters, held))
        return unlent

    def _answer(self, asked: _Asked, wait: int, limit: Limit, remaining: int, reset: int, now: float) -> None:
        """Grant or refuse a claim as Valkey decided; the scarcest of its counters may be one that is lent."""
        if wait:
            self._leases.put_back(asked.held)
            _refuse(asked.claim, wait, limit, remaining)
            return
        for counter, lease in asked.held:
            if lease.remaining < remaining:
                limit, remaining, reset = counter[0], lease.remaining, lease.reset(now)
        _settle(asked.claim, told(asked.claim.counters, limit, remaining, reset))

    def _decide_here(self, claim: Claim) -> None:
        """Decide a claim by this process's own counts."""
        bounds = [Bound(f"{limit.item}:{owner}", limit.most, limit.seconds * 1000) for limit, owner in claim.counters]
        wait, scarcest, remaining, reset = self._local.decide(bounds)
        limit = claim.counters[scarcest][0]
        if wait:
            _refuse(claim, wait, limit, remaining)
        else:
            _settle(claim, told(claim.counters, limit, remaining, reset))

    async def _call(self, keys: list[str], asked: bytes) -> list[int]:
        """Run the script, a second time if Valkey doesn't know it yet or has dropped an idle connection."""
        try:
            return await self._command("EVALSHA", _SHA, len(keys), *keys, asked)
        except (exceptions.NoScriptError, exceptions.ConnectionError):
            return await self._command("EVAL", _SCRIPT, len(keys), *keys, asked)

    async def _command(self, *words: str | int | bytes) -> list[int]:
        """Send one command on the connection kept for this.

        This reaches under redis-py (5.3), whose own `execute_command` costs five times the processor time, on every vote.
        """
        connection = self._connection or await self._valkey.connection_pool.get_connection()
        self._connection = None  # kept only if all goes well: a late reply must not answer the next call
        try:
            packed = hiredis.pack_command(words)  # type: ignore[arg-type] # the stub knows tuples of one word only
            await connection.send_packed_command([packed])
            answer: list[int] = await connection.read_response()
        except exceptions.NoScriptError:
            self._connection = connection
            raise
        except BaseException:
            await connection.disconnect(nowait=True)
            await self._valkey.connection_pool.release(connection)
            raise
        self._connection = connection
        return answer

    def _stand_in(self, error: Exception) -> None:
        if self._probing is None:
            structlog.get_logger().warning("limits counted by this process alone: Valkey does not answer", error=repr(error))
            self._local = LocalCounts()
            self._leases = Leases()  # what was lent counts in Valkey, so nothing is granted twice
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await cast(Awaitable[bool], self._valkey.ping())
            except (exceptions.RedisError, OSError):
                continue
            structlog.get_logger().info("limits counted for all processes together again")
            self._probing = None
            return


async def _patiently(call: Coroutine[Any, Any, list[int]]) -> list[int]:
    """Await a call for ten ticks of our own event loop. Raises TimeoutError.

    A loop that is late ticks late: an answer that only our own load keeps from being read never counts as none.
    """
    loop, task = asyncio.get_running_loop(), cast("asyncio.Task[object]", asyncio.current_task())
    timer: asyncio.TimerHandle | None = None

    def tick(left: int) -> None:
        nonlocal timer
        if not left:
            task.cancel(_TOO_SLOW)
            return
        timer = loop.call_later(TICK_SECONDS, tick, left - 1)

    tick(TICKS)
    try:
        return await call
    except asyncio.CancelledError as error:
        if error.args != (_TOO_SLOW,):
            raise
        task.uncancel()
        raise TimeoutError from None
    finally:
        if timer is not None:
            timer.cancel()


class _Question:
    """What the script is asked: every counter once, numbered; the claims; what of leases is given back, and what is wanted."""

    def __init__(self, asked: Sequence[_Asked], leases: Leases) -> None:
        self.keys: dict[str, int] = {}
        self.limits: list[Limit] = []
        self.wanting: list[Counter] = []
        self._bounds: list[int] = []
        self._claims: list[int] = []
        for one in asked:
            self._claims.append(len(one.counters))
            self._claims += [self._place(counter, leases) for counter in one.counters]
        self._unused = [
            number
            for counter, lent, left in leases.unused(MOST_IN_A_BATCH)
            for number in (self._place(counter, None), lent.start, lent.slice, left)
        ]

    def encoded(self) -> bytes:
        """Return the argument of the script."""
        return msgspec.msgpack.encode((self._bounds, self._claims, self._unused))

    def _place(self, counter: Counter, leases: Leases | None) -> int:
        limit, owner = counter
        key = f"limit:{limit.item}:{owner}"
        place = self.keys.get(key)
        if place is None:
            place = self.keys[key] = len(self.keys) + 1
            self.limits.append(limit)
            wanted = leases.wanted(counter) if leases else 0
            self._bounds += (limit.most, limit.seconds * 1000, wanted)
            if wanted:
                self.wanting.append(counter)
        return place


def _told_here(counters: tuple[Counter, ...], held: Held) -> Headers:
    """Return the headers for a claim that leases alone have granted."""
    counter, lease = min(held, key=lambda one: one[1].remaining)
    return told(counters, counter[0], lease.remaining, lease.reset(monotonic()))


def _refuse(claim: Claim, wait: int, limit: Limit, remaining: int) -> None:
    if not claim.decided.done():
        claim.decided.set_exception(limit.refusal(wait, told(claim.counters, limit, remaining, wait)))


def _settle(claim: Claim, headers: Headers) -> None:
    if not claim.decided.done():  # the caller may have gone
        claim.decided.set_result(headers)
