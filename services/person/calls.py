"""What is kept for a moment of every write: counters of limits, and answers that a repeated request is given again."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events.erasure import PersonErased, person_stream
from services.person.kept import Kept
from services.person.own import Database, read_streams

READ_RECEIPTS: Final = "select key, recorded_at as at from log.idempotency where scope = $1 order by recorded_at"

KEPT: Final = (
    Kept(
        name="Counters",
        what="How much came from your visitor's number, your subscription and your network lately, so that nobody can flood the"
        " site.",
        about="visitors",
        when="call",
        ground="interest",
        until="a minute to a day, by the limit",
        found="the visitor's or the subscriber's number; a network by nobody's",
        fate="deleted",
        remains="Counters of networks, for an hour at most.",
        copies="memory",
        keys=("limit:*",),
    ),
    Kept(
        name="Receipts",
        what="That a request with a key of its own was done, so that sent twice it is done once.",
        about="visitors",
        when="call",
        ground="interest",
        until="24 hours",
        found="the visitor's number",
        fate="deleted",
        remains="The receipt of the erasure itself, if it was asked for with such a key, for 24 hours.",
        copies="beside",
        tables={"log.idempotency": "scope key fingerprint receipt recorded_at"},
    ),
    Kept(
        name="Erasures",
        what="That a number was erased, and when.",
        about="visitors",
        when="call",
        ground="interest",
        until="as long as the site exists, so that it is done again on a backup that is brought back",
        found="the visitor's or the subscriber's number",
        fate="stays",
        remains="The number, and when it was erased.",
        copies="log",
        events=("PersonErased",),
        files=("erasures",),
    ),
)


class ReceiptCopy(msgspec.Struct, frozen=True):
    """That a request with a key was done."""

    key: str
    at: datetime


class CounterCopy(msgspec.Struct, frozen=True):
    """A counter of a limit, and the seconds until it is forgotten."""

    limit: str
    forgotten_in: int


class ErasureCopy(msgspec.Struct, frozen=True):
    """That a visitor was erased."""

    position: int
    at: datetime


async def receipts_of(database: Database, visitor: str) -> list[ReceiptCopy]:
    """Return the receipts of a visitor's requests."""
    return [ReceiptCopy(**row) for row in await database.fetch(READ_RECEIPTS, visitor)]


async def erasures_of(database: Database, visitor: str) -> list[ErasureCopy]:
    """Return when a visitor was erased."""
    told = await read_streams(database, [person_stream(visitor)])
    return [ErasureCopy(one.position, one.at) for one in told if isinstance(one.event, PersonErased)]


def counters_of_visitor(visitor: str, slugs: Sequence[str]) -> list[str]:
    """Return the names in Valkey of all counters that there may be of a visitor that voted on tools, by all their slugs.

    Networks have theirs beside.
    """
    return [f"limit:visitor:{visitor}", f"limit:copies:{visitor}", *(f"limit:changes:{visitor} {slug}" for slug in slugs)]


def counters_of_subscriber(subscriber: str) -> list[str]:
    """Return the names in Valkey of all counters that there may be of a subscriber."""
    return [f"limit:visitor:subscriber {subscriber}"]


async def read_counters(valkey: Redis, names: Iterable[str]) -> list[CounterCopy]:
    """Return which of these counters there are; none while Valkey is away."""
    found = []
    with suppress(RedisError, OSError):
        for name in names:
            if (milliseconds := await valkey.pttl(name)) > 0:
                found.append(CounterCopy(name.split(":")[1], -(-milliseconds // 1000)))
    return found


async def forget_counters(valkey: Redis, names: Sequence[str]) -> None:
    """Forget these counters; while Valkey is away they go by themselves."""
    with suppress(RedisError, OSError):
        await valkey.delete(*names)
