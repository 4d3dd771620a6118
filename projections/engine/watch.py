"""The watch for drift: a view's tables are compared with the log now and then, a part at a time, and with their totals."""

import logging
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Any

from asyncpg import Connection

from projections.engine import drift, window
from projections.engine.projection import Projection

logger = logging.getLogger(__name__)


class Watch:
    """The watch over one view, in the process that keeps it up with the log."""

    def __init__(self, projection: Projection, clock: Callable[[], datetime], look_every: float, scrub_every: float) -> None:
        self._projection = projection
        self._clock = clock
        self._look_every = look_every
        self._next_look = 0.0
        self._scrub_every = scrub_every
        self._next_scrub = 0.0
        self._wrong_part: int | None = None
        self._wrong: str | None = None

    async def look(self, connection: "Connection[Any]") -> None:
        """Compare what is due, and record any drift."""
        await self._scrub(connection)
        if monotonic() >= self._next_look:
            await self._look(connection)

    async def _scrub(self, connection: "Connection[Any]") -> None:
        """Compare a part of the tables with the log, now and then; look at once if that says something new.

        A part that was found wrong is compared again until it is right.
        """
        if self._projection.scrub is None or monotonic() < self._next_scrub:
            return
        self._next_scrub = monotonic() + self._scrub_every
        self._wrong_part, wrong = await drift.scrub(connection, self._projection.scrub, self._wrong_part)
        if wrong != self._wrong:
            self._wrong, self._next_look = wrong, 0.0

    async def _look(self, connection: "Connection[Any]") -> None:
        """Compare the tables with their totals and record any drift; takes at most one part in fifty of the time."""
        began = monotonic()
        dropped = await window.dropped_positions(connection, self._projection)
        wrong, recorded = await drift.look(connection, self._projection, dropped)
        wrong = wrong or self._wrong
        if wrong != recorded:
            await connection.execute(drift.RECORD, wrong, self._clock())
            if wrong is not None:
                logger.error("%s has drifted from the log: %s", self._projection.schema, wrong)
        ended = monotonic()
        self._next_look = ended + max(self._look_every, 50 * (ended - began))
