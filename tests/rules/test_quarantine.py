"""Letting a view pass an event: each view once, and never one that is whole or nothing."""

import pytest

from events.quarantine import EventDropped, NotHalted, NothingPassed, can_pass, drop_event
from projections.registry import PROJECTIONS, SHOWN


def test_a_view_passes_a_position_once() -> None:
    """A view that passes over the position already is told nothing."""
    events = drop_event({"cards": set(), "hours": {7}}, 7, "why")
    assert events == [EventDropped(projection="cards", position=7, reason="why")]
    with pytest.raises(NotHalted):
        drop_event({}, 7, "why")


def test_the_tree_over_the_log_passes_none() -> None:
    """Others that halted there pass without it; alone, it is refused."""
    assert [event.projection for event in drop_event({"proof": set(), "cards": set()}, 7, "why")] == ["cards"]
    with pytest.raises(NothingPassed, match="proof"):
        drop_event({"proof": set()}, 7, "why")
    assert can_pass(projection.name for projection in PROJECTIONS) == [projection.name for projection in SHOWN]
