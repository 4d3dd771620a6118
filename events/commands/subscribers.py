"""The commands on subscribers. Addresses arrive sealed, with the mark they are found by; see `events.log.vault`.

Their effects write the newsletter's ledger, `newsletter.mails`: a decision's transaction plans the single mail it calls for
and cancels the mails it forbids, so that neither can be lost.
"""

from collections.abc import Collection, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from asyncpg import Connection
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from events.erasure import PersonErased, must_not_be_erased, person_stream
from events.log import store, vault
from events.log.command import Command, Decision, Effect, Found, Reads, Receipt, Seen
from events.log.event import Event, Registry, fold
from events.subscribers import EVENTS as OWN_EVENTS
from events.subscribers import (
    Frequency,
    NothingToUndo,
    Reason,
    Subscriber,
    confirm_subscription,
    erase,
    evolve,
    join_bookmarks,
    reinstate,
    request_subscription,
    set_preferences,
    set_time_zone,
    stream,
    suppress,
    undo_unsubscribe,
    unsubscribe,
)

_REGISTRY = Registry((*OWN_EVENTS, PersonErased))

V = TypeVar("V")

FIND = "select person, suppressed from vault.lookups where mark = $1"
KNOW = "insert into vault.lookups (mark, person, mailbox) values ($1, $2, $3)"
SUPPRESS = "update vault.lookups set suppressed = $2, suppressed_at = now() where person = $1"
LIFT = "update vault.lookups set suppressed = null, suppressed_at = null where person = $1 and suppressed is not null"
# Its bounces count no more, and a report of one that comes again is known.
FORGIVE = "update newsletter.bounces set kind = 'forgiven' where reader = $1"
FORGET_UNSUPPRESSED = "delete from vault.lookups where person = $1 and suppressed is null"
FORGET_PERSON = "update vault.lookups set person = null where person = $1"
# The name of a small domain may be its reader's.
FORGET_PROVIDERS = "update newsletter.mails set provider = null where reader = $1 and provider is not null"
FORGET_BOUNCES = "delete from newsletter.bounces where reader = $1"

# The day's single mails are counted in the ledger itself: those of a reader, and of all others with the same mailbox.
COUNT_SINGLES = """
select count(*) from newsletter.mails m
join (select $1::text as reader
      union select l.person from vault.lookups l
            where l.mailbox = coalesce($2::bytea, (select o.mailbox from vault.lookups o where o.person = $1))) r
  on r.reader = m.reader
where m.issue = 0 and m.planned_at > now() - interval '24 hours'
"""
PLAN_SINGLE = """
insert into newsletter.mails (issue, reader, mail, kind, state, not_before) values (0, $1, $2, $3, 'pending', now())
"""
# The same for sign-ups, so many ($4) an hour: one beyond waits until an hour after the mail that is so many before it.
PLAN_IN_TURN = """
insert into newsletter.mails (issue, reader, mail, kind, state, not_before)
select 0, $1, $2, $3, 'pending', greatest(now(), (
    select m.not_before + interval '1 hour' from newsletter.mails m where m.issue = 0
    order by m.not_before desc offset $4::integer - 1 limit 1))
"""
# Stops every mail not yet attempted; single mails too where $3.
CANCEL = """
update newsletter.mails set state = 'cancelled', reason = $2, settled_at = now()
where reader = $1 and state in ('pending', 'deferred') and (issue > 0 or $3)
"""

# The position of a subscriber's last withdrawal, and whether it can still be undone.
READ_WITHDRAWAL = """
select position, recorded_at > now() - interval '24 hours' as is_recent from log.recorded_events
where stream = $1 and type = 'Unsubscribed' order by version desc limit 1
"""
# The digests that the withdrawal stopped, of issues that are still being sent. One that waited for a held provider is due now,
# and waits again if that is held still.
UNCANCEL = """
update newsletter.mails m
set state = 'pending', reason = null, settled_at = null, provider = null,
    not_before = case when m.not_before = 'infinity' then now() else m.not_before end
from newsletter.issues i
where m.reader = $1 and m.state = 'cancelled' and m.reason = 'unsubscribed' and i.number = m.issue and i.state = 'planned'
"""


class _OnSubscriber(Command[V], Generic[V], frozen=True):
    """A command on one subscriber's stream: a subclass returns the events, their effects, and the caller's answer."""

    subscriber: str

    def reads(self, listing: object) -> Reads:
        """Name the subscriber."""
        return Reads(wholes=(stream(self.subscriber),))

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        raise NotImplementedError

    def effects(self) -> Sequence[Effect]:
        """Return the effects that go with the events, if there are any."""
        return ()

    def answer(self, state: Subscriber) -> V:
        """Return what the caller is told, given the subscriber after the events."""
        raise NotImplementedError

    def decide(self, seen: Seen) -> Decision[V]:
        """Put the rule's events on the stream."""
        at = seen.reads.wholes[0]
        whole = seen.wholes[0]
        state = fold(evolve, whole)
        events = self.events(state)
        for event in events:
            state = evolve(state, event)
        return Decision(
            events=[(at, event) for event in events],
            value=self.answer(state or Subscriber(self.subscriber, "", "erased")),
            position=whole[-1].position if whole else None,
            effects=self.effects() if events else (),
        )


class _ToSubscriber(_OnSubscriber[Subscriber], frozen=True):
    """A command that a reader gives, or that is about one: the value is the subscriber after it, so no receipt may be kept."""

    receipt_type = Receipt[Subscriber]

    def answer(self, state: Subscriber) -> Subscriber:
        """Return the subscriber."""
        return state


class ConfirmSubscription(_ToSubscriber, frozen=True):
    """Confirm by a link; `token` is its SHA-256 in hex. Raises LinkUsed."""

    round: int
    form: str
    token: str

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return confirm_subscription(state, self.round, self.form, self.token)

    def effects(self) -> Sequence[Effect]:
        """Return the end of a suppression: the mailbox works."""
        return (Effect(LIFT, (self.subscriber,)), Effect(FORGIVE, (self.subscriber,)))


class SetPreferences(_ToSubscriber, frozen=True):
    """Set categories (of those `offered`), frequency, pause and, if given, the time zone (sealed; None: none).

    Raises NotSubscribed, CategoriesUnknown.
    """

    categories: Collection[str]
    frequency: Frequency
    paused_until: str | None
    offered: Collection[str] = ()
    zone: str | UnsetType | None = UNSET

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rules."""
        chosen = set_preferences(state, self.categories, self.frequency, self.paused_until, self.offered)
        return chosen if self.zone is UNSET else [*chosen, *set_time_zone(state, self.zone)]


class JoinBookmarks(_ToSubscriber, frozen=True):
    """Join a visitor's bookmarks to the subscriber. Raises NotSubscribed, VisitorIsErased."""

    visitor: str

    def reads(self, listing: object) -> Reads:
        """Name the visitor's erasures and the subscriber."""
        return Reads((person_stream(self.visitor),), (stream(self.subscriber),))

    def decide(self, seen: Seen) -> Decision[Subscriber]:
        """Decide by the rule, unless the visitor was erased."""
        if (erasure := seen.lasts[0]) is not None:
            must_not_be_erased(erasure.event)
        return super().decide(seen)

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return join_bookmarks(state, self.visitor)


class Unsubscribe(_ToSubscriber, frozen=True):
    """Withdraw consent; cancels every digest not yet attempted."""

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return unsubscribe(state)

    def effects(self) -> Sequence[Effect]:
        """Return the cancellation of planned digests."""
        return (Effect(CANCEL, (self.subscriber, "unsubscribed", False)),)


class UndoUnsubscribe(_ToSubscriber, frozen=True):
    """Undo the withdrawal at a position of the log, within 24 hours; plans again what it cancelled. Raises NothingToUndo."""

    position: int
    form: str
    token: str

    exclusive = True

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Find the last withdrawal."""
        row = await connection.fetchrow(READ_WITHDRAWAL, stream(self.subscriber))
        return Found(row is not None and row["position"] == self.position and row["is_recent"])

    def decide(self, seen: Seen) -> Decision[Subscriber]:
        """Decide by the rule, unless the withdrawal is another one or too old."""
        if not seen.found:
            raise NothingToUndo
        return super().decide(seen)

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return undo_unsubscribe(state, self.form, self.token)

    def effects(self) -> Sequence[Effect]:
        """Return the return of the digests that were cancelled."""
        return (Effect(UNCANCEL, (self.subscriber,)),)


class SuppressSubscriber(_ToSubscriber, frozen=True):
    """Suppress an address; its look-up records that."""

    reason: Reason

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return suppress(state, self.reason)

    def effects(self) -> Sequence[Effect]:
        """Return the record in the look-up, and the cancellation of planned mails."""
        return (Effect(SUPPRESS, (self.subscriber, self.reason)), Effect(CANCEL, (self.subscriber, "suppressed", True)))


class ReinstateSubscriber(_OnSubscriber[None], frozen=True):
    """Take an address's suppression back; its look-up and bounces record that. Its receipt is kept, and tells of nobody."""

    reason: str
    operator: str

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return reinstate(state, self.reason)

    def effects(self) -> Sequence[Effect]:
        """Return the end of the suppression."""
        return (Effect(LIFT, (self.subscriber,)), Effect(FORGIVE, (self.subscriber,)))

    def answer(self, state: Subscriber) -> None:
        """Return nothing."""

    def decide(self, seen: Seen) -> Decision[None]:
        """Note the operator with the event."""
        return replace(super().decide(seen), meta={"operator": self.operator})


class EraseSubscriber(_ToSubscriber, frozen=True):
    """Destroy a subscriber's key and look-up; only the HMAC of a suppressed address stays.

    `operator` is None when the reader asks, or nobody does.
    """

    unconfirmed_only: bool = False
    operator: str | None = None

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return erase(state, unconfirmed_only=self.unconfirmed_only)

    def effects(self) -> Sequence[Effect]:
        """Return the destruction of the key and the look-up, and the cancellation of planned mails."""
        return (
            vault.destroy(self.subscriber),
            Effect(FORGET_UNSUPPRESSED, (self.subscriber,)),
            Effect(FORGET_PERSON, (self.subscriber,)),
            Effect(FORGET_BOUNCES, (self.subscriber,)),
            Effect(CANCEL, (self.subscriber, "erased", True)),
            Effect(FORGET_PROVIDERS, (self.subscriber,)),
        )

    def decide(self, seen: Seen) -> Decision[Subscriber]:
        """Note the operator with the event."""
        return replace(super().decide(seen), meta=None if self.operator is None else {"operator": self.operator})


class Person(msgspec.Struct, frozen=True):
    """A prospective subscriber: an id, sealed address and (if given) zone, the address's and mailbox's marks, and the key."""

    id: str
    address: str
    mark: bytes
    mailbox: bytes
    keep: Effect
    zone: str | None = None


class Applicant(msgspec.Struct, frozen=True):
    """What is known of an address: its subscriber's id and state, and the single mails of the last day."""

    known: str | None
    suppressed: bool
    state: Subscriber | None
    singles: int


class RequestSubscription(Command[None], frozen=True):
    """Sign an address up: plan a mail with a link to confirm, or to its preferences if it is confirmed, within the day's cap.

    The value is None whatever happens, so that no caller learns whether an address is known. Categories that aren't `offered`
    are left out, and so is an erased visitor. The cap is the mailbox's: all spellings of an address share it. Mails beyond
    `hourly` an hour, of all who sign up, go out later.
    """

    person: Person
    categories: Collection[str]
    form: str
    visitor: str | None
    mail: str
    cap: int
    hourly: int
    offered: Collection[str] = ()

    exclusive = True

    def reads(self, listing: object) -> Reads:
        """Name the visitor's erasures, if a visitor comes along."""
        return Reads(() if self.visitor is None else (person_stream(self.visitor),))

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Find the address's subscriber, and count the mails sent to its mailbox in the last day."""
        row = await connection.fetchrow(FIND, self.person.mark)
        known: str | None = None if row is None else row["person"]
        singles: int = await connection.fetchval(COUNT_SINGLES, known, self.person.mailbox)
        if row is None or known is None:
            return Found(Applicant(None, row is not None and row["suppressed"] is not None, None, singles))
        whole = [store.decode(_REGISTRY, r) for r in await connection.fetch(store.READ_WHOLES, [stream(known)])]
        return Found(Applicant(known, row["suppressed"] is not None, fold(evolve, whole), singles), whole[-1:])

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide by the rule; nothing happens over the cap, nor for an erased person's suppressed address.

        A suppressed address gets one link a day, by which its reader can confirm anew.
        """
        found: Applicant = seen.found
        is_gone = found.suppressed and found.state is None
        if is_gone or found.singles >= (1 if found.suppressed else self.cap):
            return Decision(events=(), value=None)
        reader, visitor = found.known or self.person.id, None if any(seen.lasts) else self.visitor
        events = request_subscription(
            found.state, reader, self.person.address, self.categories, self.form, visitor, self.offered, self.person.zone
        )
        kind = "confirmation" if events or found.suppressed else "preferences"
        effects = [Effect(PLAN_IN_TURN, (reader, self.mail, kind, self.hourly))]
        if found.state is None:
            effects = [self.person.keep, Effect(KNOW, (self.person.mark, reader, self.person.mailbox)), *effects]
        return Decision(events=[(stream(reader), event) for event in events], value=None, effects=effects)


class RequestMail(Command[bool], frozen=True):
    """Plan a single mail to a confirmed subscriber, within the day's cap; the value is whether it was planned."""

    subscriber: str
    kind: str
    mail: str
    cap: int

    exclusive = True
    receipt_type = Receipt[bool]

    def reads(self, listing: object) -> Reads:
        """Name the subscriber."""
        return Reads(wholes=(stream(self.subscriber),))

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Count the single mails of the last day."""
        return Found(await connection.fetchval(COUNT_SINGLES, self.subscriber, None))

    def decide(self, seen: Seen) -> Decision[bool]:
        """Plan the mail, unless the cap is reached."""
        state = fold(evolve, seen.wholes[0])
        wanted = state is not None and state.status == "confirmed" and not state.suppressed and seen.found < self.cap
        effects = (Effect(PLAN_SINGLE, (self.subscriber, self.mail, self.kind)),) if wanted else ()
        return Decision(events=(), value=wanted, effects=effects)
