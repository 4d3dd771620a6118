"""What the rules of a ballot promise."""

from typing import Any

from hypothesis import given as for_any
from hypothesis import strategies as st

from events import ballots
from events.ballots import VoteCast, VoteRetracted, cast_vote, retract_vote
from events.log.event import Event
from events.voters import VoterDisqualified, VoterReinstated
from tests.support.given import Given, an_id, given

VOTER, TOOL = an_id(1), an_id(2)


def cast(choice: Any, previous: Any = None) -> VoteCast:
    return VoteCast(voter=VOTER, tool=TOOL, choice=choice, previous=previous)


def retracted(previous: Any) -> VoteRetracted:
    return VoteRetracted(voter=VOTER, tool=TOOL, previous=previous)


def ballot(*events: Event) -> Given:
    return given(ballots.evolve, None, *events)


def test_a_first_vote_is_cast() -> None:
    """A first vote replaces nothing."""
    ballot().when(cast_vote, VOTER, TOOL, "ship").then(cast("ship"))


def test_the_same_choice_again_is_no_event() -> None:
    """Voting the same again changes nothing."""
    ballot(cast("ship")).when(cast_vote, VOTER, TOOL, "ship").then()


def test_a_changed_choice_says_what_it_replaces() -> None:
    """A changed vote carries the choice it replaces."""
    ballot(cast("ship")).when(cast_vote, VOTER, TOOL, "skip").then(cast("skip", "ship"))


def test_a_vote_is_retracted() -> None:
    """Retracting says which choice goes."""
    ballot(cast("ship"), cast("skip", "ship")).when(retract_vote, VOTER, TOOL).then(retracted("skip"))


def test_nothing_to_retract_is_no_event() -> None:
    """Retracting without a vote, or twice, is no event."""
    ballot().when(retract_vote, VOTER, TOOL).then()
    ballot(cast("ship"), retracted("ship")).when(retract_vote, VOTER, TOOL).then()


def test_after_a_retraction_a_vote_is_a_first_one() -> None:
    """What was retracted is not replaced."""
    ballot(cast("ship"), retracted("ship")).when(cast_vote, VOTER, TOOL, "ship").then(cast("ship"))


def test_events_of_other_streams_leave_the_ballot() -> None:
    """Disqualification is not the ballot's own event."""
    away = VoterDisqualified(voter=VOTER, ballots=[(TOOL, "ship")], correction=an_id(3))
    back = VoterReinstated(voter=VOTER, ballots=[(TOOL, "ship")], correction=an_id(4))
    ballot(cast("ship"), away, back).when(cast_vote, VOTER, TOOL, "ship").then()


@for_any(st.lists(st.sampled_from(["ship", "skip", None])))
def test_previous_is_chained(choices: list[Any]) -> None:
    """After any sequence, each event's `previous` is the choice before it, no event repeats it, and the last one holds."""
    state: Any = None
    for choice in choices:
        events = retract_vote(state, VOTER, TOOL) if choice is None else cast_vote(state, VOTER, TOOL, choice)
        assert len(events) == (choice != state)
        for event in events:
            assert getattr(event, "previous") == state  # noqa: B009 - both types have it, Event has not
            state = ballots.evolve(state, event)
        assert state == choice


@for_any(st.lists(st.sampled_from(["ship", "skip", None])))
def test_the_last_event_says_it_all(choices: list[Any]) -> None:
    """A ballot's last event alone gives the choice: decisions read no more than that."""
    state: Any = None
    last: Event | None = None
    for choice in choices:
        for event in retract_vote(state, VOTER, TOOL) if choice is None else cast_vote(state, VOTER, TOOL, choice):
            state, last = ballots.evolve(state, event), event
    assert (None if last is None else ballots.evolve(None, last)) == state
