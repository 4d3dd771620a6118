"""How far the views are: waiting for a position, and the checks of their health."""

import asyncio
from time import monotonic
from typing import Any, Final

from asyncpg import Pool

from events.log import migrate
from services.status.views import lowest_position, read_views
from services.web.http.checks import Check

PATIENCE_SECONDS: Final = 2.0


class ViewsBehind(Exception):
    """The views have not reached the position in time."""


class ViewProgress:
    """Waits for the views, so that callers see their own writes."""

    def __init__(self, pool: "Pool[Any]") -> None:
        self._pool = pool
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Wake the callers who wait: a view has moved."""
        self._moved.set()

    async def reach(self, position: int) -> None:
        """Wait until all views have reached a position. Raises ViewsBehind after 2 s."""
        deadline = monotonic() + PATIENCE_SECONDS
        while await lowest_position(self._pool) < position:
            if monotonic() > deadline:
                raise ViewsBehind(position)
            self._moved.clear()
            try:
                async with asyncio.timeout(0.05):
                    await self._moved.wait()
            except TimeoutError:
                pass


def schema_check(pool: "Pool[Any]") -> Check:
    """Return the check that the database has this release's schema."""

    async def ask() -> str | None:
        seen, ours = await migrate.migrated(pool), migrate.current()
        return None if seen >= ours else f"the database is at migration {seen} of {ours}; run `ballotpress migrate`"

    return Check("schema", True, ask)


def view_checks(pool: "Pool[Any]") -> list[Check]:
    """Return the checks that every view was once caught up (vital), and that none has halted or drifted."""

    async def built() -> str | None:
        missing = ", ".join(state.name for state in await read_views(pool) if not state.caught_up)
        return f"{missing} not yet caught up with the log" if missing else None

    async def moving() -> str | None:
        states = await read_views(pool)
        return "; ".join(f"{state.name} halted at position {state.halt.position}" for state in states if state.halt) or None

    async def right() -> str | None:
        states = await read_views(pool)
        return "; ".join(f"{s.name} has drifted from the log: {s.drift.what}" for s in states if s.drift) or None

    return [Check("views", True, built), Check("projections", False, moving), Check("drift", False, right)]
