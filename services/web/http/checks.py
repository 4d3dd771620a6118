"""Checks: whether a process can serve, and what an operator must know.

A check returns what is wrong in one sentence, or None, within a second. A vital one that fails makes the process unready, any
other degraded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple

from events.log.primary import NoPrimary
from events.log.reads import Reads
from services.web.http.problems import LACKING

PATIENCE_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 1.0


class Check(NamedTuple):
    """A condition for the process to serve (vital), or to serve well."""

    name: str
    vital: bool
    ask: Callable[[], Awaitable[str | None]]


def database_check(database: Reads) -> Check:
    """Return the check that PostgreSQL answers."""

    async def ask() -> str | None:
        await database.fetchval("select 1")
        return None

    return Check("database", True, ask)


class Look(NamedTuple):
    """What failed when the checks were asked: vital ones, and others."""

    vital: Sequence[str]
    other: Sequence[str]


class Checks:
    """The checks of a process, asked for all callers together: one look serves all within a second of its end."""

    def __init__(self) -> None:
        self._all: list[Check] = []
        self._looking: asyncio.Task[Look] | None = None
        self._looked = 0.0

    def add(self, *checks: Check) -> None:
        """Ask these too, from the next look on."""
        self._all += checks

    async def look(self) -> Look:
        """Return what was found at most a second ago; who comes while a look is under way waits for it."""
        if self._looking is None or (self._looking.done() and monotonic() - self._looked > FRESH_SECONDS):
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)  # the others wait on when one caller hangs up

    async def _look(self) -> Look:
        try:
            return await ask_all(self._all)
        finally:
            self._looked = monotonic()


async def ask_all(checks: Sequence[Check]) -> Look:
    """Ask all checks at once, and return what failed."""
    found = list(zip(checks, await asyncio.gather(*map(_ask, checks)), strict=True))
    return Look(_said([one for one in found if one[0].vital]), _said([one for one in found if not one[0].vital]))


def _said(found: Sequence[tuple[Check, str | None]]) -> list[str]:
    """Return each reason once, behind the names of all checks that gave it."""
    names: dict[str, list[str]] = {}
    for check, reason in found:
        if reason:
            names.setdefault(reason, []).append(check.name)
    return [f"{', '.join(those)}: {reason}" for reason, those in names.items()]


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await check.ask()
    except TimeoutError:
        return f"no answer within {PATIENCE_SECONDS:g} s"
    except NoPrimary:
        return "no host of DATABASE_URL takes writes: start the primary, or name it; if it is gone for good, promote a standby"
    except LACKING:
        return "the database lacks what this needs; run `ballotpress migrate`"
    except Exception as error:  # a check that fails is an answer
        return type(error).__name__
