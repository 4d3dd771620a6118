"""A newsroom whose sender marks mails, and a ledger that goes back."""

from collections import Counter
from pathlib import Path

from services.newsletter.sent_marks import SentMarks
from tests.support.newsroom import Newsroom


def mark_in(room: Newsroom, folder: Path | None) -> None:
    """Let the newsroom's sender be that of a worker that has just begun, with marks in a folder."""
    room.sender = room.new_sender(marks=SentMarks(folder))


async def go_back(room: Newsroom, number: int) -> None:
    """Take the ledger back to the moment when an issue was planned."""
    await room.database.execute(
        "update newsletter.mails set state = 'pending', reason = null, claim = null, claims = 0, attempts = 0,"
        " settled_at = null where issue = $1",
        number,
    )
    await room.database.execute("update newsletter.issues set state = 'planned', settled_at = null where number = $1", number)


async def lose_issues(room: Newsroom) -> None:
    """Take the ledger back to the time before its issues were compiled."""
    for rows in ("mails where issue > 0", "issues", "periods"):
        await room.database.execute(f"delete from newsletter.{rows}")  # noqa: S608 - constants


def got(room: Newsroom) -> Counter[str]:
    """Count the digests that each address got."""
    return Counter(recipient for recipient, message in room.sink.mails if b"List-Id" in message)
