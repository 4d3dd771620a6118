"""The commands on subscribers. Addresses come sealed, with the mark they are found by; see `events.log.vault`.

What a decision means for mail happens in its transaction: single mails are planned, and those not yet attempted are cancelled.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.erasure import PersonErased
from events.log import store, vault
from events.log.command import Command, Decision, Effect, Receipt, View
from events.log.event import Event, Recorded, Registry
from events.subscribers import EVENTS as OWN_EVENTS
from events.subscribers import (
    Frequency,
    Reason,
    Subscriber,
    confirm_subscription,
    erase,
    evolve,
    fold,
    import_subscriber,
    join_bookmarks,
    request_subscription,
    set_preferences,
    stream,
    suppress,
    unsubscribe,
)

_REGISTRY = Registry((*OWN_EVENTS, PersonErased))

FIND = "select person, suppressed from vault.lookups where mark = $1"
FIND_ALL = "select mark from vault.lookups where mark = any($1::bytea[])"
KNOW = "insert into vault.lookups (mark, person) values ($1, $2)"
SUPPRESS = "update vault.lookups set suppressed = $2, suppressed_at = now() where person = $1"
FORGET_UNSUPPRESSED = "delete from vault.lookups where person = $1 and suppressed is null"
FORGET_PERSON = "update vault.lookups set person = null where person = $1"
FORGET_BOUNCES = "delete from newsletter.bounces where reader = $1"

# The day's single mails of a reader are counted in the ledger itself.
COUNT_SINGLES = """
select count(*) from newsletter.mails where issue = 0 and reader = $1 and planned_at > now() - interval '24 hours'
"""
PLAN_SINGLE = """
insert into newsletter.mails (issue, reader, mail, kind, state, not_before) values (0, $1, $2, $3, 'pending', now())
"""
# Stops every mail not yet attempted; single mails too where $3.
CANCEL = """
update newsletter.mails set state = 'cancelled', reason = $2, settled_at = now()
where reader = $1 and state in ('pending', 'deferred') and (issue > 0 or $3)
"""


class _OnSubscriber(Command[Subscriber]):
    """A command on one subscriber's stream: a subclass gives the events and what goes with them."""

    __slots__ = ("subscriber",)
    receipt_type = Receipt[Subscriber]

    def __init__(self, subscriber: str) -> None:
        super().__init__(None)
        self.subscriber = subscriber

    def wholes(self, listing: object) -> Sequence[UUID]:
        """Read the subscriber."""
        return (stream(self.subscriber),)

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        raise NotImplementedError

    def effects(self) -> Sequence[Effect]:
        """Name what happens with the events, if there are any."""
        return ()

    def decide(self, view: View) -> Decision[Subscriber]:
        """Put the rule's events on the stream; the value is the subscriber after them."""
        at = stream(self.subscriber)
        whole = view.whole(at)
        state = fold(whole)
        events = self.events(state)
        for event in events:
            state = evolve(state, event)
        return Decision(
            events=[(at, event) for event in events],
            value=state or Subscriber(self.subscriber, "", "erased"),
            position=whole[-1].position if whole else None,
            effects=self.effects() if events else (),
        )


class ConfirmSubscription(_OnSubscriber):
    """Confirm by a link; `token` is its SHA-256 in hex. LinkUsed."""

    __slots__ = ("form", "round", "token")

    def __init__(self, subscriber: str, round_: int, form: str, token: str) -> None:
        super().__init__(subscriber)
        self.round = round_
        self.form = form
        self.token = token

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return confirm_subscription(state, self.round, self.form, self.token)


class SetPreferences(_OnSubscriber):
    """Choose what to get and how often; NotSubscribed."""

    __slots__ = ("categories", "frequency", "paused_until")

    def __init__(self, subscriber: str, categories: Sequence[str], frequency: Frequency, paused_until: str | None) -> None:
        super().__init__(subscriber)
        self.categories = categories
        self.frequency: Frequency = frequency
        self.paused_until = paused_until

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return set_preferences(state, self.categories, self.frequency, self.paused_until)


class JoinBookmarks(_OnSubscriber):
    """Make a visitor's bookmarks the subscriber's; NotSubscribed."""

    __slots__ = ("visitor",)

    def __init__(self, subscriber: str, visitor: str) -> None:
        super().__init__(subscriber)
        self.visitor = visitor

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return join_bookmarks(state, self.visitor)


class Unsubscribe(_OnSubscriber):
    """Withdraw consent; every mail not yet attempted is stopped."""

    __slots__ = ()

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return unsubscribe(state)

    def effects(self) -> Sequence[Effect]:
        """Stop what is planned."""
        return (Effect(CANCEL, (self.subscriber, "unsubscribed", False)),)


class SuppressSubscriber(_OnSubscriber):
    """Send nothing to this address any more; the look-up remembers it."""

    __slots__ = ("reason",)

    def __init__(self, subscriber: str, reason: Reason) -> None:
        super().__init__(subscriber)
        self.reason: Reason = reason

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return suppress(state, self.reason)

    def effects(self) -> Sequence[Effect]:
        """Stop what is planned, and remember."""
        return (Effect(SUPPRESS, (self.subscriber, self.reason)), Effect(CANCEL, (self.subscriber, "suppressed", True)))


class EraseSubscriber(_OnSubscriber):
    """Destroy a subscriber's key and look-up; of a suppressed address its HMAC alone stays."""

    __slots__ = ("unconfirmed_only",)

    def __init__(self, subscriber: str, *, unconfirmed_only: bool = False) -> None:
        super().__init__(subscriber)
        self.unconfirmed_only = unconfirmed_only

    def events(self, state: Subscriber | None) -> Sequence[Event]:
        """Decide by the rule."""
        return erase(state, unconfirmed_only=self.unconfirmed_only)

    def effects(self) -> Sequence[Effect]:
        """Destroy, forget, and stop what is planned."""
        return (
            vault.destroy(self.subscriber),
            Effect(FORGET_UNSUPPRESSED, (self.subscriber,)),
            Effect(FORGET_PERSON, (self.subscriber,)),
            Effect(FORGET_BOUNCES, (self.subscriber,)),
            Effect(CANCEL, (self.subscriber, "erased", True)),
        )


class Person(msgspec.Struct, frozen=True):
    """Somebody new, should the address turn out unknown: an id, the sealed address, its mark, and what keeps the key."""

    id: str
    address: str
    mark: bytes
    keep: Effect


async def _whole(connection: "Connection[Any]", subscriber: str) -> list[Recorded[Any]]:
    rows = await connection.fetch(store.READ_WHOLES, [stream(subscriber)])
    return [store.decode(_REGISTRY, row) for row in rows]


class RequestSubscription(Command[None]):
    """Sign an address up: a link to confirm, to its preferences if it is confirmed, or nothing, within the day's cap.

    The value says nothing: nobody is told what is known of an address.
    """

    __slots__ = ("_known", "_singles", "_suppressed", "_whole", "cap", "categories", "form", "mail", "person", "visitor")
    exclusive = True

    def __init__(
        self, person: Person, categories: Sequence[str], form: str, visitor: str | None, *, mail: str, cap: int
    ) -> None:
        super().__init__(None)
        self.person = person
        self.categories = categories
        self.form = form
        self.visitor = visitor
        self.mail = mail
        self.cap = cap

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Find out who it is, under the head's lock, and how many mails the day has seen."""
        row = await connection.fetchrow(FIND, self.person.mark)
        self._suppressed = row is not None and row["suppressed"] is not None
        self._known: str | None = None if row is None else row["person"]
        self._whole = await _whole(connection, self._known) if self._known else []
        self._singles: int = await connection.fetchval(COUNT_SINGLES, self._known) if self._known else 0

    def decide(self, view: View) -> Decision[None]:
        """Decide by the rule; over the cap, or suppressed, nothing happens."""
        if self._suppressed or self._singles >= self.cap:
            return Decision(events=(), value=None)
        for recorded in self._whole:
            view.take(recorded)
        state = fold(self._whole)
        reader = self._known or self.person.id
        events = request_subscription(state, reader, self.person.address, self.categories, self.form, self.visitor)
        kind = "confirmation" if events else "preferences"
        effects = [Effect(PLAN_SINGLE, (reader, self.mail, kind))]
        if state is None:
            effects = [self.person.keep, Effect(KNOW, (self.person.mark, reader)), *effects]
        return Decision(events=[(stream(reader), event) for event in events], value=None, effects=effects)


class RequestMail(Command[bool]):
    """Plan a single mail to a confirmed subscriber, within the day's cap; the value tells whether it was."""

    __slots__ = ("_singles", "cap", "kind", "mail", "subscriber")
    exclusive = True
    receipt_type = Receipt[bool]

    def __init__(self, subscriber: str, kind: str, *, mail: str, cap: int) -> None:
        super().__init__(None)
        self.subscriber = subscriber
        self.kind = kind
        self.mail = mail
        self.cap = cap

    def wholes(self, listing: object) -> Sequence[UUID]:
        """Read the subscriber."""
        return (stream(self.subscriber),)

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Count the day's mails."""
        self._singles: int = await connection.fetchval(COUNT_SINGLES, self.subscriber)

    def decide(self, view: View) -> Decision[bool]:
        """Plan it, unless there were enough today."""
        state = fold(view.whole(stream(self.subscriber)))
        wanted = state is not None and state.status == "confirmed" and not state.suppressed and self._singles < self.cap
        effects = (Effect(PLAN_SINGLE, (self.subscriber, self.mail, self.kind)),) if wanted else ()
        return Decision(events=(), value=wanted, effects=effects)


class Imported(msgspec.Struct, frozen=True):
    """A row of an import: who it would be, with the proof of consent sealed under the same key."""

    person: Person
    proof: str
    categories: tuple[str, ...] = ()


class ImportSubscribers(Command[list[bool]]):
    """Import rows at once; the value tells for each whether it was new. Known and suppressed addresses stay as they are."""

    __slots__ = ("_known", "operator", "rows")
    exclusive = True
    receipt_type = Receipt[list[bool]]

    def __init__(self, rows: Sequence[Imported], operator: str) -> None:
        super().__init__(None)
        self.rows = rows
        self.operator = operator

    async def look_up(self, connection: "Connection[Any]") -> None:
        """Find out which addresses are known."""
        found = await connection.fetch(FIND_ALL, [row.person.mark for row in self.rows])
        self._known: set[bytes] = {row["mark"] for row in found}

    def decide(self, view: View) -> Decision[list[bool]]:
        """Take the new ones in; of an address that comes twice, the first row holds."""
        events: list[tuple[UUID, Event]] = []
        effects: list[Effect] = []
        taken: list[bool] = []
        for row in self.rows:
            person = row.person
            taken.append(person.mark not in self._known)
            if taken[-1]:
                self._known.add(person.mark)
                new = import_subscriber(None, person.id, person.address, row.categories, row.proof)
                events += [(stream(person.id), event) for event in new]
                effects += [person.keep, Effect(KNOW, (person.mark, person.id))]
        return Decision(events=events, value=taken, effects=effects, meta={"operator": self.operator})
