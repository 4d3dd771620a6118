"""What is kept of a subscriber of the newsletter: the address, consent, and mails."""

from datetime import date, datetime
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from events.log.vault import Key, Vault
from events.subscribers import Subscriber, evolve, stream
from projections import bookmarks
from projections.registry import named
from services.newsletter import own_hours
from services.newsletter.subscribers import SUPPRESSED_NOTE
from services.person.kept import Kept
from services.person.own import Database, Told, read_streams

SEALED: Final = frozenset({"proof", own_hours.FIELD})
"""Fields of a subscriber's events that are opened for its copy, beside the address, which stands in front."""
LEFT_OUT: Final = frozenset({"subscriber", "address", "token"})
"""Fields that say nothing more of a subscriber: its number, the address that is opened once, and the hash of a link."""

READ_MAILS: Final = """
select issue, kind, state, reason, code, attempts, planned_at, settled_at from newsletter.mails where reader = $1
order by planned_at, issue, mail
"""
READ_BOUNCES: Final = "select kind, code, recorded_at as at from newsletter.bounces where reader = $1 order by recorded_at"
READ_LEFT: Final = "select left_on from vault.left_elsewhere where mark = $1"
READ_JOINED: Final = named("""
select v.position, e.recorded_at as at
from {subscribers}.visitors v cross join lateral log.at_position(v.position) e where v.visitor = $1 order by 1
""")

KEPT: Final = (
    Kept(
        name="Address",
        what="Your email address, sealed under a key of its own. It is found by a keyed hash (HMAC-SHA256) of itself.",
        about="subscribers",
        when="subscribe",
        ground="consent",
        until="until you are erased; one that is never confirmed, a week",
        found="the address",
        fate="key",
        remains="If mails to the address bounced or were called spam: its keyed hash and why, so that nothing is sent there.",
        copies="beside",
        tables={
            "vault.lookups": "mark person suppressed suppressed_at mailbox",
            "vault.keys": "owner wrapped wrapped_under made_at",
        },
    ),
    Kept(
        name="Consent and choices",
        what="When you signed up, by which form, and confirmed by which link; or how you had agreed elsewhere; what you chose"
        " to read; your time zone, sealed, if you gave it; when you left; whether mails to you were stopped, and why.",
        about="subscribers",
        when="subscribe",
        ground="proof",
        until="as long as the site exists",
        found="the subscriber's number, which the address leads to",
        fate="stays",
        remains="The dates and choices, under a number that no address leads to any more.",
        copies="log",
        events=(
            "SubscriptionRequested",
            "SubscriptionConfirmed",
            "SubscriberImported",
            "PreferencesSet",
            "BookmarksJoined",
            "Unsubscribed",
            "UnsubscribeUndone",
            "TimeZoneSet",
            "SubscriberSuppressed",
            "SubscriberReinstated",
        ),
        tables={"{subscribers}.subscribers": "", "{subscribers}.visitors": ""},
    ),
    Kept(
        name="Mails",
        what="Which mails were sent to you, when, and whether they were taken.",
        about="subscribers",
        when="subscribe",
        ground="consent",
        until="as long as the site exists",
        found="the subscriber's number",
        fate="stays",
        remains="When a mail was sent and taken, under a number that no address leads to any more.",
        copies="beside",
        tables={
            "newsletter.mails": "issue reader mail kind state reason code attempts not_before lease_until claim planned_at"
            " settled_at provider claims"
        },
    ),
    Kept(
        name="Send marks",
        what="That a mail was about to be sent to you, and when: in files outside the database, so that a restored one sends"
        " nothing twice. No address and no name is in them.",
        about="subscribers",
        when="subscribe",
        ground="interest",
        until="100 days after the issue",
        found="the subscriber's number",
        fate="expires",
        remains="When a mail was about to be sent, under a number that no address leads to any more.",
        copies="memory",
        files=("sent-marks/*",),
    ),
    Kept(
        name="Bounces",
        what="That a mail to you came back or was called spam, when, and the code that came with it.",
        about="subscribers",
        when="subscribe",
        ground="interest",
        until="until you are erased",
        found="the subscriber's number",
        fate="deleted",
        copies="beside",
        tables={"newsletter.bounces": "reader report kind code recorded_at"},
    ),
    Kept(
        name="Left elsewhere",
        what="The keyed hash of an address whose reader had left the newsletter before it was moved here, and the day.",
        about="subscribers",
        when="subscribe",
        ground="interest",
        until="as long as the site exists, so that no later file brings the address back",
        found="the address",
        fate="stays",
        remains="The keyed hash and the day.",
        copies="beside",
        tables={"vault.left_elsewhere": "mark left_on"},
    ),
    Kept(
        name="Mails of a trial",
        what="On a site without a mail relay, the mails themselves, for its operators to look at.",
        about="subscribers",
        when="subscribe",
        ground="asked",
        until="until you are erased",
        found="the subscriber's number",
        fate="deleted",
        copies="home",
        needs="outbox",
        files=("outbox/*",),
    ),
)


class SubscriptionCopy(msgspec.Struct, frozen=True):
    """That a visitor's bookmarks were joined to a subscription of the newsletter, whose copy its own links lead to."""

    position: int
    at: datetime


async def left_elsewhere(database: Database, vault: Vault, address: str) -> date | None:
    """Return the day on which an address's reader had left the newsletter elsewhere; None if nothing is known of that."""
    day: date | None = await database.fetchval(READ_LEFT, (await vault.finder(database)).mark(address))
    return day


async def subscriptions_of(database: Database, visitor: str) -> list[SubscriptionCopy]:
    """Return the subscriptions that follow a visitor's bookmarks. Whose they are is told to their subscribers alone."""
    return [SubscriptionCopy(**row) for row in await database.fetch(READ_JOINED, visitor)]


async def subscriber_of(database: Database, subscriber: str) -> Subscriber | None:
    """Return a subscriber as the log has it; None for an unknown one."""
    state: Subscriber | None = None
    for one in await read_streams(database, [stream(subscriber)]):
        state = evolve(state, one.event)
    return state


async def copy_of(database: Database, vault: Vault, subscriber: str) -> dict[str, Any]:
    """Return everything that is kept about a subscriber, opened, under names for readers."""
    told = await read_streams(database, [stream(subscriber)])
    state: Subscriber | None = None
    for one in told:
        state = evolve(state, one.event)
    key = (await vault.keys_of(database, [subscriber])).get(subscriber)
    kept: dict[str, Any] = {
        "id": subscriber,
        "email": None if state is None or key is None else key.open("address", state.address),
        "status": None if state is None else state.status,
        "categories": [] if state is None else list(state.categories),
        "frequency": None if state is None else state.frequency,
        "paused_until": None if state is None else state.paused_until,
        "time_zone": None if state is None or key is None else own_hours.open_zone(key, state.zone),
        "events": [_said(one, key) for one in told],
        "mails": [dict(row) for row in await database.fetch(READ_MAILS, subscriber)],
        "bounces": [dict(row) for row in await database.fetch(READ_BOUNCES, subscriber)],
        "bookmarks": await bookmarks.slugs(database, state.visitors) if state else [],
    }
    kept["left_elsewhere"] = None if kept["email"] is None else await left_elsewhere(database, vault, kept["email"])
    if state is not None and state.suppressed:
        kept |= {"suppressed": state.suppressed, "note": SUPPRESSED_NOTE}
    return kept


def _said(told: Told, key: Key | None) -> dict[str, Any]:
    """Return what an event says of its subscriber, its sealed fields opened; what is destroyed is null."""
    fields = {name: value for name, value in asdict(told.event).items() if name not in LEFT_OUT and value is not None}
    for name in SEALED & fields.keys():
        fields[name] = None if key is None else key.open(name, fields[name])
    return {"type": type(told.event).__name__, "at": told.at, "position": told.position, **fields}
