"""How the mail check stands, for operators: in `status`, in the metrics, and in what holds a first issue."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from services.mail_check.lines import TITLES
from services.mail_check.store import Checked, Database, KeptLine, read

SAYS_WHAT: Final = "`ballotpress mail check` says what to mend"
LET_IT_GO: Final = f"{SAYS_WHAT}; `ballotpress mail waive --reason TEXT` lets it go as it is"


class MailStanding(msgspec.Struct, frozen=True):
    """When mail was checked last, how many lines are right and unknown, and the titles of those that are wrong.

    `went_wrong` are those of them that were right before; `first_waits` says that they hold the site's first issue. All is
    empty, and `checked_at` None, where a site is never checked by itself, as one that isn't public.
    """

    checked_at: datetime | None
    right: int
    unknown: int
    wrong: Sequence[str]
    went_wrong: Sequence[str]
    first_waits: bool


async def read_standing(database: Database) -> MailStanding:
    """Return how the check stands."""
    checked = await read(database)
    if not checked.gates:
        return MailStanding(None, 0, 0, (), (), False)
    return MailStanding(
        checked_at=checked.checked_at,
        right=sum(line.state == "right" for line in checked.lines),
        unknown=sum(line.state == "unknown" for line in checked.lines),
        wrong=_titles(checked.wrong),
        went_wrong=_titles([line for line in checked.wrong if line.went_wrong]),
        first_waits=checked.holds_first,
    )


def said_waiting(checked: Checked) -> str | None:
    """Return a line on a first issue that waits; None if none does."""
    return _waits(_titles(checked.wrong)) if checked.holds_first else None


def said_failing(standing: MailStanding | None) -> tuple[str, str] | None:
    """Return what is wrong, and what to do about it; None if nothing is."""
    if standing is None or not standing.wrong:
        return None
    if standing.first_waits:
        return _waits(standing.wrong), LET_IT_GO
    if standing.went_wrong:
        return f"Mail may not arrive any more: {', '.join(standing.went_wrong)} was right and is wrong", SAYS_WHAT
    return f"Mail may not arrive: {', '.join(standing.wrong)} is wrong", SAYS_WHAT


def _waits(wrong: Sequence[str]) -> str:
    return f"The first issue waits, since mail from here may not arrive: {', '.join(wrong)}"


def _titles(lines: Sequence[KeptLine]) -> Sequence[str]:
    return [TITLES[line.subject] for line in lines]
