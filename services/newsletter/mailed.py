"""The checkpoint of the public log that an issue carries: all its readers hold the same signed note of what the issue counts.

It is chosen once, when the issue is planned, and kept for ever. An issue that no checkpoint covers in time goes without.
"""

import asyncio
import logging
from time import monotonic
from typing import Final

from services.newsletter.ledger import Database
from services.proof import published
from services.proof.checkpoint import Checkpoint, read_text
from services.proof.note import read_note

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25
_MISSING: Final = """
select count(*) from newsletter.issues i
where i.checkpoint is null and i.planned_at > now() - interval '7 days'
  and i.planned_at > (select min(l.began_at) from proof.log l)
"""


async def choose(database: Database, number: int, to_position: int) -> str | None:
    """Return the note of the newest published checkpoint that covers an issue; None, with an alarm, if none does in 10 s.

    A log that was never signed is not waited for.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    newest = await published.newest(database)
    while newest is not None and newest.size < to_position and monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        newest = await published.newest(database)
    if newest is None or newest.size < to_position:
        logger.error("issue %d goes without a checkpoint: no published one covers position %d", number, to_position)
        return None
    await published.keep(database, newest, f"issue {number}")
    return newest.note


async def missing(database: Database) -> int:
    """Return how many issues of the last week went without a checkpoint, though the log had been signed before."""
    found: int = await database.fetchval(_MISSING)
    return found


def read(note: str) -> Checkpoint:
    """Return the checkpoint that an issue's note spells."""
    return read_text(read_note(note.encode()))
