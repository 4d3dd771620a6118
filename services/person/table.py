"""The one table of everything that is kept."""

from typing import Final

from services.person import bookmarks, calls, newsletter, operators, reports, reviews, site, votes
from services.person.kept import Impersonal, Kept

KEPT: Final[tuple[Kept, ...]] = (
    *votes.KEPT, *bookmarks.KEPT, *reviews.KEPT, *reports.KEPT, *newsletter.KEPT, *calls.KEPT, *operators.KEPT,
)  # fmt: skip
"""What is kept about people."""

IMPERSONAL: Final[tuple[Impersonal, ...]] = site.IMPERSONAL
"""What is kept about nobody."""


def kept_here(*, marks: bool, outbox: bool) -> list[Kept]:
    """Return the rows that hold on a site, by whether it marks the networks of votes, and keeps mails in an outbox."""
    here = {"always": True, "marks": marks, "outbox": outbox}
    return [row for row in KEPT if here[row.needs]]
