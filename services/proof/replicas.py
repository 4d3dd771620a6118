"""How much of the log may be signed: what the standbys have on their disks, so that a failover loses nothing signed."""

from collections import deque
from typing import Any, Final

from asyncpg import Connection

from events.log.wal import WRITTEN

HIDDEN_SECONDS: Final = 10.0
"""So old must be what is signed while there are standbys of which our role may not see how far they are."""

_READ: Final = f"""
select {WRITTEN} as written,
       (min(flush_lsn) filter (where state = 'streaming') - '0/0'::pg_lsn)::bigint as flushed,
       count(*) filter (where state is null) as hidden
from pg_stat_replication
"""  # noqa: S608 - made of our own expression


class Replicas:
    """Remembers when the view had which size, and how much had been written by then."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._seen: deque[tuple[int, int, float]] = deque()

    async def safe(self, connection: "Connection[Any]", size: int, at: float) -> int:
        """Return how much of a view of this size may be signed, at a time in seconds; 0 for nothing seen since the start."""
        row = await connection.fetchrow(_READ)
        assert row is not None  # noqa: S101 - an aggregate has one row
        flushed: int | None = row["flushed"]
        delay = max(self._delay, HIDDEN_SECONDS) if row["hidden"] else self._delay
        if flushed is None and not delay:
            self._seen.clear()
            return size
        if not self._seen or self._seen[-1][0] < size:
            self._seen.append((size, row["written"], at))
        safe = 0
        while self._seen and self._is_safe(self._seen[0], flushed, at - delay):
            safe = self._seen.popleft()[0]
        if safe:  # it may be asked for again
            self._seen.appendleft((safe, 0, float("-inf")))
        return safe

    @staticmethod
    def _is_safe(seen: tuple[int, int, float], flushed: int | None, before: float) -> bool:
        return (flushed is None or seen[1] <= flushed) and seen[2] <= before
