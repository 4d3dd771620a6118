"""`ballotpress quarantine list|drop`: where a projection has halted, and letting it pass one event."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import rich_click as click

from services.cli.options import Reason
from services.embedded.start import find_settings
from services.settings import Settings

READ_EVENT = """
select type, schema_version, data from log.recorded_events where position = $1
"""


class Halted(msgspec.Struct, frozen=True):
    """A projection that cannot go on, and the event there; without one (a hole), `type` and `data` are None."""

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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the projections that have halted, each with its position, error and the event there."""
    settings = find_settings()
    from services.cli.terminal import print_json, utc

    halted = asyncio.run(_halted(settings))
    if as_json:
        print_json({"halted": halted})
        return
    for one in halted:
        click.echo(f"{one.projection} halted at position {one.position}, {utc(one.since)}\n  {one.error}")
        event = "no event" if one.data is None else f"{one.type} version {one.schema_version} {bytes(one.data).decode()}"
        click.echo(f"  there: {event}")
    if not halted:
        click.echo("No projection has halted")


@quarantine.command()
@click.argument("position", type=click.IntRange(1, 2**63 - 1))
@click.option("--reason", required=True, type=Reason(), help="Why; it is kept in the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def drop(position: int, reason: str, as_json: bool) -> None:
    """Let each projection that has halted at POSITION pass the event there, now and in every rebuild."""
    settings = find_settings()
    from services.cli.terminal import print_json

    projections, appended = asyncio.run(_dropped(settings, position, reason))
    if as_json:
        print_json({"projections": projections, "appended": appended})
    else:
        click.echo(f"{', '.join(projections)} will pass over position {position}")


async def _halted(settings: Settings) -> Sequence[Halted]:
    from events.log import postgres
    from services.status.read import read_views

    connection = await postgres.connect(settings.database_url, "shell", seconds=60)
    try:
        halts = [(view.name, view.halt) for view in await read_views(connection) if view.halt is not None]
        events = {halt.position: await connection.fetchrow(READ_EVENT, halt.position) for _, halt in halts}
    finally:
        await connection.close()
    return [Halted(name, h.position, h.error, h.since, *_event(events[h.position])) for name, h in halts]


def _event(row: Any) -> tuple[str | None, int | None, msgspec.Raw | None]:
    return (None, None, None) if row is None else (row["type"], row["schema_version"], msgspec.Raw(row["data"].encode()))


async def _dropped(settings: Settings, position: int, reason: str) -> tuple[list[str], int]:
    from events.commands.quarantine import DropEvent
    from services.submit import OPERATOR, submit

    halted = [one.projection for one in await _halted(settings) if one.position == position]
    receipt = await submit(settings, DropEvent(halted, position, reason, OPERATOR))
    return halted, receipt.appended
