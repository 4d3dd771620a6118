"""Limits: how many writes a visitor and a network may make, counted in Valkey for all processes together.

The window slides in six slices: never more than the limit within five sixths of it, and a caller who waits a whole window may
write again. (A fixed window lets twice the limit through around its end, GCRA with so large a burst in its first window.)
Claims that arrive while a call is under way are gathered and decided by the next one. While Valkey is away, each process counts
by itself, by the same rule: after one failed call none waits for it until a probe, about once a second, has got through.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

import hiredis
import msgspec
import structlog
from redis import exceptions
from redis.asyncio import Connection, Redis

from events.log.tasks import end
from services.web.http.checks import Check
from services.web.http.local_counts import Bound, LocalCounts
from services.web.http.problems import TooManyRequests

TICKS: Final = 10
TICK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = TICKS * TICK_SECONDS
PROBE_SECONDS: Final = 1.0
MOST_IN_A_BATCH: Final = 500
ENOUGH_FOR_A_BATCH: Final = 64
PACE_SECONDS: Final = 0.001  # one call costs as much as thirty claims: under load, more gather before the next

_SCRIPT: Final = files(__package__).joinpath("limits.lua").read_text("utf-8")
_TOO_SLOW: Final = "Valkey did not answer in time"
_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Limit:
    """At most `most` in `seconds`, for each owner; `item` is its name in the RateLimit headers."""

    item: str
    most: int
    seconds: int

    @cached_property
    def policy(self) -> bytes:
        """The limit as an item of the RateLimit-Policy header."""
        return f'"{self.item}";q={self.most};w={self.seconds}'.encode("ascii")

    def refusal(self, milliseconds: int, headers: Headers = ()) -> TooManyRequests:
        """Return the refusal of one more, with the time until there is room."""
        seconds = -(-milliseconds // 1000)
        detail = f"No more than {self.most} in {self.seconds} seconds; try again in {seconds} s."
        told = headers or (
            (b"ratelimit-policy", self.policy),
            (b"ratelimit", b'"%s";r=0;t=%d' % (self.item.encode("ascii"), seconds)),
        )
        return TooManyRequests(detail, headers=[*told, (b"retry-after", str(seconds).encode("ascii"))])


Counter = tuple[Limit, str]
"""A limit, and whose writes are counted against it."""


class Claim(NamedTuple):
    """A request to count one write against limits, each with its owner."""

    counters: tuple[Counter, ...]
    decided: asyncio.Future[Headers]


class Limits:
    """Grants or refuses claims; made once a process, inside its event loop."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey
        self._connection: Connection | None = None
        self._waiting: list[Claim] = []
        self._deciding: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._local = LocalCounts()

    def check(self) -> Check:
        """Return the check that limits are in force."""

        async def ask() -> str | None:
            return None if self._probing is None else "Valkey does not answer; each process counts by itself"

        return Check("limits", False, ask)

    async def take(self, *counters: Counter) -> Headers:
        """Count one against each limit and return the headers for the caller. Raises TooManyRequests if one is used up."""
        return await self.claim(*counters)

    def claim(self, *counters: Counter) -> "asyncio.Future[Headers]":
        """Count one against each limit; the future holds the headers for the caller, or TooManyRequests."""
        claim = Claim(counters, asyncio.get_running_loop().create_future())
        if self._probing is not None:
            self._decide_here(claim)
            return claim.decided
        self._waiting.append(claim)
        if self._deciding is None:
            self._deciding = asyncio.create_task(self._decide())
        return claim.decided

    async def close(self) -> None:
        """Stop the tasks and release the connection."""
        await end(*(task for task in (self._deciding, self._probing) if task is not None))
        if self._connection is not None:
            await self._valkey.connection_pool.release(self._connection)
            self._connection = None

    async def _decide(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_IN_A_BATCH], self._waiting[MOST_IN_A_BATCH:]
                await self._decide_batch(batch)
                if self._waiting and len(self._waiting) < ENOUGH_FOR_A_BATCH:
                    await asyncio.sleep(PACE_SECONDS)
        finally:
            self._deciding = None

    async def _decide_batch(self, batch: Sequence[Claim]) -> None:
        limits, keys, claims = _numbered(batch)
        bounds = [number for limit in limits for number in (limit.most, limit.seconds * 1000)]
        try:
            answers = await _patiently(self._call(keys, msgspec.msgpack.encode((bounds, claims))))
        except Exception as error:  # no fault of the limits may stop a vote
            self._stand_in(error)
            for claim in batch:
                self._decide_here(claim)
            return
        for claim, place in zip(batch, range(0, len(answers), 4), strict=True):
            wait, scarcest, remaining, reset = answers[place : place + 4]
            _answer(claim, wait, limits[scarcest - 1], remaining, reset)

    def _decide_here(self, claim: Claim) -> None:
        """Decide a claim by this process's own counts."""
        bounds = [Bound(f"{limit.item}:{owner}", limit.most, limit.seconds * 1000) for limit, owner in claim.counters]
        wait, scarcest, remaining, reset = self._local.decide(bounds)
        _answer(claim, wait, claim.counters[scarcest][0], remaining, reset)

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


def _numbered(batch: Sequence[Claim]) -> tuple[list[Limit], list[str], list[int]]:
    """Return the counters of a batch, numbered: their limits, their keys, and the claims as the script reads them."""
    places: dict[str, int] = {}
    limits: list[Limit] = []
    claims: list[int] = []
    for claim in batch:
        claims.append(len(claim.counters))
        for limit, owner in claim.counters:
            key = f"limit:{limit.item}:{owner}"
            if key not in places:
                limits.append(limit)
                places[key] = len(limits)
            claims.append(places[key])
    return limits, list(places), claims


def _answer(claim: Claim, wait: int, limit: Limit, remaining: int, reset: int) -> None:
    """Grant or refuse one claim (headers as in draft-ietf-httpapi-ratelimit-headers-10)."""
    headers = (
        (b"ratelimit-policy", b", ".join([counted.policy for counted, _ in claim.counters])),
        (b"ratelimit", b'"%s";r=%d;t=%d' % (limit.item.encode("ascii"), remaining, -(-(wait or reset) // 1000))),
    )
    if not wait:
        _settle(claim, headers)
    elif not claim.decided.done():
        claim.decided.set_exception(limit.refusal(wait, headers))


def _settle(claim: Claim, headers: Headers) -> None:
    if not claim.decided.done():  # the caller may have gone
        claim.decided.set_result(headers)
