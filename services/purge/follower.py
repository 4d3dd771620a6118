"""Follow the log and have caches forget what it changed: at least once for each change, at most one call a second.

How far that came is a row in PostgreSQL, so a restart takes up where the last call succeeded. Any number of workers may run:
the row is leased to one. A call waits until pages show what it is about: a purge that came before would have the old page kept
anew. While calls fail they come at longer and longer intervals, and the changes meanwhile are told together.
"""

import asyncio
import logging
import os
import socket
from typing import Any, Final

from asyncpg import Connection

from events.log import postgres
from services.purge.changes import read_reached, read_tags
from services.purge.hook import PATIENCE, Hook, call
from services.purge.tags import EVERYTHING

logger = logging.getLogger(__name__)

PACE: Final = 1.0
"""Seconds between calls. No API process shows a card that was last checked longer ago, so a second later all show what came."""
LEASE: Final = 4 * PATIENCE
LONGEST_WAIT: Final = 300

_TAKE: Final = """
update purge.progress p set lease = $1, leased_until = now() + $2 * interval '1 second'
from (select count(*) as rewinds from log.rewinds) r
where (lease is null or lease = $1 or leased_until < now()) and not_before <= now()
  and (position is distinct from $3 or p.rewinds <> r.rewinds)
returning position, r.rewinds, p.rewinds <> r.rewinds as went_back
"""
_DONE: Final = """
update purge.progress
set position = $2, failures = 0, failed = null, purged_at = case when $3 then now() else purged_at end, rewinds = $4
where lease = $1
"""
_FAILED: Final = """
update purge.progress
set failures = failures + 1, failed = $2, failed_at = now(),
    not_before = now() + least(power(2, least(failures, 16)), $3) * interval '1 second'
where lease = $1
"""


async def connect(dsn: str) -> "Connection[Any]":
    """Open a connection to follow the log by: what was told is kept, so no part of it may be passed over."""
    return await postgres.connect(dsn, "purge", seconds=30, plan_cache_mode=postgres.ANEW)


class Following:
    """Has the caches of one site forget what changed."""

    def __init__(self, dsn: str, hook: Hook, pace: float = PACE) -> None:
        self._dsn = dsn
        self._hook = hook
        self._pace = pace
        self._name = f"{socket.gethostname()}:{os.getpid()}:{id(self)}"
        self._shown: int | None = None
        self._heard: int | None = None

    async def run(self) -> None:
        """Follow until cancelled; every failure is logged, and tried again."""
        while True:
            try:
                await self._follow()
            except postgres.UNAVAILABLE as error:
                logger.warning("purging waits for the database: %r", error)
            except Exception:
                logger.exception("purging failed, trying again")
            await asyncio.sleep(self._pace)

    async def _follow(self) -> None:
        connection = await connect(self._dsn)
        try:
            while True:
                await self.tick(connection)
                await asyncio.sleep(self._pace)
        finally:
            await connection.close(timeout=5)

    async def tick(self, connection: "Connection[Any]") -> None:
        """Tell what pages have shown since the last tick."""
        shown, self._shown = self._shown, await read_reached(connection)
        if shown is None or shown > self._shown:  # the log went back: nobody has shown the new positions yet
            return
        taken = await connection.fetchrow(_TAKE, self._name, LEASE, shown)
        if taken is None:  # nothing new, another worker's turn, or a failure is too recent
            return
        since = taken["position"]
        if taken["went_back"] and taken["rewinds"] != self._heard:
            self._heard = taken["rewinds"]  # pages have forgotten what is gone a tick later
            return
        if taken["went_back"]:
            tags = [EVERYTHING]
        elif since is None:
            tags = []
        else:
            tags = await read_tags(connection, since, shown)
        wrong = await call(self._hook, tags) if tags else None
        if wrong is None:
            await connection.execute(_DONE, self._name, shown, bool(tags), taken["rewinds"])
        else:
            logger.warning("a purge of %d tags failed: %s", len(tags), wrong)
            await connection.execute(_FAILED, self._name, wrong, LONGEST_WAIT)
