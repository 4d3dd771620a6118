"""`ballotpress voters void|reinstate`: take voters' ballots out of the tallies, or give them back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click
from msgspec.structs import replace

from services.cli.database import OPERATOR, connected, submit
from services.cli.options import Reason, json_option, visitors
from services.cli.terminal import counted, show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from events.log.command import Receipt
    from events.voters import CorrectionRecorded, Tally

SLUGS = """
select data->>'tool' as tool, data->>'slug' as slug
from log.recorded_events where stream = any($1::uuid[]) and version = 1
"""


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tally with its verdict; and its rank by the community's votes, if asked for and the tool is listed."""

    ship: int
    skip: int
    ship_percent: int | None
    verdict: str | None
    rank: int | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool whose tally changes."""

    slug: str
    before: Count
    after: Count


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A correction that was made or, when dry, would be; `others_moved` counts other tools whose rank changes, if asked for."""

    dry_run: bool
    action: str
    voters: int
    votes: int
    position: int | None
    tools: Sequence[Tool]
    others_moved: int | None = None


@click.group()
def voters() -> None:
    """Disqualify voters, or reinstate them."""


def _arguments(command: Callable[..., None]) -> Callable[..., None]:
    command = json_option(command)
    command = click.option("--dry-run", is_flag=True, help="Show the tallies before and after, and change nothing.")(command)
    command = click.option("--as-if", is_flag=True, help="Show the ranking with and without them too, and change nothing.")(
        command
    )
    command = click.option("--reason", type=Reason(), help="Why; this is public. Needed to change anything.")(command)
    return click.argument("voter", nargs=-1, required=True)(command)


@voters.command()
@_arguments
def void(voter: tuple[str, ...], reason: str | None, as_if: bool, dry_run: bool, as_json: bool) -> None:
    """Disqualify each VOTER: an id, @FILE with one a line, or - for such lines on stdin.

    Their ballots count no more and they can't vote until reinstated. Those already disqualified are passed over.
    """
    _correct(voter, reason, dry_run, as_if, as_json, reinstate=False)


@voters.command()
@_arguments
def reinstate(voter: tuple[str, ...], reason: str | None, as_if: bool, dry_run: bool, as_json: bool) -> None:
    """Reinstate each VOTER: an id, @FILE with one a line, or - for such lines on stdin.

    Their ballots count again. Those who aren't disqualified are passed over.
    """
    _correct(voter, reason, dry_run, as_if, as_json, reinstate=True)


def _correct(words: Sequence[str], reason: str | None, dry_run: bool, as_if: bool, as_json: bool, *, reinstate: bool) -> None:
    if reason is None and not (dry_run or as_if):
        raise click.UsageError("Missing option '--reason': say why; it is public")
    settings = find_settings()
    outcome = asyncio.run(_outcome(settings, visitors(words), reason or "", dry_run or as_if, reinstate))
    if as_if:
        outcome = asyncio.run(_ranked(settings, outcome))
    show(as_json, outcome, *_lines(outcome))


async def _outcome(settings: Settings, voters: Sequence[str], reason: str, dry_run: bool, reinstate: bool) -> Outcome:
    from events.commands.voters import CorrectVoters
    from projections.cards import tallies_at_head
    from services.clock import fresh_id

    command = CorrectVoters(fresh_id(), voters, reason, tallies_at_head, reinstate=reinstate, operator=OPERATOR, dry=dry_run)
    receipt = await submit(settings, command)
    slugs = await _slugs(settings, receipt.value)
    return _described(receipt, slugs, dry_run, "reinstated" if reinstate else "disqualified")


async def _slugs(settings: Settings, correction: "CorrectionRecorded | None") -> Mapping[str, str]:
    """Return the slugs of a correction's tools."""
    from events.log import ids

    tools = [tool.tool for tool in correction.tools] if correction else []
    async with connected(settings, seconds=60) as connection:
        rows = await connection.fetch(SLUGS, [ids.stream_of(tool) for tool in tools])
    return {row["tool"]: row["slug"] for row in rows}


def _described(receipt: "Receipt[Any]", slugs: Mapping[str, str], dry_run: bool, action: str) -> Outcome:
    correction: CorrectionRecorded | None = receipt.value
    if correction is None:
        return Outcome(dry_run, action, 0, 0, None, [])
    tools = [Tool(slugs[t.tool], _count(t.before), _count(t.after)) for t in correction.tools]
    position = receipt.position if receipt.appended else None
    tools.sort(key=lambda tool: tool.slug)
    return Outcome(dry_run, action, correction.voters, correction.votes, position, tools)


async def _ranked(settings: Settings, outcome: Outcome) -> Outcome:
    """Return the outcome with the tools' ranks by the community's votes, before and after."""
    from projections.cards import listed_tallies
    from projections.tally import ranks

    async with connected(settings, seconds=60) as connection:
        listed = await listed_tallies(connection)
    changed = [tool for tool in outcome.tools if tool.slug in listed]
    before = ranks(listed | {tool.slug: (tool.before.ship, tool.before.skip) for tool in changed})
    after = ranks(listed | {tool.slug: (tool.after.ship, tool.after.skip) for tool in changed})
    tools = [
        Tool(tool.slug, replace(tool.before, rank=before.get(tool.slug)), replace(tool.after, rank=after.get(tool.slug)))
        for tool in outcome.tools
    ]
    moved = {slug for slug in listed if before[slug] != after[slug]} - {tool.slug for tool in tools}
    return replace(outcome, tools=tools, others_moved=len(moved))


def _count(tally: "Tally") -> Count:
    from projections.tally import community

    said = community(*tally)
    return Count(said.ship, said.skip, said.ship_percent, said.verdict)


def _lines(outcome: Outcome) -> list[str]:
    if not outcome.voters:
        already = "is disqualified already" if outcome.action == "disqualified" else "is not disqualified"
        return [f"Nothing to do: each of them {already}"]
    would = "Would have " if outcome.dry_run else ""
    head = f"{would}{outcome.action} {counted(outcome.voters, 'voter')} with {counted(outcome.votes, 'vote')}"
    return [
        head[0].upper() + head[1:],
        *(f"  {tool.slug}: {_said(tool.before)} → {_said(tool.after)}" for tool in outcome.tools),
        *([] if outcome.others_moved is None else [f"Of the other tools, {outcome.others_moved} would change their rank"]),
    ]


def _said(count: Count) -> str:
    rank = "" if count.rank is None else f", rank {count.rank}"
    if count.ship_percent is None:
        return f"no votes{rank}"
    return f"{count.ship} ship / {count.skip} skip, {count.ship_percent}% ship, {count.verdict or 'too early'}{rank}"
