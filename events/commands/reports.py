"""The command to report a reader's review. Its words arrive sealed; see `events.log.vault`."""

from events import reports, reviews
from events.catalog import Listing
from events.commands.reviews import must_be_allowed
from events.erasure import person_stream
from events.log import ids
from events.log.command import Command, Decision, Effect, Reads, Seen
from events.log.event import fold
from events.reports import ReviewReported, report_review
from events.reviews import Ground


class ReportReview(Command[None], frozen=True, kw_only=True):
    """Report a public review of a listed tool; `keep` is the effect that stores the key of the words, if there are any."""

    visitor: str
    slug: str
    review: str
    report: str
    ground: Ground
    words: str | None
    keep: Effect

    def reads(self, listing: Listing) -> Reads:
        """Name the visitor's report of the review, the voter, its erasures, and the review.

        Raises ReviewNotFound if `review` is no id.
        """
        own = reports.stream(self.visitor, self.review)
        return Reads((own, ids.stream_of(self.visitor), person_stream(self.visitor)), (reviews.stream(self.review),))

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide by the rule. Raises VisitorIsErased, VoterIsDisqualified, ToolNotListed, ReviewNotFound."""
        last, voter, erasure = seen.lasts
        must_be_allowed(voter, erasure)
        reported = ReviewReported(
            report=self.report, visitor=self.visitor, review=self.review, ground=self.ground, words=self.words
        )
        review, tool = fold(reviews.evolve, seen.wholes[0]), seen.listing.listed(self.slug)
        events = report_review(None if last is None else last.event, review, tool, reported)
        return Decision(
            events=[(seen.reads.lasts[0], event) for event in events],
            value=None,
            position=None if last is None else last.position,
            effects=(self.keep,) if events and self.words is not None else (),
        )
