"""Remember outside the database where its log stands: who starts after a restore notices that the log went back.

The last mark is kept in Valkey and in the home folder, if that exists; the furthest counts. Another log than the one it was
taken from, which the first event tells, is not held to it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import UUID

from asyncpg import Pool
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events.log import history, postgres
from events.log.history import Mark
from services.private_files import write_private

logger = logging.getLogger(__name__)

FILE: Final = "log-mark"
KEY: Final = "ballotpress:log"
KEEP_EVERY: Final = 1.0
"""Seconds."""


async def _nothing() -> None:
    pass


class LogWatch:
    """One process's memory of the log, and of the mark that it keeps outside the database."""

    def __init__(
        self,
        database: "Pool[Any]",
        valkey: Redis,
        home: Path,
        forgotten: Callable[[], Awaitable[None]] = _nothing,
        went_back: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """Calls `forgotten` at first if nothing was kept of a log that has events, and `went_back` whenever the log did."""
        self._database = database
        self._forgotten = forgotten
        self._went_back = went_back
        self._valkey = valkey
        self._file = home / FILE
        self._has_begun = False
        self._first: Mark | None = None
        self._known: Mark | None = None
        self._kept: Mark | None = None
        self._next_keep = 0.0

    async def look(self) -> None:
        """Note that the log went back if it did, and remember its head. Raises the database's errors."""
        if not self._has_begun:
            if unsafe := [row["name"] for row in await self._database.fetch(postgres.UNSAFE)]:
                logger.warning("%s off in PostgreSQL: a power cut may lose what was acknowledged", " and ".join(unsafe))
            self._known = await self._recall()
            if self._known is None and await history.mark_of_head(self._database) is not None:
                await self._forgotten()
            self._has_begun = True
        if self._known is not None and not await history.holds(self._database, self._known):
            await history.note(self._database, self._known, "the worker")
            await self._went_back()
            self._first = None
        self._known = await history.mark_of_head(self._database)
        if self._known != self._kept and monotonic() >= self._next_keep:
            self._next_keep = monotonic() + KEEP_EVERY
            await self._keep(self._known)

    async def _recall(self) -> Mark | None:
        """Return the furthest mark that was kept of this log; None if there is none."""
        first = await history.mark_at(self._database, 1)
        lines = []
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines.append(self._file.read_text())
        if first is not None:
            with contextlib.suppress(RedisError, OSError):
                lines.append((await self._valkey.get(_key(first)) or b"").decode())
        kept = [both for line in lines if (both := _read(line)) is not None and first in (None, both[0])]
        return max((mark for _, mark in kept), key=lambda mark: mark.position, default=None)

    async def _keep(self, mark: Mark | None) -> None:
        """Write the mark to both places; one that can't be written is left as it is."""
        if mark is None:
            return
        self._first = self._first or await history.mark_at(self._database, 1)
        if self._first is None:
            return
        line = f"{_line(self._first)} {_line(mark)}\n"
        with contextlib.suppress(RedisError, OSError):
            await self._valkey.set(_key(self._first), line)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(write_private, self._file, line)
        self._kept = mark


def _key(first: Mark) -> str:
    return f"{KEY}:{first.stream.hex}:{first.recorded_at.timestamp():.6f}"


def _line(mark: Mark) -> str:
    return f"{mark.position} {mark.recorded_at.isoformat()} {mark.stream}"


def _read(line: str) -> tuple[Mark, Mark] | None:
    """Return the first event's mark and the last one's; None if the line says nothing of the kind."""
    try:
        a, b, c, d, e, f = line.split()
        first, last = Mark(int(a), datetime.fromisoformat(b), UUID(c)), Mark(int(d), datetime.fromisoformat(e), UUID(f))
    except ValueError:
        return None
    return first, last
