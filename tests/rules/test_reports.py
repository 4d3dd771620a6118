"""What the rules of reports promise."""

from events import reviews
from events.reports import ReportWithdrawn, ReviewReported, report_review, withdraw_report
from events.reviews import Review, ReviewApproved, ReviewNotFound, ReviewSubmitted
from tests.support.given import Given, an_id, given

ADA, BOB, TOOL, REVIEW, REPORT = (an_id(n) for n in range(1, 6))
SUBMITTED = ReviewSubmitted(review=REVIEW, visitor=ADA, tool=TOOL, verdict="ship", text="sealed")
APPROVED = ReviewApproved(review=REVIEW, revision=1)
REPORTED = ReviewReported(report=REPORT, visitor=BOB, review=REVIEW, ground="fake", words="sealed")


def public() -> Review:
    state: Review = given(reviews.evolve, None, SUBMITTED, APPROVED).state
    return state


def test_a_public_review_is_reported_once() -> None:
    """A first report is an event, a second one of the same visitor is none, and after it went one may come anew."""
    Given(None).when(report_review, public(), TOOL, REPORTED).then(REPORTED)
    Given(REPORTED).when(report_review, public(), TOOL, REPORTED).then()
    Given(withdraw_report(REPORTED)).when(report_review, public(), TOOL, REPORTED).then(REPORTED)


def test_what_is_not_public_cannot_be_reported() -> None:
    """A review that waits, another tool's, and one that isn't there are not found: nobody learns that they exist."""
    pending: Review = given(reviews.evolve, None, SUBMITTED).state
    Given(None).when(report_review, pending, TOOL, REPORTED).refused(ReviewNotFound)
    Given(None).when(report_review, public(), an_id(9), REPORTED).refused(ReviewNotFound)
    Given(None).when(report_review, None, TOOL, REPORTED).refused(ReviewNotFound)


def test_a_report_goes_with_its_writer() -> None:
    """A withdrawn report names what it was, and nothing of what it said."""
    assert withdraw_report(REPORTED) == ReportWithdrawn(report=REPORT, visitor=BOB, review=REVIEW)
