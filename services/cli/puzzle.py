"""`ballotpress puzzle on|off|list`: have each vote on a tool cost about a second of work, while votes flood in."""

from datetime import datetime, timedelta

import rich_click as click

from services.cli.database import asynchronous, connected, operator_of, submit
from services.cli.options import Whole, json_option
from services.cli.terminal import show, utc
from services.embedded.start import find_settings

MOST_HOURS = 168


@click.group()
def puzzle() -> None:
    """Have each vote on a tool cost about a second of work, while votes flood in."""


@puzzle.command()
@click.argument("tool")
@click.option("--hours", type=Whole(1, MOST_HOURS), default=1, help="For how long; it ends by itself.  [default: 1]")
@json_option
@asynchronous
async def on(tool: str, hours: int, as_json: bool) -> None:
    """Switch the puzzle of TOOL (a slug) on. Browsers solve it by themselves; programs are told how."""
    from services.clock import now

    until = now() + timedelta(hours=hours)
    await _switch(tool, until)
    show(as_json, {"tool": tool, "until": until}, f"Each vote on {tool} brings its work along until {utc(until)}")


@puzzle.command()
@click.argument("tool")
@json_option
@asynchronous
async def off(tool: str, as_json: bool) -> None:
    """Switch the puzzle of TOOL (a slug) off."""
    await _switch(tool, None)
    show(as_json, {"tool": tool, "until": None}, f"Votes on {tool} are taken as they come")


@puzzle.command("list")
@json_option
@asynchronous
async def list_(as_json: bool) -> None:
    """List the tools whose votes bring work along, the first to end first."""
    settings = find_settings()
    from projections import tools
    from services.integrity.puzzle import read_switched

    async with connected(settings, seconds=60) as connection:
        switched = await read_switched(connection)
        slugs = await tools.slugs(connection, [one.tool for one in switched])
    found = [{"tool": slugs.get(one.tool, one.tool), "until": one.until, "by": one.by} for one in switched]
    lines = [f"{slugs.get(one.tool, one.tool)} until {utc(one.until)}, by {one.by}" for one in switched]
    show(as_json, {"tools": found}, *(lines or ["No tool has a puzzle: every vote is taken as it comes"]))


async def _switch(tool: str, until: datetime | None) -> None:
    settings = find_settings()
    from events.commands.puzzles import SwitchPuzzle

    await submit(settings, SwitchPuzzle(tool, until, operator_of(settings)))
