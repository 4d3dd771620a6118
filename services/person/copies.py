"""The copy of a person's data: everything that the table says is about the person, opened, and what each part of it is.

Nothing of another's is in it, nor what would harm the site's other readers: no keys, no hashes, no marks of networks.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec
from redis.asyncio import Redis

from emails.addresses import read_address
from events.log import ids
from events.log.vault import Vault
from services.newsletter import subscribers
from services.person import bookmarks, calls, newsletter, reports, reviews, votes
from services.person.bookmarks import BookmarkCopy
from services.person.calls import CounterCopy, ErasureCopy, ReceiptCopy
from services.person.kept import GROUNDS, Kept, Whom
from services.person.newsletter import SubscriptionCopy
from services.person.own import Database, read_own, read_slugs, read_tools, tools_of
from services.person.reports import ReportCopy
from services.person.reviews import ReviewCopy
from services.person.table import KEPT
from services.person.votes import CorrectionCopy, VoteCopy

ABOUT: Final = (
    "Everything that this site keeps of you, as of made_at. Times are UTC; position is the number of an event in the site's"
    " log, by which it can be found there. What has no position isn't in the log. `explained` says of each part what it is, how"
    " long it is kept and why, and what an erasure does to it."
)
OF_VISITORS: Final[tuple[Whom, ...]] = ("visitors", "reviewers", "reporters")


class Sources(NamedTuple):
    """Where a person's data is read from."""

    database: Database
    vault: Vault
    valkey: Redis


class Found(NamedTuple):
    """Whom an operator names: what it is, its id (None for an unknown address), and why the address is suppressed, if it is."""

    of: Literal["visitor", "subscriber"]
    id: str | None
    suppressed: str | None = None


class Explained(msgspec.Struct, frozen=True):
    """A row of the table of what is kept, in words."""

    name: str
    what: str
    until: str
    why: str
    erasure: str


class VisitorCopy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept of a visitor. `network_marks` says how many votes have one now."""

    about: str = ABOUT
    made_at: datetime
    visitor: str
    known_since: datetime
    votes: list[VoteCopy]
    corrections: list[CorrectionCopy]
    network_marks: int
    bookmarks: list[BookmarkCopy]
    reviews: list[ReviewCopy]
    reports: list[ReportCopy]
    subscriptions: list[SubscriptionCopy]
    receipts: list[ReceiptCopy]
    counters: list[CounterCopy]
    erasures: list[ErasureCopy]
    explained: list[Explained]


def explain(rows: Sequence[Kept], *whom: Whom) -> list[Explained]:
    """Return the rows about these people in words."""
    return [Explained(row.name, row.what, row.until, GROUNDS[row.ground], row.erasure) for row in rows if row.about in whom]


async def copy_visitor(sources: Sources, visitor: str, at: datetime) -> VisitorCopy:
    """Return everything that is kept of a visitor. Raises ValueError if `visitor` is no id."""
    database, vault, valkey = sources
    told = await read_own(database, visitor)
    about = tools_of(told)
    tools = await read_tools(database, about)
    counters = calls.counters_of_visitor(visitor, await read_slugs(database, about))
    return VisitorCopy(
        made_at=at,
        visitor=visitor,
        known_since=ids.made_at(visitor),
        votes=votes.votes_of(told, tools),
        corrections=await votes.corrections_of(database, told),
        network_marks=await votes.count_marks(database, told),
        bookmarks=bookmarks.bookmarks_of(told, tools),
        reviews=await reviews.reviews_of(database, vault, told, tools),
        reports=await reports.reports_of(database, vault, told),
        subscriptions=await newsletter.subscriptions_of(database, visitor),
        receipts=await calls.receipts_of(database, visitor),
        counters=await calls.read_counters(valkey, counters),
        erasures=await calls.erasures_of(database, visitor),
        explained=explain(KEPT, *OF_VISITORS),
    )


async def find(database: Database, vault: Vault, who: str) -> Found:
    """Return whom an address, a visitor's id or a subscriber's id names. Raises AddressRefused for what is none of these."""
    if ids.is_id(who):
        is_subscriber = await newsletter.subscriber_of(database, who) is not None
        return Found("subscriber", who) if is_subscriber else Found("visitor", who)
    person, suppressed = await subscribers.find(database, await vault.finder(database), who)
    return Found("subscriber", person, suppressed)


async def copy_of(sources: Sources, who: str, at: datetime) -> tuple[Found, Any]:
    """Return whom an operator names, and all that is kept of it, a subscriber's browsers included. Raises AddressRefused."""
    found = await find(sources.database, sources.vault, who)
    if found.id is None:
        note: dict[str, Any] = {"suppressed": found.suppressed, "note": subscribers.SUPPRESSED_NOTE} if found.suppressed else {}
        if left := await newsletter.left_elsewhere(sources.database, sources.vault, read_address(who)):
            note["left_elsewhere"] = left
        return found, {"email": who, "status": None, **note}
    if found.of == "visitor":
        return found, await copy_visitor(sources, found.id, at)
    state = await newsletter.subscriber_of(sources.database, found.id)
    return found, await copy_subscriber(sources, found.id, at, state.visitors if state else ())


async def copy_subscriber(sources: Sources, subscriber: str, at: datetime, visitors: Sequence[str] = ()) -> dict[str, Any]:
    """Return everything that is kept of a subscriber, and of those of its browsers that are named."""
    kept = await newsletter.copy_of(sources.database, sources.vault, subscriber)
    return {
        "about": ABOUT,
        "made_at": at,
        **kept,
        "counters": await calls.read_counters(sources.valkey, calls.counters_of_subscriber(subscriber)),
        "browsers": [await copy_visitor(sources, visitor, at) for visitor in visitors],
        "explained": explain(KEPT, "subscribers"),
    }
