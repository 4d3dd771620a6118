"""Erasure of a person."""

from events.event import Event


class PersonErased(Event, frozen=True, kw_only=True):
    """What a person wrote was destroyed; what it said in numbers stays. A visitor is a person."""

    person: str


EVENTS = (PersonErased,)
