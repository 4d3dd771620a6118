"""Sessions at PostgreSQL are ended by whoever opened them, whenever that is cancelled."""

import ast
import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from events.log import postgres
from events.log.tasks import end
from events.registry import REGISTRY
from projections.engine import snapshot
from projections.engine.projection import connect_patiently
from projections.registry import PROJECTIONS
from tests.support.runners import until

ROOT = Path(__file__).parents[2]
ROOMS = ("services", "events", "projections", "emails")
OPENERS = ("connect", "connect_patiently", "connect_large", "connect_appender")
Opens: TypeAlias = Callable[[str], Awaitable[None]]

STEP_SECONDS = 0.000_5
STEPS = 40
"""Enough that the last is cancelled after its session is open, on a machine that isn't busy."""

OPEN = """
select pid from pg_stat_activity
where datname = current_database() and application_name like 'ballotpress-%' and pid <> all($1::integer[])
"""


async def open_plainly(dsn: str) -> None:
    """Open a session, and end it."""
    (await postgres.connect(dsn, "tried")).terminate()


async def open_patiently(dsn: str) -> None:
    """Open a session of a rebuild, and end it."""
    (await connect_patiently(dsn, PROJECTIONS[0].schema)).terminate()


async def open_snapshot(dsn: str) -> None:
    """Open what an issue is compiled from, and leave it."""
    async with snapshot.live(dsn, PROJECTIONS[:1], REGISTRY):
        pass


@pytest.mark.parametrize("opens", [open_plainly, open_patiently, open_snapshot])
async def test_a_cancelled_opening_leaves_no_session(
    dsn: str, connection: Any, opens: Callable[[str], Awaitable[None]]
) -> None:
    """Whoever is cancelled while it opens a session, at any moment, leaves none open."""
    others = [row["pid"] for row in await connection.fetch(OPEN, [])]

    async def none_is_left() -> bool:
        return not await connection.fetch(OPEN, others)

    for step in range(STEPS):
        task = asyncio.ensure_future(opens(dsn))
        await asyncio.sleep(step * STEP_SECONDS)
        await end(task)
    await until(none_is_left)


def opened(body: list[ast.stmt], after: "ast.stmt | None" = None) -> Iterator[tuple[int, "ast.stmt | None"]]:
    """Yield the line of each statement that opens a session into a name, and what comes next."""
    for one, following in itertools.zip_longest(body, body[1:], fillvalue=after):
        if opens_into_name(one):
            yield one.lineno, following
        for block in blocks(one):
            yield from opened(block, following if isinstance(one, ast.Try) else None)


def opens_into_name(statement: ast.stmt) -> bool:
    """Return whether a statement is `name = await connect(…)`, or the like."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=ast.Await(value=ast.Call(func=function))):
            return getattr(function, "attr", getattr(function, "id", "")) in OPENERS
    return False


def blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Return the blocks of statements within one."""
    handlers: list[ast.ExceptHandler] = getattr(statement, "handlers", [])
    return [*(getattr(statement, field, []) for field in ("body", "orelse", "finalbody")), *(one.body for one in handlers)]


def guards(statement: "ast.stmt | None") -> bool:
    """Return whether a statement sees to a session's end: a `try`, or the end itself."""
    return isinstance(statement, ast.Try) or (
        isinstance(statement, ast.Expr) and ast.unparse(statement) in ("await connection.close()", "connection.terminate()")
    )


def test_an_opened_session_is_guarded_at_once() -> None:
    """What opens a session is followed by the `try` that ends it: in between nothing can fail or be cancelled."""
    found = [
        (file.relative_to(ROOT), line, following)
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        for line, following in opened(ast.parse(file.read_text()).body)
    ]
    assert len(found) > len(ROOMS)
    assert [f"{file}:{line}" for file, line, following in found if not guards(following)] == []
