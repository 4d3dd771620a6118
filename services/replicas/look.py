"""Look at a replica, and at the server that it follows: what is in step with what.

How far each is, is compared in bytes of the server's log of changes (WAL), which orders all that a reader could see. Whether
both have one history is asked of our own log: the last event of a replica must be one of the primary's.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from events.log import postgres, wal
from events.log.history import Mark
from events.log.reads import Reads

READS: Final = "ballotpress-reads"
"""What the server lists the looking session of a process as while it reads there, and otherwise."""
LOOKS: Final = "ballotpress-looks"

# A process keeps one such session, so their number is that of the processes that read there.
_REPLICA: Final = f"""
select set_config('application_name', $1, false) as name, pg_is_in_recovery() as follows, s.system_identifier as system,
       pg_postmaster_start_time() as started, {wal.REPLAYED} as replayed,
       pg_last_xact_replay_timestamp() as committed, h.position, e.recorded_at, e.stream,
       (select count(*) from pg_stat_activity where application_name = '{READS}') as readers
from pg_control_system() s cross join log.head h left join lateral log.at_position(h.position) e on true
"""  # noqa: S608 - made of our own names
_PRIMARY: Final = f"""
select s.system_identifier as system, pg_postmaster_start_time() as started,
       {wal.WRITTEN} as written, h.position, clock_timestamp() as at
from pg_control_system() s cross join log.head h
"""  # noqa: S608 - made of our own names

# What views have committed lies in memory for up to half a second before it is sent to anybody: this has it written now.
_HAND_ON: Final = "select (pg_logical_emit_message(true, 'ballotpress', '') - '0/0'::pg_lsn)::bigint, position from log.head"
REPLAYED: Final = f"select {wal.REPLAYED}"
HEAD: Final = "select position from log.head"


class AtReplica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica at one moment: how far it has replayed, when that was committed, and its log's last event.

    `follows` is false of a server that takes writes itself.
    """

    follows: bool
    system: int
    started: datetime
    replayed: int
    committed: datetime | None
    position: int
    mark: Mark | None
    readers: int


class AtPrimary(msgspec.Struct, frozen=True):
    """The server that takes writes at one moment of its clock: how much it has written, and the position of the log's head."""

    system: int
    started: datetime
    written: int
    position: int
    at: datetime


async def at_replica(connection: Reads, name: str) -> AtReplica:
    """Look at a replica; the server lists the session as `name` from now on."""
    row = await connection.fetchrow(_REPLICA, name)
    at: datetime | None = row["recorded_at"]
    stream: UUID | None = row["stream"]
    mark = None if at is None or stream is None else Mark(row["position"], at, stream)
    plain = ("follows", "system", "started", "replayed", "committed", "position", "readers")
    return AtReplica(**{name: row[name] for name in plain}, mark=mark)


async def at_primary(connection: Reads) -> AtPrimary:
    """Look at the server that takes writes. Raises ObjectNotInPrerequisiteStateError at one that takes none."""
    return AtPrimary(*await connection.fetchrow(_PRIMARY))


async def hand_on(connection: Reads) -> tuple[int, int]:
    """Have all that was to be seen before written, and return how much that is and the position of the log's head."""
    written, position = await connection.fetchrow(_HAND_ON)
    return written, position


def quiet_seconds(replica: AtReplica, primary: AtPrimary) -> float:
    """Return for how long a replica has got nothing. Both times are the primary's: clocks of two machines may differ."""
    return 0.0 if replica.committed is None else max(0.0, (primary.at - replica.committed).total_seconds())


def lacks(replica: AtReplica, primary: AtPrimary | None) -> bool:
    """Tell whether a server has fewer events than the primary had, though its log of changes is as long.

    Then that is another one: an old primary that follows without `pg_rewind`, or a replica of a server that was promoted.
    """
    return primary is not None and replica.replayed >= primary.written and replica.position < primary.position


def is_ahead(replica: AtReplica, primary: AtPrimary) -> bool:
    """Tell whether a server has changes that the primary, looked at afterwards, never wrote: then they are another one's."""
    return replica.follows and replica.replayed > primary.written


def why_apart(replica: AtReplica, primary: AtPrimary | None) -> str | None:
    """Return why a server can't be read from as a replica of the primary, however far it is; None if it can.

    While there is no primary to compare with any server counts as right: one that was promoted will be the next.
    """
    if primary is None:
        return None
    if replica.system != primary.system:
        return "it is no replica of the server that DATABASE_URL names"
    if replica.follows:
        return None
    if replica.started == primary.started:
        return IS_PRIMARY
    return "it was promoted: it takes writes beside the server that DATABASE_URL names"


IS_PRIMARY: Final = "it is the server that takes writes"
"""Why a primary among the hosts isn't read from as a replica. Nothing is wrong: it is read from when no replica is in step."""

POOLER: Final = "a pooler such as pgbouncer stands before it: name the server itself"


def said(error: BaseException) -> str:
    """Return why a server couldn't be looked at, in words."""
    if isinstance(error, TimeoutError):
        return "it doesn't answer"
    if isinstance(error, postgres.PoolerBetween):
        return POOLER
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError | asyncpg.InvalidCatalogNameError):
        return "it has no database of ours yet"
    if isinstance(error, asyncpg.CannotConnectNowError):
        return "it is starting, or not yet fit to be read from"
    if isinstance(error, (*postgres.SESSION_ENDED, OSError)):
        return "it can't be reached"
    return f"it refuses: {_first_line(error)}"


def _first_line(error: Any) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
