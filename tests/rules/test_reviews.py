"""What the rules of readers' reviews promise."""

from typing import Any

from hypothesis import given as for_any
from hypothesis import strategies as st
from msgspec.structs import replace

from events import reviews
from events.log.event import Event
from events.reviews import (
    Changes,
    Ground,
    Review,
    ReviewApproved,
    ReviewCleared,
    ReviewEdited,
    ReviewEditedSince,
    ReviewExists,
    ReviewKept,
    ReviewNotFound,
    ReviewPlaced,
    ReviewRejected,
    ReviewSubmitted,
    ReviewWithdrawn,
    decide_review,
    edit_review,
    submit_review,
    withdraw_review,
)
from tests.support.given import Given, an_id, given

ADA, BOB, TOOL, REVIEW = (an_id(n) for n in range(1, 5))
SUBMITTED = ReviewSubmitted(review=REVIEW, visitor=ADA, tool=TOOL, verdict="ship", score=78, text="sealed", name="sealed name")
PLACED = ReviewPlaced(visitor=ADA, tool=TOOL, review=REVIEW)
CLEARED = ReviewCleared(visitor=ADA, tool=TOOL, review=REVIEW)
WITHDRAWN = ReviewWithdrawn(review=REVIEW)


def edited(revision: int, text: str = "sealed anew") -> ReviewEdited:
    return ReviewEdited(review=REVIEW, revision=revision, verdict="ship", score=78, text=text, name="sealed name")


def approved(revision: int = 1) -> ReviewApproved:
    return ReviewApproved(review=REVIEW, revision=revision)


def rejected(revision: int = 1, reason: str | None = None) -> ReviewRejected:
    return ReviewRejected(review=REVIEW, revision=revision, reason=reason)


def removed(revision: int = 1, ground: Ground | None = None) -> ReviewRejected:
    return ReviewRejected(review=REVIEW, revision=revision, ground=ground, shown=True)


def kept(through: int, revision: int = 1) -> ReviewKept:
    return ReviewKept(review=REVIEW, revision=revision, through=through)


def review(*events: Event) -> Given:
    return given(reviews.evolve, None, *events)


def place(*events: Event) -> Given:
    return Given(events[-1] if events else None)


def public(*events: Event) -> str | None:
    state: Review = review(*events).state
    return None if state.published is None else state.published.text


def test_a_review_takes_its_place() -> None:
    """A first review is submitted and takes the visitor's place for this tool."""
    place().when(submit_review, SUBMITTED).then(SUBMITTED, PLACED)


def test_a_second_review_is_refused_with_the_first() -> None:
    """One review per visitor and tool: a second one is told the first one's id."""
    place(PLACED).when(submit_review, SUBMITTED).refused(ReviewExists, REVIEW)


def test_after_withdrawal_a_new_review_may_come() -> None:
    """A cleared place is free."""
    place(PLACED, CLEARED).when(submit_review, SUBMITTED).then(SUBMITTED, PLACED)


def test_an_edit_keeps_what_is_not_given() -> None:
    """An edit carries over what it leaves out, and null is something given."""
    review(SUBMITTED).when(edit_review, ADA, Changes(verdict="skip")).then(
        ReviewEdited(review=REVIEW, revision=2, verdict="skip", score=78, text="sealed", name="sealed name")
    )
    review(SUBMITTED).when(edit_review, ADA, Changes(score=None, name=None)).then(
        ReviewEdited(review=REVIEW, revision=2, verdict="ship", score=None, text="sealed", name=None)
    )


def test_an_edit_follows_the_last_edit() -> None:
    """An edit changes the newest revision, not the public one."""
    events = (SUBMITTED, approved(), edited(2, "second"))
    review(*events).when(edit_review, ADA, Changes(score=3)).then(
        ReviewEdited(review=REVIEW, revision=3, verdict="ship", score=3, text="second", name="sealed name")
    )


def test_an_edit_that_changes_nothing_is_no_event() -> None:
    """Nothing given, or the same again, is no event."""
    review(SUBMITTED).when(edit_review, ADA, Changes()).then()
    review(SUBMITTED).when(edit_review, ADA, Changes(verdict="ship", score=78)).then()


def test_only_the_author_edits() -> None:
    """Who is not the author is not even told that there is a review."""
    review(SUBMITTED).when(edit_review, BOB, Changes(score=1)).refused(ReviewNotFound)
    review().when(edit_review, BOB, Changes(score=1)).refused(ReviewNotFound)


def test_an_edit_of_an_approved_review_waits_while_the_approved_text_stays_up() -> None:
    """The public text stays until the edit is approved."""
    events = (SUBMITTED, approved(), edited(2))
    assert review(*events).state.status == "pending"
    assert public(*events) == "sealed"
    assert public(*events, approved(2)) == "sealed anew"


def test_a_rejected_edit_leaves_the_approved_text_up() -> None:
    """A decision is about its revision: the one approved before stays public."""
    events = (SUBMITTED, approved(), edited(2))
    review(*events).when(decide_review, "reject", 2, "an advert").then(rejected(2, "an advert"))
    assert review(*events, rejected(2)).state.status == "rejected"
    assert public(*events, rejected(2)) == "sealed"


def test_the_text_still_up_can_be_rejected_by_its_revision() -> None:
    """After a rejected edit, the public revision may be named and taken down; without a name it is not."""
    events = (SUBMITTED, approved(), edited(2), rejected(2))
    review(*events).when(decide_review, "reject", 1).then(removed(1))
    assert public(*events, removed(1)) is None
    review(*events).when(decide_review, "reject").then()
    review(*events).when(decide_review, "approve", 1).then()


def test_an_approved_review_can_be_taken_down_and_put_up() -> None:
    """Rejecting what is public takes it down; approving what was rejected puts it up."""
    review(SUBMITTED, approved()).when(decide_review, "reject").then(removed())
    assert public(SUBMITTED, approved(), removed()) is None
    assert public(SUBMITTED, approved(), rejected()) is None
    review(SUBMITTED, rejected(1, "why")).when(decide_review, "approve").then(approved())
    assert public(SUBMITTED, rejected(), approved()) == "sealed"


def test_what_is_public_is_removed_whatever_edit_waits() -> None:
    """A public revision can be taken down while an edit of it waits, and the edit still waits then."""
    events = (SUBMITTED, approved(), edited(2))
    review(*events).when(decide_review, "remove", 1, ground="fake").then(removed(1, "fake"))
    review(*events).when(decide_review, "remove").then(removed(1))
    review(*events).when(decide_review, "remove", 2).refused(ReviewEditedSince, 1)
    state: Review = review(*events, removed(1)).state
    assert (state.status, state.published) == ("pending", None)
    review(*events, removed(1)).when(decide_review, "remove").then()
    review(*events, removed(1)).when(decide_review, "approve", 2).then(approved(2))


def test_a_removed_review_is_rejected_and_its_author_told_the_ground() -> None:
    """Taking down what is current rejects it; an approval puts it up again and the ground is gone."""
    events = (SUBMITTED, approved())
    review(*events).when(decide_review, "remove", ground="ties").then(removed(1, "ties"))
    state: Review = review(*events, removed(1, "ties")).state
    assert (state.status, state.ground, state.published) == ("rejected", "ties", None)
    assert review(*events, removed(1, "ties"), approved()).state.ground is None


def test_keeping_answers_the_reports_that_were_read() -> None:
    """Keeping says up to where reports were read and changes nothing else; again, or of what isn't public, it is no event."""
    review(SUBMITTED, approved()).when(decide_review, "keep", 1, through=9).then(kept(9))
    review(SUBMITTED, approved(), kept(9)).when(decide_review, "keep", through=9).then()
    review(SUBMITTED, approved(), kept(9)).when(decide_review, "keep", through=12).then(kept(12))
    review(SUBMITTED).when(decide_review, "keep", through=9).then()
    assert public(SUBMITTED, approved(), kept(9)) == "sealed"


def test_an_edit_may_change_what_is_told_of_ties() -> None:
    """Ties are told, changed and taken back as any other field."""
    told = replace(SUBMITTED, ties="given")
    state: Review = review(told).state
    assert state.current.ties == "given"
    review(told).when(edit_review, ADA, Changes(ties="given")).then()
    review(told).when(edit_review, ADA, Changes(ties=None)).then(edited(2, "sealed"))


def test_a_rejected_review_may_be_edited() -> None:
    """An edit of a rejected review waits for a decision, and the old reason is gone."""
    state: Review = review(SUBMITTED, rejected(1, "too short"), edited(2)).state
    assert (state.status, state.reason, state.current.number) == ("pending", None, 2)


def test_the_same_decision_again_is_no_event() -> None:
    """Approving or rejecting twice changes nothing."""
    review(SUBMITTED, approved()).when(decide_review, "approve").then()
    review(SUBMITTED, approved()).when(decide_review, "approve", 1).then()
    review(SUBMITTED, rejected(1, "a")).when(decide_review, "reject", 1, "b").then()


def test_a_decision_on_an_edited_review_is_refused() -> None:
    """A decision that names another revision than the current one is told the current one."""
    for judgement in ("approve", "reject"):
        review(SUBMITTED, approved(), edited(2)).when(decide_review, judgement, 1).refused(ReviewEditedSince, 2)
        review(SUBMITTED).when(decide_review, judgement, 2).refused(ReviewEditedSince, 1)


def test_withdrawing_clears_the_place() -> None:
    """Withdrawing says so on the review and frees the visitor's place, whatever its status."""
    for events in ((), (approved(),), (rejected(),), (approved(), edited(2))):
        review(SUBMITTED, *events).when(withdraw_review, ADA).then(WITHDRAWN, CLEARED)
    assert public(SUBMITTED, approved(), WITHDRAWN) is None


def test_withdrawing_twice_is_no_event() -> None:
    """A withdrawn review stays withdrawn."""
    review(SUBMITTED, WITHDRAWN).when(withdraw_review, ADA).then()


def test_only_the_author_withdraws() -> None:
    """Who is not the author is not even told that there is a review."""
    review(SUBMITTED).when(withdraw_review, BOB).refused(ReviewNotFound)
    review(SUBMITTED, WITHDRAWN).when(withdraw_review, BOB).refused(ReviewNotFound)
    review().when(withdraw_review, ADA).refused(ReviewNotFound)


def test_a_withdrawn_review_is_over() -> None:
    """Nothing can be edited or decided once withdrawn."""
    review(SUBMITTED, WITHDRAWN).when(edit_review, ADA, Changes(score=1)).refused(ReviewNotFound)
    review(SUBMITTED, WITHDRAWN).when(decide_review, "approve").refused(ReviewNotFound)
    review().when(decide_review, "approve").refused(ReviewNotFound)


STEPS = st.one_of(
    st.integers(0, 100).map(lambda score: ("edit", score)),
    st.sampled_from([("approve", None), ("reject", None), ("reject", 1), ("remove", None), ("keep", None), ("withdraw", None)]),
)


@for_any(st.lists(STEPS, max_size=12))
def test_what_is_public_was_approved(steps: list[tuple[str, Any]]) -> None:
    """After any history, what is public was approved as it stands and not rejected since; revisions count up by one."""
    state = reviews.evolve(None, SUBMITTED)
    revisions, public_ones = [1], set()
    for step, argument in steps:
        try:
            match step:
                case "edit":
                    events = edit_review(state, ADA, Changes(score=argument))
                case "withdraw":
                    events = withdraw_review(state, ADA)
                case judgement:
                    events = decide_review(state, judgement, argument)  # type: ignore[arg-type]
        except (ReviewNotFound, ReviewEditedSince):
            continue
        for event in events:
            state = reviews.evolve(state, event)
            match event:
                case ReviewEdited():
                    revisions.append(event.revision)
                case ReviewApproved():
                    public_ones = {event.revision}
                case ReviewRejected():
                    public_ones -= {event.revision}
                case ReviewWithdrawn():
                    public_ones = set()
    assert state is not None
    assert revisions == list(range(1, len(revisions) + 1))
    assert ({state.published.number} if state.published else set()) == public_ones
