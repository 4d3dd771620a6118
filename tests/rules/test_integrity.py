"""The rules of decisions on cohorts: given what was decided, when an operator decides, then what happens."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.integrity import (
    EVENTS,
    CohortCorrected,
    CohortDecided,
    CohortHeld,
    CohortUnknown,
    Judgement,
    Ruling,
    Status,
    Suspected,
    VoidProposed,
    VoidWithdrawn,
    decide_cohort,
    decided,
    finish,
    status,
)
from events.log.event import Event
from tests.support.catalogs import new_id

FOUND = Suspected(
    cohort=new_id(), tool=new_id(), choice="ship", begins=datetime(2026, 11, 22, 9, tzinfo=UTC),
    ends=datetime(2026, 11, 22, 10, tzinfo=UTC), first_position=10, last_position=90, votes=40, voters=38, revision=1,
)  # fmt: skip
GROWN = replace(FOUND, last_position=120, votes=60)


def ask(decision: Judgement, by: str = "ada", alone: int = 100) -> Ruling:
    return Ruling(decision, "one hand", by, f"correction of {by}", alone)


def after(*asked: Ruling, found: Suspected = FOUND, last: Event | None = None) -> Any:
    """Return a cohort's last event after these decisions, each carried out."""
    for one in asked:
        for event in decide_cohort(last, found, one):
            last = event
        if isinstance(last, CohortDecided) and decided(last) in ("voiding", "undoing"):
            (last,) = finish(last, last.correction or "")
    return last


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ([], "waiting"),
        ([ask("void")], "voided"),
        ([ask("dismiss")], "dismissed"),
        ([ask("watch")], "watched"),
        ([ask("watch"), ask("dismiss")], "dismissed"),
        ([ask("dismiss"), ask("void")], "voided"),
        ([ask("dismiss"), ask("undo")], "waiting"),
        ([ask("void"), ask("undo")], "waiting"),
        ([ask("void"), ask("undo"), ask("void")], "voided"),
        ([ask("void", alone=10)], "pending"),
        ([ask("void", alone=0)], "voided"),
        ([ask("void", alone=10), ask("void", "bob", alone=10)], "voided"),
        ([ask("void", alone=10), ask("dismiss", "bob")], "dismissed"),
        ([ask("void", alone=10), ask("undo")], "waiting"),
    ],
)
def test_decisions_lead_from_status_to_status(asked: list[Ruling], becomes: Status) -> None:
    """Each decision holds until another, and each can be undone."""
    assert status(after(*asked), FOUND) == becomes


def test_a_large_void_takes_two_operators() -> None:
    """Above the set size a void is a proposal; the same operator's second try is none, another one's confirms it."""
    proposed = after(ask("void", alone=39))
    assert isinstance(proposed, VoidProposed) and proposed.by == "ada" and proposed.correction is None
    assert decide_cohort(proposed, FOUND, ask("void", alone=39)) == []
    (confirmed,) = decide_cohort(proposed, FOUND, ask("void", "bob", alone=39))
    assert isinstance(confirmed, CohortDecided)
    assert (confirmed.by, confirmed.proposed_by, confirmed.correction) == ("bob", "ada", "correction of bob")


@pytest.mark.parametrize(("first", "second"), [("shell", "shell:bob"), ("shell:ann", "shell:bob"), ("shell:ann", "shell")])
def test_names_chosen_at_a_shell_are_one_hand(first: str, second: str) -> None:
    """Nobody vouches for them, so none confirms another's void, and each may take it back; a proven name confirms it."""
    proposed = after(ask("void", first, alone=39))
    assert decide_cohort(proposed, FOUND, ask("void", second, alone=39)) == []
    assert isinstance(decide_cohort(proposed, FOUND, ask("undo", second))[0], VoidWithdrawn)
    assert isinstance(decide_cohort(proposed, FOUND, ask("void", "shelly", alone=39))[0], CohortDecided)


def test_a_proposal_is_taken_back_by_who_made_it() -> None:
    """The first operator withdraws; another one is told to dismiss instead."""
    proposed = after(ask("void", alone=1))
    assert isinstance(decide_cohort(proposed, FOUND, ask("undo"))[0], VoidWithdrawn)
    with pytest.raises(CohortHeld, match="ada"):
        decide_cohort(proposed, FOUND, ask("undo", "bob"))


@pytest.mark.parametrize("decision", ["void", "dismiss", "watch"])
def test_the_same_decision_again_is_no_event(decision: Judgement) -> None:
    """A double submit changes nothing, while a void is carried out and afterwards; so does undoing what isn't decided."""
    first = decide_cohort(None, FOUND, ask(decision))[0]
    assert decide_cohort(first, FOUND, ask(decision, "bob")) == []
    assert decide_cohort(after(ask(decision)), FOUND, ask(decision)) == []
    assert decide_cohort(None, FOUND, ask("undo")) == []


@pytest.mark.parametrize("decision", ["dismiss", "watch"])
def test_a_void_is_undone_before_anything_else(decision: Judgement) -> None:
    """Voided votes are neither dismissed nor watched, before the void is carried out or afterwards."""
    for last in (decide_cohort(None, FOUND, ask("void"))[0], after(ask("void"))):
        with pytest.raises(CohortHeld):
            decide_cohort(last, FOUND, ask(decision))


def test_a_void_can_be_undone_before_it_is_carried_out_and_then_waits() -> None:
    """An undo supersedes a void half done; until it is carried out itself, nothing else is decided."""
    voiding = decide_cohort(None, FOUND, ask("void"))[0]
    (undoing,) = decide_cohort(voiding, FOUND, ask("undo", "bob"))
    assert decided(undoing) == "undoing" and finish(undoing, "correction of ada") == []
    with pytest.raises(CohortHeld):
        decide_cohort(undoing, FOUND, ask("void"))


@pytest.mark.parametrize("decision", ["void", "dismiss", "watch"])
def test_a_cohort_that_grows_waits_again(decision: Judgement) -> None:
    """Votes that the decision was not about wait for another; a void that stands can still be undone after that."""
    last = after(ask(decision))
    assert status(last, GROWN) == "waiting" and status(last, FOUND) != "waiting"
    assert status(after(ask(decision), found=GROWN, last=last), GROWN) == status(last, FOUND)


def test_dismissing_what_was_added_to_a_void_keeps_the_void() -> None:
    """The part that was voided stays voided, and an undo gives it back."""
    last = after(ask("dismiss"), found=GROWN, last=after(ask("void")))
    assert status(last, GROWN) == "voided"
    (undone,) = decide_cohort(last, GROWN, ask("undo"))
    assert decided(undone) == "undoing"


def test_a_stale_proposal_is_confirmed_by_nobody() -> None:
    """If the cohort grew since, the second operator's void is a proposal of its own."""
    proposed = after(ask("void", alone=10))
    (event,) = decide_cohort(proposed, GROWN, ask("void", "bob", alone=10))
    assert isinstance(event, VoidProposed) and event.votes == GROWN.votes


def test_only_an_undo_is_left_of_a_cohort_that_is_found_no_more() -> None:
    """What the scan forgot can't be decided on, but a void of it can be undone."""
    with pytest.raises(CohortUnknown):
        decide_cohort(None, None, ask("void"))
    assert decided(decide_cohort(after(ask("void")), None, ask("undo"))[0]) == "undoing"


async def test_the_database_says_the_same_status(connection: Any) -> None:
    """`log.cohort_status` and the rule agree on every event that decisions can lead to."""
    lasts = [
        after(ask("void", alone=1)), after(ask("void", alone=1), ask("undo")), decide_cohort(None, FOUND, ask("void"))[0],
        after(ask("void")), decide_cohort(after(ask("void")), FOUND, ask("undo"))[0], after(ask("void"), ask("undo")),
        after(ask("dismiss")), after(ask("watch")), after(ask("watch"), ask("undo")),
        after(ask("dismiss"), found=GROWN, last=after(ask("void"))), after(ask("watch"), found=GROWN, last=after(ask("void"))),
    ]  # fmt: skip
    assert {type(last) for last in lasts} == set(EVENTS) and any(isinstance(last, CohortCorrected) for last in lasts)
    for last in lasts:
        said = await connection.fetchval(
            "select log.cohort_status($1, $2::jsonb)", type(last).__name__, msgspec.json.encode(last).decode()
        )
        assert said == decided(last), last
