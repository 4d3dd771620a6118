"""What is kept of a visitor's reports of reviews."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from events.log.vault import Key, Vault
from events.reports import ReportWithdrawn, ReviewReported
from events.reviews import Ground
from services.person.kept import Kept
from services.person.own import Database, Told

KEPT: Final = (
    Kept(
        name="Reports",
        what="Which review you reported, on what ground, and your words, which moderators alone read. They are sealed under a"
        " key of the report's own.",
        about="reporters",
        when="report",
        ground="interest",
        until="the words, until you are erased; that it was reported, as long as the site exists",
        found="the visitor's number",
        fate="key",
        remains="That the number reported the review, and the ground.",
        copies="log",
        events=("ReviewReported", "ReportWithdrawn"),
        tables={"vault.keys": "owner wrapped wrapped_under made_at", "{reviews}.reports": ""},
    ),
)


class ReportCopy(msgspec.Struct, frozen=True):
    """A report that a visitor made of a review, or that it went. `words` are null if there were none or they are destroyed."""

    position: int
    at: datetime
    review: str
    what: str
    ground: Ground | None = None
    words: str | None = None


async def reports_of(database: Database, vault: Vault, told: Sequence[Told]) -> list[ReportCopy]:
    """Return the reports that a visitor made, oldest first."""
    reports = [one.event.report for one in told if isinstance(one.event, ReviewReported)]
    keys = await vault.keys_of(database, reports)
    return [_report(one, one.event, keys) for one in told if isinstance(one.event, ReviewReported | ReportWithdrawn)]


def _report(told: Told, event: ReviewReported | ReportWithdrawn, keys: Mapping[str, Key]) -> ReportCopy:
    if isinstance(event, ReportWithdrawn):
        return ReportCopy(told.position, told.at, event.review, "withdrawn, and its words destroyed")
    key = keys.get(event.report)
    words = None if key is None or event.words is None else key.open("words", event.words)
    return ReportCopy(told.position, told.at, event.review, "reported", event.ground, words)
