"""What commands share: an event loop, a connection to the site's database, and a committer for its log."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from services.operator_settings import shell_name
from services.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.command import Command, Receipt
    from events.log.committer import Committer

P = ParamSpec("P")
V = TypeVar("V")

PATIENCE: Final = 30.0
"""Seconds that a command of the log may take; an operator waits longer than a voter."""


def operator_of(settings: Settings) -> str:
    """Return the operator's name in the log: `shell`, with the name that whoever is there chose; nobody vouches for it."""
    return shell_name(settings.person)


def asynchronous(command: Callable[P, Coroutine[Any, Any, V]]) -> Callable[P, V]:
    """Return a function that runs a command's coroutine in an event loop of its own."""

    @functools.wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> V:
        return asyncio.run(_interruptible(command(*args, **options)))

    return run


async def _interruptible(running: Coroutine[Any, Any, V]) -> V:
    """Return what a coroutine returns. Ctrl-C ends it even if asyncpg loses the cancellation (`events.log.tasks`)."""
    from events.log.tasks import end

    task = asyncio.create_task(running)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await end(task)
        raise
    return task.result()


@contextlib.asynccontextmanager
async def connected(settings: Settings, seconds: float | None = None) -> "AsyncIterator[Connection[Any]]":
    """Open a connection. A statement that takes longer than `seconds` raises TimeoutError."""
    from events.log import postgres

    connection = await postgres.connect(settings.database_url, "shell", seconds=seconds)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


def committer_of(settings: Settings) -> "Committer":
    """Return a committer for this site's log, for the caller to enter."""
    from events.log.committer import Committer
    from events.registry import REGISTRY

    return Committer(settings.database_url, REGISTRY, patience=PATIENCE)


async def submit(settings: Settings, command: "Command[V]") -> "Receipt[V]":
    """Submit a command and return its receipt. Raises what the command's rule raises, and LogUnavailable."""
    async with committer_of(settings) as committer:
        return await committer.submit(command)
