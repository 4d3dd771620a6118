"""Subscribers of the newsletter: consent, its confirmation, preferences, withdrawal, suppression, erasure.

A subscriber is an id of its own; its address stands sealed in the event that first names it, and is found again by the vault's
look-up alone. A link confirms the round it was sent for: whichever of a round's links is used first, the others are used too.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from events.erasure import PersonErased
from events.log import ids
from events.log.event import Event

Frequency = Literal["weekly", "monthly"]
Reason = Literal["hard bounce", "complaint", "soft bounces"]
Status = Literal["pending", "confirmed", "unsubscribed", "erased"]


class SubscriptionRequested(Event, frozen=True, kw_only=True):
    """Somebody entered an address in form `form`; a link of this round was sent to it. `address` is sealed, and said once."""

    subscriber: str
    round: int
    form: str
    categories: list[str]
    address: str | None = None
    visitor: str | None = None


class SubscriptionConfirmed(Event, frozen=True, kw_only=True):
    """Whoever reads that address agreed to form `form` with the link whose token has the SHA-256 `token` (hex)."""

    subscriber: str
    round: int
    form: str
    token: str


class SubscriberImported(Event, frozen=True, kw_only=True):
    """An operator brought consent given elsewhere; `proof` says how; it and `address` are sealed."""

    subscriber: str
    round: int
    categories: list[str]
    address: str
    proof: str


class PreferencesSet(Event, frozen=True, kw_only=True):
    """A subscriber chose categories (none: all), how often, and until which day (ISO 8601) to pause."""

    subscriber: str
    categories: list[str]
    frequency: Frequency
    paused_until: str | None = None


class BookmarksJoined(Event, frozen=True, kw_only=True):
    """What this visitor bookmarks is the subscriber's."""

    subscriber: str
    visitor: str


class Unsubscribed(Event, frozen=True, kw_only=True):
    """A subscriber withdrew its consent."""

    subscriber: str


class SubscriberSuppressed(Event, frozen=True, kw_only=True):
    """Nothing is sent to this address any more."""

    subscriber: str
    reason: Reason


EVENTS = (
    SubscriptionRequested,
    SubscriptionConfirmed,
    SubscriberImported,
    PreferencesSet,
    BookmarksJoined,
    Unsubscribed,
    SubscriberSuppressed,
)


class LinkUsed(Exception):
    """This link, or another of its round, was used, or what it was about is gone."""


class NotSubscribed(Exception):
    """There is no confirmed subscription of this subscriber."""


class Subscriber(msgspec.Struct, frozen=True):
    """A subscriber as it stands; `round` counts its confirmations, `address` is sealed."""

    subscriber: str
    address: str
    status: Status
    round: int = 0
    categories: tuple[str, ...] = ()
    frequency: Frequency = "weekly"
    paused_until: str | None = None
    visitors: tuple[str, ...] = ()
    suppressed: Reason | None = None


def stream(subscriber: str) -> UUID:
    """Name a subscriber's stream."""
    return ids.stream_of(subscriber)


def evolve(state: Subscriber | None, event: Event) -> Subscriber | None:
    """Give the subscriber after an event of its stream."""
    if state is None:
        return _begun(event)
    match event:
        case SubscriptionRequested():
            return _joined(replace(state, status="pending", categories=tuple(event.categories)), event.visitor)
        case SubscriptionConfirmed():
            return replace(state, status="confirmed", round=event.round)
        case PreferencesSet():
            chosen = tuple(event.categories)
            return replace(state, categories=chosen, frequency=event.frequency, paused_until=event.paused_until)
        case BookmarksJoined():
            return _joined(state, event.visitor)
        case Unsubscribed():
            return replace(state, status="unsubscribed")
        case SubscriberSuppressed():
            return replace(state, suppressed=event.reason)
        case PersonErased():
            return replace(state, status="erased")
    return state


def _begun(event: Event) -> Subscriber | None:
    match event:
        case SubscriptionRequested():
            begun = Subscriber(event.subscriber, event.address or "", "pending", categories=tuple(event.categories))
            return _joined(begun, event.visitor)
        case SubscriberImported():
            return Subscriber(event.subscriber, event.address, "confirmed", event.round, tuple(event.categories))
    return None


def _joined(state: Subscriber, visitor: str | None) -> Subscriber:
    if visitor is None or visitor in state.visitors:
        return state
    return replace(state, visitors=(*state.visitors, visitor))


def request_subscription(
    state: Subscriber | None, subscriber: str, address: str, categories: Sequence[str], form: str, visitor: str | None
) -> list[Event]:
    """Ask for a subscription: no event for who has one, or gets nothing any more."""
    if state is not None and (state.status in ("confirmed", "erased") or state.suppressed):
        return []
    requested = SubscriptionRequested(
        subscriber=subscriber if state is None else state.subscriber,
        round=1 if state is None else state.round + 1,
        form=form,
        categories=list(categories),
        address=address if state is None else None,
        visitor=visitor,
    )
    return [requested]


def confirm_subscription(state: Subscriber | None, round_: int, form: str, token: str) -> list[Event]:
    """Confirm by a link of this round; LinkUsed for a second use, or when nothing waits for it."""
    if state is None or state.status != "pending" or round_ != state.round + 1 or state.suppressed:
        raise LinkUsed
    return [SubscriptionConfirmed(subscriber=state.subscriber, round=round_, form=form, token=token)]


def import_subscriber(
    state: Subscriber | None, subscriber: str, address: str, categories: Sequence[str], proof: str
) -> list[Event]:
    """Take consent given elsewhere; an address that is known here stays as it is."""
    if state is not None:
        return []
    imported = SubscriberImported(subscriber=subscriber, round=1, categories=list(categories), proof=proof, address=address)
    return [imported]


def set_preferences(
    state: Subscriber | None, categories: Sequence[str], frequency: Frequency, paused_until: str | None
) -> list[Event]:
    """Choose what to get and how often; the same again is no event. NotSubscribed."""
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    chosen = tuple(sorted(set(categories)))
    if (chosen, frequency, paused_until) == (tuple(sorted(state.categories)), state.frequency, state.paused_until):
        return []
    preferences = PreferencesSet(
        subscriber=state.subscriber, categories=list(chosen), frequency=frequency, paused_until=paused_until
    )
    return [preferences]


def join_bookmarks(state: Subscriber | None, visitor: str) -> list[Event]:
    """Make a visitor's bookmarks the subscriber's; twice is no event. NotSubscribed."""
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    return [] if visitor in state.visitors else [BookmarksJoined(subscriber=state.subscriber, visitor=visitor)]


def unsubscribe(state: Subscriber | None) -> list[Event]:
    """Withdraw consent; twice, or of somebody unknown, is no event."""
    if state is None or state.status not in ("pending", "confirmed"):
        return []
    return [Unsubscribed(subscriber=state.subscriber)]


def suppress(state: Subscriber | None, reason: Reason) -> list[Event]:
    """Send nothing to this address any more; twice is no event."""
    if state is None or state.status == "erased" or state.suppressed:
        return []
    return [SubscriberSuppressed(subscriber=state.subscriber, reason=reason)]


def erase(state: Subscriber | None, *, unconfirmed_only: bool = False) -> list[Event]:
    """Erase who this was; twice, or of somebody unknown, is no event. `unconfirmed_only` spares whoever ever confirmed."""
    if state is None or state.status == "erased":
        return []
    if unconfirmed_only and (state.status != "pending" or state.round or state.suppressed):
        return []
    return [PersonErased(person=state.subscriber)]
