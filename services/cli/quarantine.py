"""`ballotpress quarantine list|drop`: show where a projection has halted, and let it pass over one event."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import rich_click as click

from services.cli.database import asynchronous, connected, operator_of, submit
from services.cli.options import Reason, Whole, json_option
from services.cli.terminal import show, utc
from services.embedded.start import find_settings
from services.settings import Settings

READ_EVENT = """
select type, schema_version, data from log.recorded_events where position = $1
"""


class Halted(msgspec.Struct, frozen=True):
    """A halted projection and the event there; `type`, `schema_version` and `data` are None if the position has no event."""

    projection: str
    position: int
    error: str
    since: datetime
    type: str | None
    schema_version: int | None
    data: msgspec.Raw | None


@click.group()
def quarantine() -> None:
    """Show where a view has halted, and let it pass over an event."""


@quarantine.command("list")
@json_option
@asynchronous
async def list_(as_json: bool) -> None:
    """List the views that have halted, each with its position, its error and the event there."""
    halted = await _halted(find_settings())
    show(as_json, {"halted": halted}, *(map(_text, halted) if halted else ["No view has halted"]))


@quarantine.command()
@click.argument("position", type=Whole(1, 2**63 - 1))
@click.option("--reason", required=True, type=Reason(), help="Why, in one line. The log keeps it.")
@json_option
@asynchronous
async def drop(position: int, reason: str, as_json: bool) -> None:
    """Let each view that has halted at POSITION pass over the event there, now and in every rebuild.

    The tree over the public log (`proof`) has a leaf for every event, so it can pass over none.
    """
    settings = find_settings()
    from events.commands.quarantine import DropEvent
    from events.quarantine import can_pass

    halted = [one.projection for one in await _halted(settings) if one.position == position]
    projections = can_pass(halted)
    receipt = await submit(settings, DropEvent(projections, position, reason, operator_of(settings)))
    said = [f"{', '.join(projections)} will pass over position {position}"]
    if stay := [one for one in halted if one not in projections]:
        said.append(f"{', '.join(stay)} stays halted there: it passes over nothing, so run a release that knows the event")
    show(as_json, {"projections": projections, "appended": receipt.appended}, *said)


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
