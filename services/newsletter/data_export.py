"""What is kept about a subscriber, for the subscriber: opened, complete, and in words."""

from typing import Any, Final

from events.erasure import PersonErased
from events.log import store
from events.log.event import Registry
from events.log.vault import Erased, Finder, Vault
from events.subscribers import EVENTS, fold, stream
from services.newsletter.addresses import read_address
from services.newsletter.ledger import Database

SUPPRESSED_NOTE: Final = (
    "This address is suppressed. If you have yourself erased, a keyed hash of it (HMAC-SHA256) stays, so that nothing is sent"
    " to it again."
)

READ_EVENTS: Final = """
select type, recorded_at, data from log.recorded_events where stream = $1 order by version
"""
READ_MAILS: Final = """
select issue, kind, state, reason, planned_at, settled_at from newsletter.mails where reader = $1 order by planned_at
"""
READ_BOOKMARKS: Final = """
select t.slug from bookmarks_1.bookmarks b join cards_1.tools t on t.tool = b.tool where b.visitor = any($1::text[]) order by 1
"""
READ_PERSON: Final = "select person, suppressed from vault.lookups where mark = $1"

_registry = Registry((*EVENTS, PersonErased))


async def find(database: Database, finder: Finder, address: str) -> tuple[str | None, str | None]:
    """Find by an address who it is, and why it is suppressed; None for each that isn't so. AddressInvalid."""
    row = await database.fetchrow(READ_PERSON, finder.mark(read_address(address)))
    return (None, None) if row is None else (row["person"], row["suppressed"])


async def export(database: Database, vault: Vault, subscriber: str) -> dict[str, Any]:
    """Give everything that is kept about a subscriber."""
    at = stream(subscriber)
    whole = [store.decode(_registry, row) for row in await database.fetch(store.READ_WHOLES, [at])]
    state = fold(whole)
    address = None
    if state is not None and state.status != "erased":
        try:
            address = (await vault.key_of(database, subscriber)).open("address", state.address)
        except Erased:
            address = None
    happened = await database.fetch(READ_EVENTS, at)
    kept: dict[str, Any] = {
        "id": subscriber,
        "email": address,
        "status": None if state is None else state.status,
        "categories": [] if state is None else list(state.categories),
        "frequency": None if state is None else state.frequency,
        "paused_until": None if state is None else state.paused_until,
        "events": [{"type": row["type"], "at": row["recorded_at"]} for row in happened],
        "mails": [dict(row) for row in await database.fetch(READ_MAILS, subscriber)],
        "bookmarks": [row["slug"] for row in await database.fetch(READ_BOOKMARKS, list(state.visitors))] if state else [],
    }
    if state is not None and state.suppressed:
        kept["suppressed"] = state.suppressed
        kept["note"] = SUPPRESSED_NOTE
    return kept
