"""What became of an issue for each reader, by id: who got it, who did not, and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from projections import subscribers
from services.newsletter.ledger import Database

READ: Final = """
select m.reader, m.state, m.reason, m.code, m.attempts, m.settled_at
from newsletter.mails m where m.issue = $1 and ($2::text is null or m.reader = $2) order by m.state, m.reader
"""


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's mail of an issue; `state` is "unplanned" for who was no confirmed subscriber when it was planned."""

    reader: str
    state: str
    reason: str | None = None
    code: int | None = None
    attempts: int = 0
    settled_at: datetime | None = None

    @property
    def in_words(self) -> str:
        """Say it in a line."""
        why = ", ".join(str(part) for part in (self.reason, self.code) if part)
        return f"{self.reader} {self.state}" + (f" ({why})" if why else "")


async def fates(database: Database, issue: int, reader: str | None) -> Sequence[Fate]:
    """Tell the fate of an issue's readers, or of one of them."""
    found = [Fate(**row) for row in await database.fetch(READ, issue, reader)]
    if found or reader is None:
        return found
    status = await subscribers.read_status(database, reader)
    reason = "no such subscriber" if status is None else f"was not a confirmed subscriber when planned, is {status} now"
    return [Fate(reader=reader, state="unplanned", reason=reason)]
