"""`ballotpress quarantine list|drop`: where a projection has halted, and letting it pass one event."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import rich_click as click

from services.cli.database import OPERATOR, connected, submit
from services.cli.options import Reason, json_option
from services.cli.terminal import show, utc
from services.embedded.start import find_settings
from services.settings import Settings

READ_EVENT = """
select type, schema_version, data from log.recorded_events where position = $1
"""


class Halted(msgspec.Struct, frozen=True):
    """A halted projection and the event there; without an event (a hole), `type` and `data` are None."""

    projection: str
    position: int
    error: str
    since: datetime
    type: str | None
    schema_version: int | None
    data: msgspec.Raw | None


@click.group()
def quarantine() -> None:
    """See where a projection has halted; let it pass an event."""


@quarantine.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the projections that have halted, each with its position, error and the event there."""
    halted = asyncio.run(_halted(find_settings()))
    show(as_json, {"halted": halted}, *(map(_text, halted) if halted else ["No projection has halted"]))


@quarantine.command()
@click.argument("position", type=click.IntRange(1, 2**63 - 1))
@click.option("--reason", required=True, type=Reason(), help="Why; it is kept in the log.")
@json_option
def drop(position: int, reason: str, as_json: bool) -> None:
    """Let each projection that has halted at POSITION pass the event there, now and in every rebuild."""
    projections, appended = asyncio.run(_drop(find_settings(), position, reason))
    said = f"{', '.join(projections)} will pass over position {position}"
    show(as_json, {"projections": projections, "appended": appended}, said)


def _text(halted: Halted) -> str:
    event = "no event"
    if halted.data is not None:
        event = f"{halted.type} version {halted.schema_version} {bytes(halted.data).decode()}"
    since = utc(halted.since)
    return f"{halted.projection} halted at position {halted.position}, {since}\n  {halted.error}\n  there: {event}"


async def _halted(settings: Settings) -> Sequence[Halted]:
    from services.status.views import read_present_views

    async with connected(settings, seconds=60) as connection:
        halts = [(view.name, view.halt) for view in await read_present_views(connection) if view.halt is not None]
        events = {halt.position: await connection.fetchrow(READ_EVENT, halt.position) for _, halt in halts}
    return [Halted(name, h.position, h.error, h.since, *_event(events[h.position])) for name, h in halts]


def _event(row: Any) -> tuple[str | None, int | None, msgspec.Raw | None]:
    return (None, None, None) if row is None else (row["type"], row["schema_version"], msgspec.Raw(row["data"].encode()))


async def _drop(settings: Settings, position: int, reason: str) -> tuple[list[str], int]:
    from events.commands.quarantine import DropEvent

    halted = [one.projection for one in await _halted(settings) if one.position == position]
    receipt = await submit(settings, DropEvent(halted, position, reason, OPERATOR))
    return halted, receipt.appended
