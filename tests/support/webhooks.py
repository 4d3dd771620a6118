"""Pasts of a log that webhooks tell of, and what they say."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from events import ballots
from events.ballots import VoteCast
from events.log import ids
from events.log.event import Event
from events.log.vault import Vault
from services.webhooks import messages, spans
from services.webhooks.messages import Message
from tests.support.catalogs import new_id
from tests.support.log import record_at, tool_added
from tests.support.runners import catch_up_all
from tests.support.settings import VAULT_KEY

VAULT = Vault([VAULT_KEY])
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN = timedelta(seconds=spans.SECONDS)
Connection: TypeAlias = "asyncpg.Connection[Any]"
Past = list[tuple[datetime, UUID, Event]]


async def told(connection: Connection, after: int = 0) -> list[Message]:
    """Return all messages of the log above a position."""
    closed = await spans.closed(connection)
    found: list[Message] = []
    while (window := await spans.window_after(connection, after, closed)) is not None:
        planned = [one for one in await messages.plan(connection, window) if one.position > after]
        found += [message for message in await messages.write(connection, planned) if message is not None]
        after = window.until
    return found


def said(message: Message) -> dict[str, Any]:
    """Return what a message says."""
    body: dict[str, Any] = msgspec.json.decode(message.body)
    return body


def a_tool(past: Past, slug: str, at: datetime = START) -> str:
    """Add a tool to a past, and return its id."""
    tool = new_id()
    past.append((at, ids.stream_of(tool), tool_added(tool, slug)))
    return tool


def a_vote(past: Past, at: datetime, tool: str, choice: Any) -> str:
    """Add a new voter's vote to a past, and return the voter."""
    voter = new_id()
    past.append((at, ballots.stream(voter, tool), VoteCast(voter=voter, tool=tool, choice=choice)))
    return voter


async def happen(dsn: str, connection: Connection, past: Past) -> None:
    """Let a past have happened, and the views know it."""
    await record_at(connection, past)
    await catch_up_all(dsn)
