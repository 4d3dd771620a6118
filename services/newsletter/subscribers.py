"""Subscribers: build one from an address, find one by it or by its id, and forget those who never confirmed."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from emails.addresses import mailbox_of, read_address
from events.commands.subscribers import EraseSubscriber, Person
from events.erasure import PersonErased
from events.log import store
from events.log.committer import Committer
from events.log.event import Registry, fold
from events.log.vault import Finder, Key, Vault
from events.subscribers import EVENTS, Subscriber, evolve, stream
from projections import subscribers
from services.clock import fresh_id
from services.newsletter.ledger import Database
from services.newsletter.own_hours import FIELD

FORGET_AFTER: Final = timedelta(days=7)
SUPPRESSED_NOTE: Final = (
    "This address is suppressed. If you have yourself erased, a keyed hash of it (HMAC-SHA256) stays, so that nothing is sent"
    " to it again."
)

READ_SUPPRESSED: Final = """
select l.person as subscriber, s.address as email, l.suppressed as reason, l.suppressed_at as since
from vault.lookups l cross join lateral newsletter.subscriber(l.person) s
where l.suppressed is not null and l.person is not null and l.suppressed_at < coalesce($1::timestamptz, 'infinity')
order by l.suppressed_at desc limit $2
"""
READ_PERSON: Final = "select person, suppressed from vault.lookups where mark = $1"

_registry = Registry((*EVENTS, PersonErased))


def new_person(vault: Vault, finder: Finder, address: str, zone: str | None = None) -> Person:
    """Build a prospective subscriber: a new id, the address and the time zone, sealed under a new key."""
    person, key = seal_person(vault, finder, address)
    return person if zone is None else replace(person, zone=key.seal(FIELD, zone))


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


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """A suppressed subscriber: id, address (None if it can't be opened), the reason, and since when."""

    subscriber: str
    email: str | None
    reason: str
    since: datetime


async def read_suppressed(database: Database, vault: Vault, before: datetime | None, most: int) -> list[Suppressed]:
    """Return suppressed subscribers, the last suppressed first: up to `most`, suppressed before a time (None: now)."""
    rows = await database.fetch(READ_SUPPRESSED, before, most)
    keys = await vault.keys_of(database, {row["subscriber"] for row in rows})
    return [Suppressed(**{**row, "email": _opened(keys.get(row["subscriber"]), row["email"])}) for row in rows]


def _opened(key: Key | None, address: str | None) -> str | None:
    return None if key is None or address is None else key.open("address", address)


async def opened(database: Database, vault: Vault, subscriber: str) -> tuple[Subscriber | None, str | None]:
    """Return a subscriber as its stream says (None: unknown), and its address (None: unknown or erased)."""
    whole = [store.decode(_registry, row) for row in await database.fetch(store.READ_WHOLES, [stream(subscriber)])]
    state = fold(evolve, whole)
    key = (await vault.keys_of(database, [subscriber])).get(subscriber)
    return state, _opened(key, state.address if state else None)


async def forget_unconfirmed(database: Database, committer: Committer, at: datetime) -> list[str]:
    """Erase subscribers who have not confirmed within seven days of their last link; return their ids."""
    unconfirmed = await subscribers.read_unconfirmed(database, at - FORGET_AFTER)
    for subscriber in unconfirmed:
        await committer.submit(EraseSubscriber(subscriber, unconfirmed_only=True))
    return unconfirmed
