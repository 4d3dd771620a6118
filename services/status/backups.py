"""How old the last backup of this database is, and how far behind the archive of its WAL.

A server elsewhere has no such archive, and says nothing of backups that other programs make.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from asyncpg import Connection, Pool

from services.sizes import size

SINCE: Final = 44
"""The migration from which on there is a table of backups."""
SLOT: Final = "ballotpress_archive"
"""The replication slot that keeps the WAL which the archive hasn't got."""
OLD: Final = timedelta(days=8)
BEHIND: Final = 4 * 16 * 2**20
"""Bytes of WAL that the archive may lack for a moment."""

READ: Final = """
select b.finished_at, b.name, b.position, extract(epoch from now() - b.finished_at)::float8 as age_seconds,
       s.slot_name is not null as has_archive, coalesce(s.active, false) as is_archiving,
       case when s.slot_name is null or pg_is_in_recovery() then 0
            else greatest(0, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), coalesce(r.flush_lsn, s.restart_lsn)))
       end::bigint as behind
from (select) one
left join lateral (select * from status.backups order by finished_at desc limit 1) b on true
left join pg_replication_slots s on s.slot_name = $1
left join pg_stat_replication r on r.pid = s.active_pid
"""


class Backups(msgspec.Struct, frozen=True, kw_only=True):
    """The last backup, if there is any, and the archive: whether it is kept, goes on, and by how many bytes it is behind."""

    finished_at: datetime | None
    name: str | None
    position: int | None
    age_seconds: float | None
    has_archive: bool
    is_archiving: bool
    behind: int

    @property
    def said(self) -> str:
        """It in a line."""
        last = "none yet" if self.name is None else f"{self.name}, {_age(self.age_seconds or 0)} old, position {self.position}"
        if not self.has_archive:
            return f"{last}; no archive of WAL"
        return f"{last}; archive {'stands still, ' if not self.is_archiving else ''}{size(self.behind)} behind"

    def wrong(self) -> tuple[str, str] | None:
        """Return what is wrong and what to do about it; None if nothing is."""
        if self.has_archive and (not self.is_archiving or self.behind > BEHIND):
            what = f"The archive of WAL is {size(self.behind)} behind" + ("" if self.is_archiving else " and stands still")
            return what, "see archive.log in the home folder: is its disk full, or away? PostgreSQL keeps the rest meanwhile"
        if self.has_archive and self.name is None:
            return (
                "The archive of WAL has no backup to start from",
                "run `ballotpress backup` into the folder of `up --archive`",
            )
        if self.age_seconds is not None and self.age_seconds > OLD.total_seconds():
            return f"The last backup is {_age(self.age_seconds)} old", "run `ballotpress backup DIR`, each day best"
        return None


async def read_backups(database: "Connection[Any] | Pool[Any]") -> Backups | None:
    """Return how backups stand; None for a database that neither has any nor an archive."""
    row = await database.fetchrow(READ, SLOT)
    return None if row is None or (row["name"] is None and not row["has_archive"]) else Backups(**row)


def _age(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds > 2 * 86400 else f"{seconds / 3600:.1f} hours"
