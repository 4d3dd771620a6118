"""Subscribers: build one from an address, find one by it, and copy everything kept about one."""

from datetime import datetime, timedelta
from typing import Any, Final

from emails.addresses import mailbox_of, read_address
from events.commands.subscribers import EraseSubscriber, Person
from events.erasure import PersonErased
from events.log import store
from events.log.committer import Committer
from events.log.event import Registry, fold
from events.log.vault import Erased, Finder, Key, Vault
from events.subscribers import EVENTS, evolve, stream
from projections import bookmarks, subscribers
from services.clock import fresh_id
from services.newsletter.ledger import Database

FORGET_AFTER: Final = timedelta(days=7)
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
READ_PERSON: Final = "select person, suppressed from vault.lookups where mark = $1"

_registry = Registry((*EVENTS, PersonErased))


def new_person(vault: Vault, finder: Finder, address: str) -> Person:
    """Build a prospective subscriber: a new id and the address, sealed under a new key."""
    return seal_person(vault, finder, address)[0]


def seal_person(vault: Vault, finder: Finder, address: str) -> tuple[Person, Key]:
    """Build a prospective subscriber; return its new key too, so that more can be sealed under it."""
    person = fresh_id()
    key, keep = vault.new_key(person)
    mailbox = finder.mark(f"mailbox {mailbox_of(address)}")  # no address begins so: this mark finds nobody
    return Person(person, key.seal("address", address), finder.mark(address), mailbox, keep), key


async def find(database: Database, finder: Finder, address: str) -> tuple[str | None, str | None]:
    """Return the id of an address's subscriber (None: there is none), and why the address is suppressed (None: it isn't).

    Raises AddressRefused.
    """
    row = await database.fetchrow(READ_PERSON, finder.mark(read_address(address)))
    return (None, None) if row is None else (row["person"], row["suppressed"])


async def export(database: Database, vault: Vault, subscriber: str) -> dict[str, Any]:
    """Return everything that is kept about a subscriber, opened, under names for readers."""
    at = stream(subscriber)
    whole = [store.decode(_registry, row) for row in await database.fetch(store.READ_WHOLES, [at])]
    state = fold(evolve, whole)
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
        "bookmarks": await bookmarks.slugs(database, state.visitors) if state else [],
    }
    if state is not None and state.suppressed:
        kept["suppressed"] = state.suppressed
        kept["note"] = SUPPRESSED_NOTE
    return kept


async def forget_unconfirmed(database: Database, committer: Committer, at: datetime) -> list[str]:
    """Erase subscribers who have not confirmed within seven days of their last link; return their ids."""
    unconfirmed = await subscribers.read_unconfirmed(database, at - FORGET_AFTER)
    for subscriber in unconfirmed:
        await committer.submit(EraseSubscriber(subscriber, unconfirmed_only=True))
    return unconfirmed
