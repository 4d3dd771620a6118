"""Checks: whether a process can serve, and what an operator must know.

A check returns what is wrong in one sentence, or None, within a second. A vital one that fails makes the process unready, any
other degraded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import asyncpg

PATIENCE_SECONDS: Final = 1.0


class Check(NamedTuple):
    """A condition for the process to serve (vital), or to serve well."""

    name: str
    vital: bool
    ask: Callable[[], Awaitable[str | None]]


def database_check(database: "asyncpg.Pool[asyncpg.Record]") -> Check:
    """Return the check that PostgreSQL answers."""

    async def ask() -> str | None:
        await database.fetchval("select 1")
        return None

    return Check("database", True, ask)


async def ask_all(checks: Sequence[Check]) -> tuple[list[str], list[str]]:
    """Ask all checks at once; return the failures of vital ones, and those of others."""
    found = await asyncio.gather(*map(_ask, checks))
    wrong = [(check.vital, f"{check.name}: {reason}") for check, reason in zip(checks, found, strict=True) if reason]
    return [reason for vital, reason in wrong if vital], [reason for vital, reason in wrong if not vital]


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await check.ask()
    except TimeoutError:
        return f"no answer within {PATIENCE_SECONDS:g} s"
    except Exception as error:  # a check that fails is an answer
        return type(error).__name__
