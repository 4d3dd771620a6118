"""The newest checkpoint that anybody may be shown: stored, remembered outside the database, cosigned as the policy asks."""

from collections.abc import Sequence
from typing import Final

import msgspec

from events.log.reads import Reads
from services.proof.checkpoint import Checkpoint
from services.proof.store import Database

CHANNEL: Final = "ballotpress_proof"
"""What is rung after a publication; only a hint."""

# The lines of witnesses stand below our own signatures.
_READ: Final = """
select l.log, l.origin, l.vkeys[1] as vkey, l.common, c.size, c.root, c.note || coalesce((
    select string_agg(s.line || E'\\n', '' order by s.witness)
    from proof.cosignatures s where s.log = c.log and s.size = c.size), '') as note,
    (select count(*) from log.rewinds) as rewinds
from proof.log l join proof.checkpoints c on c.log = l.log and c.size = l.published_size
order by l.log
"""
_KEEP: Final = """
insert into proof.kept (log, size, why) select l.log, $2, $3 from proof.log l where l.origin = $1 on conflict do nothing
"""


class Published(msgspec.Struct, frozen=True):
    """What is published of a log: its number, its newest checkpoint and its newest key.

    Of a log that was given up, `common` is how much of it the next begins with. `rewinds` counts how often the log went back.
    """

    log: int
    checkpoint: Checkpoint
    vkey: str
    common: int | None
    rewinds: int = 0


async def read(database: Reads) -> Sequence[Published]:
    """Return what is published of each log; the last is the present one."""
    return [
        Published(
            row["log"],
            Checkpoint(row["origin"], row["size"], row["root"], row["note"]),
            row["vkey"],
            row["common"],
            row["rewinds"],
        )
        for row in await database.fetch(_READ)
    ]


async def newest(database: Database) -> Checkpoint | None:
    """Return the published checkpoint of the present log; None before the first."""
    found = await read(database)
    return found[-1].checkpoint if found else None


async def keep(database: Database, checkpoint: Checkpoint, why: str) -> None:
    """Let a checkpoint stay for ever, because somebody has a copy: `why` names it, such as `issue 12`."""
    await database.execute(_KEEP, checkpoint.origin, checkpoint.size, why)
