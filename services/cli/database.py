"""What commands need of the site's database: a connection, or a committer for one command of the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.command import Command, Receipt
    from events.log.committer import Committer

V = TypeVar("V")

OPERATOR: Final = "shell"
"""The operator's name in the log; a shell knows no name that anyone vouches for."""
PATIENCE: Final = 30.0
"""Seconds; an operator's command may take longer than a vote."""


@contextlib.asynccontextmanager
async def connected(settings: Settings, seconds: float | None = None) -> "AsyncIterator[Connection[Any]]":
    """Open a connection; a statement that takes longer than `seconds` raises TimeoutError."""
    from events.log import postgres

    connection = await postgres.connect(settings.database_url, "shell", seconds=seconds)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


def on_database(settings: Settings, work: "Callable[[Connection[Any]], Awaitable[V]]") -> V:
    """Run some work on a connection, and return its result."""

    async def run() -> V:
        async with connected(settings) as connection:
            return await work(connection)

    return asyncio.run(run())


def committer_of(settings: Settings) -> "Committer":
    """Return a committer for this site's log; it is to be entered."""
    from events.log.committer import Committer
    from events.registry import REGISTRY

    return Committer(settings.database_url, REGISTRY, patience=PATIENCE)


async def submit(settings: Settings, command: "Command[V]") -> "Receipt[V]":
    """Submit a command and return its receipt. Raises what the command's rule raises, and LogUnavailable."""
    async with committer_of(settings) as committer:
        return await committer.submit(command)
