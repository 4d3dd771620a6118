"""`ballotpress voters void|reinstate`: take voters' ballots out of the tallies, or give them back."""

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click
from msgspec.structs import replace

from services.cli.database import asynchronous, connected, operator_of, submit
from services.cli.options import Reason, json_option, visitors
from services.cli.terminal import counted, show, tally_in_words
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.command import Receipt
    from events.voters import CorrectionRecorded, Tally


MOST_LINES: Final = 12
"""Tools that are shown, those first whose verdict or rank changes; `--all` shows the others too, `--json` always does."""


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tally with its verdict, and its rank by the community's votes: only with --as-if, and for a listed tool."""

    ship: int
    skip: int
    ship_percent: int | None
    verdict: str | None
    settled: str | None
    settled_interval: tuple[float, float] | None
    rank: int | None = None

    @property
    def judged(self) -> tuple[str | None, str | None]:
        """What the site says of the tally: the settled verdict, or that of a single look."""
        return self.settled, None if self.settled else self.verdict


class Tool(msgspec.Struct, frozen=True):
    """A tool's tally before and after a correction."""

    slug: str
    before: Count
    after: Count

    @property
    def turns(self) -> bool:
        """Return whether the verdict or the rank changes, not the numbers alone."""
        return (self.before.judged, self.before.rank) != (self.after.judged, self.after.rank)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A correction that was made or, with `dry_run`, would be made.

    `others_moved` counts the other tools whose rank changes, and is left out without --as-if.
    """

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


def _arguments(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return a command with the arguments that both corrections take."""
    parameters = (
        click.argument("voter", nargs=-1, required=True),
        click.option(
            "--reason", type=Reason(), help="Why, in one line. It is public. Required, except with --dry-run or --as-if."
        ),
        click.option("--as-if", is_flag=True, help="Show the ranking with and without them too, and change nothing."),
        click.option("--dry-run", is_flag=True, help="Show the tallies before and after, and change nothing."),
        click.option("--all", "shows_all", is_flag=True, help=f"Show every tool concerned, not the first {MOST_LINES} alone."),
        json_option,
    )
    decorated = asynchronous(command)
    for parameter in reversed(parameters):
        decorated = parameter(decorated)
    return decorated


@voters.command()
@_arguments
async def void(voter: tuple[str, ...], **options: Any) -> None:
    """Disqualify each VOTER: an id, @FILE with one id a line, or - for such lines on stdin.

    Their ballots no longer count, and they can't vote until reinstated. Voters already disqualified are passed over.
    """
    await _correct(voter, **options, reinstate=False)


@voters.command()
@_arguments
async def reinstate(voter: tuple[str, ...], **options: Any) -> None:
    """Reinstate each VOTER: an id, @FILE with one id a line, or - for such lines on stdin.

    Their ballots count again. Voters who aren't disqualified are passed over.
    """
    await _correct(voter, **options, reinstate=True)


async def _correct(
    words: Sequence[str], reason: str | None, dry_run: bool, as_if: bool, shows_all: bool, as_json: bool, reinstate: bool
) -> None:
    dry = dry_run or as_if
    if reason is None and not dry:
        raise click.UsageError("Missing option '--reason': say why; it is public")
    settings = find_settings()
    from events.commands.voters import CorrectVoters
    from projections.cards import tallies_at_head
    from services.clock import fresh_id

    named = visitors(words)
    command = CorrectVoters(
        fresh_id(), named, reason or "", tallies_at_head, reinstate=reinstate, operator=operator_of(settings), dry=dry
    )
    receipt = await submit(settings, command)
    async with connected(settings, seconds=60) as connection:
        outcome = await _outcome(connection, receipt, "reinstated" if reinstate else "disqualified", dry)
        if as_if:
            outcome = await _ranked(connection, outcome)
    show(as_json, outcome, *_lines(outcome, shows_all))


async def _outcome(connection: "Connection[Any]", receipt: "Receipt[Any]", action: str, dry_run: bool) -> Outcome:
    """Return the outcome of a correction, its tools by slug."""
    from projections.history import slugs_of

    correction: CorrectionRecorded | None = receipt.value
    if correction is None:
        return Outcome(dry_run, action, 0, 0, None, [])
    slugs = await slugs_of(connection, [tool.tool for tool in correction.tools])
    tools = [Tool(slugs[tool.tool], _count(tool.before), _count(tool.after)) for tool in correction.tools]
    tools.sort(key=lambda tool: tool.slug)
    position = receipt.position if receipt.appended else None
    return Outcome(dry_run, action, correction.voters, correction.votes, position, tools)


async def _ranked(connection: "Connection[Any]", outcome: Outcome) -> Outcome:
    """Return the outcome with the tools' ranks by the community's votes, before and after."""
    from projections.cards import listed_tallies
    from projections.tally import ranks

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
    return Count(said.ship, said.skip, said.ship_percent, said.verdict, said.settled, said.settled_interval)


def _lines(outcome: Outcome, shows_all: bool) -> list[str]:
    if not outcome.voters:
        already = "is disqualified already" if outcome.action == "disqualified" else "is not disqualified"
        return [f"Nothing to do: each of them {already}"]
    would = "Would have " if outcome.dry_run else ""
    head = f"{would}{outcome.action} {counted(outcome.voters, 'voter')} with {counted(outcome.votes, 'vote')}"
    tools = sorted(outcome.tools, key=lambda tool: not tool.turns)
    shown = tools if shows_all else tools[:MOST_LINES]
    rest = tools[len(shown) :]
    turning = f", {sum(tool.turns for tool in rest)} of them with another verdict or rank" if any(t.turns for t in rest) else ""
    return [
        f"{head[0].upper()}{head[1:]} on {counted(len(tools), 'tool')}; {_turned(outcome)}",
        *(f"  {tool.slug}: {_said(tool.before)} → {_said(tool.after)}" for tool in shown),
        *([f"  and {counted(len(rest), 'tool')} more{turning}: --all shows them"] if rest else []),
    ]


def _turned(outcome: Outcome) -> str:
    """Return how many verdicts change and, with ranks, how many of those, other tools' among them."""
    said = _changing(sum(tool.before.judged != tool.after.judged for tool in outcome.tools), "verdict")
    if outcome.others_moved is None:
        return said
    ranks = sum(tool.before.rank != tool.after.rank for tool in outcome.tools)
    others = f" (of other tools: {outcome.others_moved})" if outcome.others_moved else ""
    return f"{said}, {_changing(ranks + outcome.others_moved, 'rank')}{others}"


def _changing(number: int, noun: str) -> str:
    return f"{counted(number, noun)} change" if number > 1 else f"{number or 'no'} {noun} changes"


def _said(count: Count) -> str:
    rank = "" if count.rank is None else f", rank {count.rank}"
    if count.ship_percent is None:
        return f"no votes{rank}"
    return f"{count.ship} ship / {count.skip} skip, {tally_in_words(count.ship_percent, count.verdict, count.settled)}{rank}"
