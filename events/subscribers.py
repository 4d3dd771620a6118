"""Subscribers of the newsletter: consent, its confirmation, preferences, withdrawal, suppression, erasure.

A subscriber has an id of its own. Its address stands, sealed, in the event that first names it, and can only be found by the
vault's look-up. A link confirms the round it was sent for; using one of a round's links uses up the others. An operator takes a
suppression back, or the reader, by confirming anew: the link proves that the mailbox works, and its button is consent again.
"""

from collections.abc import Collection
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
    """An address was entered in form `form` and sent a link of this round. Only the first request has `address`, sealed.

    So is `zone`, the time zone of the browser that sent it.
    """

    subscriber: str
    round: int
    form: str
    categories: list[str]
    address: str | None = None
    visitor: str | None = None
    zone: str | None = None


class SubscriptionConfirmed(Event, frozen=True, kw_only=True):
    """The address's reader agreed to form `form` by the link whose token has the SHA-256 `token` (hex)."""

    subscriber: str
    round: int
    form: str
    token: str


class SubscriberImported(Event, frozen=True, kw_only=True):
    """An operator imported a consent given elsewhere. `address` and `proof`, the evidence of the consent, are sealed."""

    subscriber: str
    round: int
    categories: list[str]
    address: str
    proof: str


class PreferencesSet(Event, frozen=True, kw_only=True):
    """A subscriber chose categories (none: all), a frequency, and a day (ISO 8601) until which to pause."""

    subscriber: str
    categories: list[str]
    frequency: Frequency
    paused_until: str | None = None


class TimeZoneSet(Event, frozen=True, kw_only=True):
    """A subscriber chose the time zone (sealed) whose hour issues keep to, or (None) none."""

    subscriber: str
    zone: str | None = None


class BookmarksJoined(Event, frozen=True, kw_only=True):
    """A visitor's bookmarks became the subscriber's too."""

    subscriber: str
    visitor: str


class Unsubscribed(Event, frozen=True, kw_only=True):
    """A subscriber withdrew consent."""

    subscriber: str


class UnsubscribeUndone(Event, frozen=True, kw_only=True):
    """A subscriber took the last withdrawal back by form `form`, with a token that has the SHA-256 `token` (hex)."""

    subscriber: str
    form: str
    token: str


class SubscriberSuppressed(Event, frozen=True, kw_only=True):
    """The address was suppressed: nothing is sent to it any more."""

    subscriber: str
    reason: Reason


class SubscriberReinstated(Event, frozen=True, kw_only=True):
    """An operator took the suppression back, and said why."""

    subscriber: str
    reason: str


EVENTS = (
    SubscriptionRequested,
    SubscriptionConfirmed,
    SubscriberImported,
    PreferencesSet,
    TimeZoneSet,
    BookmarksJoined,
    Unsubscribed,
    UnsubscribeUndone,
    SubscriberSuppressed,
    SubscriberReinstated,
)


class LinkUsed(Exception):
    """This link or another of its round was used, or its subscription is gone."""


class NothingToUndo(Exception):
    """The withdrawal can't be undone: it was none of a confirmed subscription, is too old, or something came after it."""


class NotSubscribed(Exception):
    """This subscriber has no confirmed subscription."""


class CategoriesUnknown(Exception):
    """The catalog has no such categories; `unknown` are those, and `offered` those that it has."""

    def __init__(self, unknown: Collection[str], offered: Collection[str]) -> None:
        self.unknown = frozenset(unknown)
        self.offered = sorted(offered)
        super().__init__(f"no tool of the catalog has this category; those it has: {', '.join(self.offered) or 'none yet'}")


class Subscriber(msgspec.Struct, frozen=True):
    """A subscriber's state; `round` counts its confirmations, `address` and `zone` are sealed.

    `was_confirmed` says of an unsubscribed one whether there was a confirmed subscription to end.
    """

    subscriber: str
    address: str
    status: Status
    round: int = 0
    categories: tuple[str, ...] = ()
    frequency: Frequency = "weekly"
    paused_until: str | None = None
    visitors: tuple[str, ...] = ()
    suppressed: Reason | None = None
    zone: str | None = None
    was_confirmed: bool = False


def stream(subscriber: str) -> UUID:
    """Return a subscriber's stream."""
    return ids.stream_of(subscriber)


def evolve(state: Subscriber | None, event: Event) -> Subscriber | None:
    """Return the subscriber after an event of its stream."""
    if state is None:
        return _first(event)
    match event:
        case SubscriptionRequested():
            return _joined(replace(state, status="pending", categories=tuple(event.categories)), event.visitor)
        case SubscriptionConfirmed():
            return replace(state, status="confirmed", round=event.round, suppressed=None)
        case PreferencesSet():
            chosen = tuple(event.categories)
            return replace(state, categories=chosen, frequency=event.frequency, paused_until=event.paused_until)
        case TimeZoneSet():
            return replace(state, zone=event.zone)
        case BookmarksJoined():
            return _joined(state, event.visitor)
        case Unsubscribed():
            return replace(state, status="unsubscribed", was_confirmed=state.status == "confirmed")
        case UnsubscribeUndone():
            return replace(state, status="confirmed")
        case SubscriberSuppressed():
            return replace(state, suppressed=event.reason)
        case SubscriberReinstated():
            return replace(state, suppressed=None)
        case PersonErased():
            return replace(state, status="erased")
    return state


def _first(event: Event) -> Subscriber | None:
    match event:
        case SubscriptionRequested():
            chosen = tuple(event.categories)
            begun = Subscriber(event.subscriber, event.address or "", "pending", categories=chosen, zone=event.zone)
            return _joined(begun, event.visitor)
        case SubscriberImported():
            return Subscriber(event.subscriber, event.address, "confirmed", event.round, tuple(event.categories))
    return None


def _joined(state: Subscriber, visitor: str | None) -> Subscriber:
    if visitor is None or visitor in state.visitors:
        return state
    return replace(state, visitors=(*state.visitors, visitor))


def check_categories(wanted: Collection[str], offered: Collection[str]) -> None:
    """Refuse categories that the catalog doesn't offer: they would be anybody's words. Raises CategoriesUnknown."""
    if unknown := set(wanted).difference(offered):
        raise CategoriesUnknown(unknown, offered)


def request_subscription(
    state: Subscriber | None,
    subscriber: str,
    address: str,
    categories: Collection[str],
    form: str,
    visitor: str | None,
    offered: Collection[str],
    zone: str | None = None,
) -> list[Event]:
    """Request a subscription; no event if already subscribed or erased. Categories not offered are left out.

    The zone, sealed under the new person's key, goes with the address.
    """
    if state is not None and state.status in ("confirmed", "erased"):
        return []
    requested = SubscriptionRequested(
        subscriber=subscriber if state is None else state.subscriber,
        round=1 if state is None else state.round + 1,
        form=form,
        categories=sorted(set(categories).intersection(offered)),
        address=address if state is None else None,
        visitor=visitor,
        zone=zone if state is None else None,
    )
    return [requested]


def confirm_subscription(state: Subscriber | None, round_: int, form: str, token: str) -> list[Event]:
    """Confirm by a link of this round. Raises LinkUsed for a second use, or if no confirmation is pending.

    A confirmed subscriber whose address is suppressed may confirm anew.
    """
    if state is None or round_ != state.round + 1:
        raise LinkUsed
    if state.status != "pending" and not (state.status == "confirmed" and state.suppressed):
        raise LinkUsed
    return [SubscriptionConfirmed(subscriber=state.subscriber, round=round_, form=form, token=token)]


def import_subscriber(
    state: Subscriber | None,
    subscriber: str,
    address: str,
    categories: Collection[str],
    proof: str,
    offered: Collection[str],
) -> list[Event]:
    """Import a consent given elsewhere; no event for a known address. Raises CategoriesUnknown."""
    check_categories(categories, offered)
    if state is not None:
        return []
    imported = SubscriberImported(subscriber=subscriber, round=1, categories=list(categories), proof=proof, address=address)
    return [imported]


def set_preferences(
    state: Subscriber | None,
    categories: Collection[str],
    frequency: Frequency,
    paused_until: str | None,
    offered: Collection[str],
) -> list[Event]:
    """Set categories, frequency and pause; no event if nothing changes. Raises NotSubscribed, CategoriesUnknown.

    A category that was chosen while the catalog had it may be kept.
    """
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    check_categories(set(categories).difference(state.categories), offered)
    chosen = tuple(sorted(set(categories)))
    if (chosen, frequency, paused_until) == (tuple(sorted(state.categories)), state.frequency, state.paused_until):
        return []
    preferences = PreferencesSet(
        subscriber=state.subscriber, categories=list(chosen), frequency=frequency, paused_until=paused_until
    )
    return [preferences]


def set_time_zone(state: Subscriber | None, zone: str | None) -> list[Event]:
    """Set the time zone, sealed; no event if there is none and none is chosen. Raises NotSubscribed."""
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    return [] if zone is state.zone is None else [TimeZoneSet(subscriber=state.subscriber, zone=zone)]


def join_bookmarks(state: Subscriber | None, visitor: str) -> list[Event]:
    """Join a visitor's bookmarks to the subscriber; a second time is no event. Raises NotSubscribed."""
    if state is None or state.status != "confirmed":
        raise NotSubscribed
    return [] if visitor in state.visitors else [BookmarksJoined(subscriber=state.subscriber, visitor=visitor)]


def unsubscribe(state: Subscriber | None) -> list[Event]:
    """Withdraw consent; no event if there is none."""
    if state is None or state.status not in ("pending", "confirmed"):
        return []
    return [Unsubscribed(subscriber=state.subscriber)]


def can_undo(state: Subscriber | None) -> bool:
    """Tell whether a subscriber's withdrawal ended a confirmed subscription, and nothing came since that forbids its return."""
    return state is not None and state.status == "unsubscribed" and state.was_confirmed and not state.suppressed


def undo_unsubscribe(state: Subscriber | None, form: str, token: str) -> list[Event]:
    """Take a withdrawal back, as if it hadn't been; no event if that was done before. Raises NothingToUndo.

    Nothing brings back who complained, was erased, or never confirmed.
    """
    if state is not None and state.status == "confirmed" and not state.suppressed:
        return []
    if state is None or not can_undo(state):
        raise NothingToUndo
    return [UnsubscribeUndone(subscriber=state.subscriber, form=form, token=token)]


def suppress(state: Subscriber | None, reason: Reason) -> list[Event]:
    """Suppress the address; a second time is no event."""
    if state is None or state.status == "erased" or state.suppressed:
        return []
    return [SubscriberSuppressed(subscriber=state.subscriber, reason=reason)]


def reinstate(state: Subscriber | None, reason: str) -> list[Event]:
    """Take a suppression back; no event if there is none."""
    if state is None or state.status == "erased" or not state.suppressed:
        return []
    return [SubscriberReinstated(subscriber=state.subscriber, reason=reason)]


def erase(state: Subscriber | None, *, unconfirmed_only: bool = False) -> list[Event]:
    """Erase a subscriber; no event if unknown or erased. `unconfirmed_only` spares subscribers that ever confirmed."""
    if state is None or state.status == "erased":
        return []
    if unconfirmed_only and (state.status != "pending" or state.round or state.suppressed):
        return []
    return [PersonErased(person=state.subscriber)]
