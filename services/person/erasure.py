"""Erase a person: by the commands what the log and its vault hold, and then what lies beside them.

A reader's mails in an outbox, and counters in Valkey; caches forget pages by the events, and messages of webhooks name nobody.
What an erasure leaves is said in the table.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from events.commands.erasure import EraseVisitor, Erasure, NoteRequest
from events.commands.subscribers import EraseSubscriber
from events.log.command import IdempotencyKey, Receipt
from events.log.committer import Committer
from events.subscribers import Subscriber
from services.clock import fresh_id
from services.newsletter import outbox
from services.person.calls import counters_of_subscriber, counters_of_visitor, forget_counters
from services.person.copies import OF_VISITORS, Found, Sources
from services.person.kept import Whom
from services.person.own import Database, read_own, read_slugs, tools_of
from services.person.table import KEPT


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator's erasure did: how much went, how many events it took, and what remains, in words."""

    reviews: int = 0
    reports: int = 0
    bookmarks: int = 0
    appended: int
    remains: list[str]


async def erase_visitor(
    committer: Committer,
    database: Database,
    valkey: Redis,
    visitor: str,
    *,
    operator: str | None = None,
    key: IdempotencyKey | None = None,
) -> Receipt[Erasure]:
    """Erase a visitor; `operator` is None when the visitor asks. Raises LogUnavailable."""
    slugs = await read_slugs(database, tools_of(await read_own(database, visitor)))
    receipt = await committer.submit(EraseVisitor(visitor, operator, key=key))
    await forget_counters(valkey, counters_of_visitor(visitor, slugs))
    return receipt


async def erase_subscriber(
    committer: Committer, valkey: Redis, home: Path, subscriber: str, operator: str | None = None
) -> Receipt[Subscriber]:
    """Erase a subscriber; the visitors whose bookmarks were joined are erased apart. Raises LogUnavailable."""
    receipt = await committer.submit(EraseSubscriber(subscriber, operator=operator))
    outbox.forget(home, subscriber)
    await forget_counters(valkey, counters_of_subscriber(subscriber))
    return receipt


async def erase(sources: Sources, committer: Committer, home: Path, found: Found, operator: str) -> Erased | None:
    """Erase whom an operator names, a subscriber with its browsers; None if there is nobody. Raises LogUnavailable."""
    if found.id is None:
        return None
    await committer.submit(NoteRequest(request=fresh_id(), kind="erasure", of=found.of, operator=operator))
    visitors: Sequence[str] = [found.id]
    appended = 0
    if found.of == "subscriber":
        gone = await erase_subscriber(committer, sources.valkey, home, found.id, operator)
        visitors, appended = gone.value.visitors, gone.appended
    receipts = [
        await erase_visitor(committer, sources.database, sources.valkey, visitor, operator=operator) for visitor in visitors
    ]
    whom: tuple[Whom, ...] = (*(OF_VISITORS if visitors else ()), *(("subscribers",) if found.of == "subscriber" else ()))
    return Erased(
        reviews=sum(receipt.value.reviews for receipt in receipts),
        reports=sum(receipt.value.reports for receipt in receipts),
        bookmarks=sum(receipt.value.bookmarks for receipt in receipts),
        appended=appended + sum(receipt.appended for receipt in receipts),
        remains=[f"{row.name}: {row.remains}" for row in KEPT if row.about in whom and row.remains],
    )
