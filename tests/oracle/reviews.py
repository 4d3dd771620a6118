"""Fold readers' reviews, the reports of them, and what was done with both, in plain Python."""

from events import reports, reviews
from events.log.event import Event
from events.reports import ReportWithdrawn, ReviewReported
from events.reviews import ReviewApproved, ReviewEdited, ReviewKept, ReviewRejected, ReviewSubmitted, ReviewWithdrawn
from tests.oracle.entries import Entry, Key, Row, Tables

Later = ReviewEdited | ReviewApproved | ReviewRejected | ReviewKept | ReviewWithdrawn

_NOT_PUBLIC: Row = {
    "public_revision": None,
    "public_verdict": None,
    "public_score": None,
    "public_sealed_text": None,
    "public_sealed_name": None,
    "public_ties": None,
    "public_position": None,
    "published_at": None,
}


class Reviews:
    """Readers' reviews that were not withdrawn: the current revision, and the public one. And reports, and what was done.

    An approval of a revision that was passed over makes nothing public, as its texts were left out.
    """

    concerns: tuple[type[Event], ...] = (*reviews.EVENTS, *reports.EVENTS)

    def __init__(self) -> None:
        self._reviews: dict[Key, Row] = {}
        self._revisions: dict[Key, dict[int, Row]] = {}
        self._reports: dict[Key, Row] = {}
        self._acts: dict[Key, Row] = {}

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        if isinstance(event, ReviewSubmitted):
            self._submit(event, entry)
        elif isinstance(event, Later) and (row := self._reviews.get((event.review,))) is not None:
            self._go_on(row, event, entry)
        self._report(entry)
        self._act(entry)

    def tables(self) -> Tables:
        """Return the rows."""
        return {"reviews": self._reviews, "reports": self._reports, "acts": self._acts}

    def _report(self, entry: Entry) -> None:
        match entry.event:
            case ReviewReported() as event:
                row = {"report": event.report, "visitor": event.visitor, "review": event.review, "ground": event.ground}
                more = {"sealed_words": event.words, "reported_at": entry.recorded_at, "position": entry.position}
                self._reports[event.visitor, event.review, event.report] = row | more
            case ReportWithdrawn() as event:
                self._reports.pop((event.visitor, event.review, event.report), None)
            case ReviewKept() as event:
                self._answer(event.review, event.through)
            case ReviewWithdrawn() | ReviewRejected(shown=True) as event:
                self._answer(event.review, entry.position)

    def _answer(self, review: str, through: int) -> None:
        for key, row in [*self._reports.items()]:
            if row["review"] == review and row["position"] <= through:
                del self._reports[key]

    def _act(self, entry: Entry) -> None:
        match entry.event:
            case ReviewApproved():
                key = ("approved", "")
            case ReviewKept():
                key = ("kept", "")
            case ReviewRejected() as event:
                key = ("removed" if event.shown else "rejected", event.ground or "other")
            case ReviewReported() as event:
                key = ("reported", event.ground)
            case _:
                return
        row = self._acts.setdefault(key, {"act": key[0], "ground": key[1], "acts": 0})
        row["acts"] += 1
        row["last_position"] = entry.position

    def _submit(self, event: ReviewSubmitted, entry: Entry) -> None:
        written = _written(event)
        self._revisions[event.review,] = {1: written}
        self._reviews[event.review,] = {
            "review": event.review,
            "visitor": event.visitor,
            "tool": event.tool,
            "status": "pending",
            "revision": 1,
            **written,
            "submitted_position": entry.position,
            "submitted_at": entry.recorded_at,
            "position": entry.position,
            **_NOT_PUBLIC,
        }

    def _go_on(self, row: Row, event: Later, entry: Entry) -> None:
        key = (event.review,)
        row["position"] = entry.position
        match event:
            case ReviewEdited():
                self._revisions[key][event.revision] = _written(event)
                row.update({**_written(event), "revision": event.revision, "status": "pending"})
            case ReviewApproved():
                row["status"] = "approved"
                if (written := self._revisions[key].get(event.revision)) is not None:
                    row.update({f"public_{column}": value for column, value in written.items()})
                    row["public_revision"] = event.revision
                    row["public_position"] = entry.position
                    row["published_at"] = entry.recorded_at
            case ReviewRejected():
                if not event.shown or row["revision"] == event.revision:
                    row["status"] = "rejected"
                if row["public_revision"] == event.revision:
                    row.update(_NOT_PUBLIC)
            case ReviewWithdrawn():
                del self._reviews[key], self._revisions[key]


def _written(event: ReviewSubmitted | ReviewEdited) -> Row:
    return {
        "verdict": event.verdict,
        "score": event.score,
        "sealed_text": event.text,
        "sealed_name": event.name,
        "ties": event.ties,
    }
