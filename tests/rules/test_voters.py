"""What the rules of disqualification promise."""

import json

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from msgspec.structs import replace

from events.catalog import Verdict
from events.log.event import encode
from events.voters import (
    MOST_BALLOTS,
    Ballots,
    BallotsRestored,
    BallotsVoided,
    CorrectionRecorded,
    ToolCorrected,
    VoterDisqualified,
    VoterIsDisqualified,
    VoterReinstated,
    correct,
    in_parts,
    must_be_allowed,
    name_ballots,
    record_correction,
)
from tests.support.given import an_id

ADA, BOB, FIRST, SECOND, CORRECTION = (an_id(n) for n in range(1, 6))


def test_a_cohort_is_one_correction() -> None:
    """Each voter's event carries its ballots; one summary says what changed, and never who."""
    changed: dict[str, Ballots] = {BOB: [(FIRST, "skip")], ADA: [(FIRST, "ship"), (SECOND, "ship")]}
    events = record_correction(CORRECTION, "bots", changed, {FIRST: (5, 3), SECOND: (1, 0)}, reinstate=False)
    assert events == [
        VoterDisqualified(voter=ADA, ballots=[(FIRST, "ship"), (SECOND, "ship")], correction=CORRECTION),
        VoterDisqualified(voter=BOB, ballots=[(FIRST, "skip")], correction=CORRECTION),
        CorrectionRecorded(
            correction=CORRECTION,
            action="disqualified",
            reason="bots",
            voters=2,
            votes=3,
            tools=[ToolCorrected(FIRST, (5, 3), (4, 2)), ToolCorrected(SECOND, (1, 0), (0, 0))],
        ),
    ]


def test_a_correction_names_its_ballots() -> None:
    """The last event of every ballot is named in ascending order, before the summary; a voter without any adds none."""
    voided = record_correction(CORRECTION, "bots", {ADA: [(FIRST, "ship")], BOB: []}, {}, reinstate=False, positions=[9, 4, 7])
    assert voided[2] == BallotsVoided(correction=CORRECTION, ballots=[4, 7, 9])
    assert isinstance(voided[3], CorrectionRecorded)
    restored = record_correction(CORRECTION, "bots", {ADA: [(FIRST, "ship")]}, {}, reinstate=True, positions=[9])
    assert restored[1] == BallotsRestored(correction=CORRECTION, ballots=[9])


def test_very_many_ballots_are_named_in_parts() -> None:
    """Each part is small enough for the entry of the public log, even with the largest positions that a tree can have."""
    first, second = name_ballots(CORRECTION, range(2**40 - 6_000, 2**40))
    assert isinstance(first, BallotsVoided) and isinstance(second, BallotsVoided)
    assert len(first.ballots) == MOST_BALLOTS and first.ballots + second.ballots == [*range(2**40 - 6_000, 2**40)]
    assert len(encode(first)) + MOST_BALLOTS + 100 < 65_535  # the server writes a space after each comma


def test_a_correction_of_very_many_tools_is_in_parts() -> None:
    """Each part names few enough tools for the public log, and all of them add up to the correction."""
    tools = [ToolCorrected(an_id(n), (10**9, 10**9), (10**9 - 1, 10**9 - n % 2)) for n in range(1_200)]
    whole = CorrectionRecorded(
        correction=CORRECTION, action="disqualified", reason="\U0001f5f3" * 1_000, voters=7, votes=1_800, tools=tools
    )
    parts = in_parts(whole)
    assert [len(part.tools) for part in parts] == [500, 500, 200] and [tool for part in parts for tool in part.tools] == tools
    assert [part.voters for part in parts] == [7, 0, 0] and sum(part.votes for part in parts) == 1_800
    for part in parts:
        stored = json.dumps(json.loads(encode(part)), ensure_ascii=False)  # with spaces, as the server writes it
        assert len(stored.encode()) + 100 < 65_535
    assert in_parts(replace(whole, tools=tools[:500])) == [replace(whole, tools=tools[:500])]


def test_reinstating_gives_back() -> None:
    """Reinstating adds the same ballots again."""
    events = record_correction(CORRECTION, "wrong", {ADA: [(FIRST, "ship")]}, {FIRST: (4, 2)}, reinstate=True)
    assert events[0] == VoterReinstated(voter=ADA, ballots=[(FIRST, "ship")], correction=CORRECTION)
    assert isinstance(events[1], CorrectionRecorded)
    assert (events[1].action, events[1].tools) == ("reinstated", [ToolCorrected(FIRST, (4, 2), (5, 2))])


def test_none_changed_is_no_event() -> None:
    """A correction that changes no voter is not recorded."""
    assert record_correction(CORRECTION, "bots", {}, {}, reinstate=False) == []


def test_a_voter_without_votes_is_disqualified() -> None:
    """Who has cast nothing can still be kept from casting."""
    events = record_correction(CORRECTION, "bots", {ADA: []}, {}, reinstate=False)
    assert events[0] == VoterDisqualified(voter=ADA, ballots=[], correction=CORRECTION)
    assert isinstance(events[1], CorrectionRecorded)
    assert (events[1].voters, events[1].votes, events[1].tools) == (1, 0, [])


def test_the_disqualified_are_refused() -> None:
    """A disqualified voter is refused until reinstated."""
    with pytest.raises(VoterIsDisqualified):
        must_be_allowed(VoterDisqualified(voter=ADA, ballots=[], correction=CORRECTION))
    must_be_allowed(VoterReinstated(voter=ADA, ballots=[], correction=CORRECTION))


@for_any(
    st.dictionaries(
        st.sampled_from([ADA, BOB]), st.lists(st.tuples(st.sampled_from([FIRST, SECOND]), st.sampled_from(["ship", "skip"])))
    ),
    st.integers(0, 9),
)
def test_reinstating_undoes_disqualifying(changed: dict[str, Ballots], count: int) -> None:
    """What is given back is what was taken: every tally is as it was."""
    before = {FIRST: (count + 20, 20), SECOND: (20, count + 20)}
    away = record_correction(CORRECTION, "r", changed, before, reinstate=False)
    after = {c.tool: c.after for e in away if isinstance(e, CorrectionRecorded) for c in e.tools}
    back = record_correction(CORRECTION, "r", changed, after, reinstate=True)
    restored = {c.tool: c.after for e in back if isinstance(e, CorrectionRecorded) for c in e.tools}
    assert restored == {tool: before[tool] for tool in after}


@for_any(st.lists(st.sampled_from(["ship", "skip"])))
def test_a_tally_changes_by_its_ballots(choices: list[Verdict]) -> None:
    """A tally gains or loses one a ballot, on the ballot's own side."""
    assert correct((9, 9), choices, 1) == (9 + choices.count("ship"), 9 + choices.count("skip"))
