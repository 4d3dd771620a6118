"""Subscribers, folded in plain Python: what the view must hold, for `verify` and the tests."""

from datetime import date
from typing import TYPE_CHECKING, Any

from events import subscribers
from events.erasure import PersonErased
from events.log.event import Event
from events.subscribers import BookmarksJoined, SubscriberImported, SubscriptionConfirmed, SubscriptionRequested, evolve

if TYPE_CHECKING:
    from projections.fold import Entry, Key, Row, Tables


class Subscribers:
    """Subscribers that were not erased, and the visitors whose bookmarks are their own."""

    concerns: tuple[type[Event], ...] = (*subscribers.EVENTS, PersonErased)

    def __init__(self) -> None:
        self._states: dict[str, subscribers.Subscriber] = {}
        self._rows: dict[Key, Row] = {}
        self._visitors: dict[Key, Row] = {}

    def take(self, entry: "Entry") -> None:
        """Take in the next event."""
        event = entry.event
        if isinstance(event, PersonErased):
            self._forget(event.person)
        elif isinstance(event, subscribers.EVENTS):
            self._change(event.subscriber, event, entry)

    def tables(self) -> "Tables":
        """Give the rows."""
        return {"subscribers": self._rows, "visitors": self._visitors}

    def _change(self, subscriber: str, event: Event, entry: "Entry") -> None:
        state = evolve(self._states.get(subscriber), event)
        if state is None or not state.address:  # begun by an event that was passed over: nobody's address is known
            return
        self._states[subscriber] = state
        row: dict[str, Any] = self._rows.setdefault((subscriber,), {"subscriber": subscriber, "confirmed_at": None})
        row.update(
            sealed_address=state.address,
            status=state.status,
            round=state.round,
            categories=list(state.categories),
            frequency=state.frequency,
            paused_until=date.fromisoformat(state.paused_until) if state.paused_until else None,
            suppressed=state.suppressed,
        )
        if not isinstance(event, BookmarksJoined):  # that changes the visitors alone
            row["position"] = entry.position
        if isinstance(event, (SubscriptionRequested, SubscriberImported)):
            row["requested_at"] = entry.recorded_at
        if isinstance(event, (SubscriptionConfirmed, SubscriberImported)):
            row["confirmed_at"] = entry.recorded_at
        for visitor in state.visitors:
            seen = {"subscriber": subscriber, "visitor": visitor, "position": entry.position}
            self._visitors.setdefault((subscriber, visitor), seen)

    def _forget(self, person: str) -> None:
        self._states.pop(person, None)
        self._rows.pop((person,), None)
        for key in [key for key in self._visitors if key[0] == person]:
            del self._visitors[key]
