"""`ballotpress explain tally|tool|review`: how a number or a text on the site came about, from the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from services.settings import read_settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from projections.history import Story, Told
    from projections.tally import Community

SHOWN = 20
LONGEST_VALUE = 60
SEALED = frozenset({"text", "name"})
"""Fields of a review's events that hold what its author wrote; they are never shown."""


class Time(click.ParamType[datetime]):
    """A time with its zone, as RFC 3339 writes it; without one, UTC."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-22T09:00:00Z", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


class TallyExplained(msgspec.Struct, frozen=True):
    """A tally at a position of the log, what it comes from, and its last events; `shown` is what the site says."""

    tool: str
    position: int
    community: "Community"
    shown: tuple[int, int]
    story: "Story"
    events: "Sequence[Told]"


class Explained(msgspec.Struct, frozen=True):
    """A stream's events in order, and what they come to; None where nothing is left."""

    id: str
    now: dict[str, Any] | None
    events: Sequence[dict[str, Any]]


@click.group()
def explain() -> None:
    """Show how a number or a text on the site came about."""


@explain.command()
@click.argument("tool")
@click.option("--as-of", type=Time(), metavar="TIME", help="As it stood then, such as 2026-11-22T09:00:00Z.  [default: now]")
@click.option("--all", "everything", is_flag=True, help=f"List every event, not the last {SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tally(tool: str, as_of: datetime | None, everything: bool, as_json: bool) -> None:
    """Show the events that make up the tally of TOOL (a slug), and those that were changed, retracted or voided."""
    asyncio.run(_tally(tool, as_of, None if everything else SHOWN, as_json))


@explain.command()
@click.argument("slug")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tool(slug: str, as_json: bool) -> None:
    """Show all that was ever said of the tool SLUG: how it was described, listed, and judged by the panel."""
    asyncio.run(_stream_of_tool(slug, as_json))


@explain.command()
@click.argument("review")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def review(review: str, as_json: bool) -> None:
    """Show what became of a reader's REVIEW (an id): its revisions and decisions. What it says stays sealed."""
    asyncio.run(_stream_of_review(review, as_json))


@contextlib.asynccontextmanager
async def _connected() -> "AsyncIterator[Connection[Any]]":
    import asyncpg

    settings = read_settings()
    connection = await asyncpg.connect(
        settings.database_url, timeout=5, server_settings={"timezone": "UTC", "application_name": "ballotpress-explain"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def _tally(slug: str, as_of: datetime | None, limit: int | None, as_json: bool) -> None:
    from projections import PROJECTIONS, hours
    from projections import history as told
    from projections.engine.window import dropped_positions
    from projections.tally import community
    from services.cli.terminal import print_json

    async with _connected() as connection:
        tool = await told.tool_of(connection, slug)
        if tool is None:
            raise click.ClickException(f"There never was a tool {slug!r}")
        shown = await hours.as_of(connection, tool, as_of, corrected=False)
        story = await told.tell(connection, tool, shown.position, await dropped_positions(connection, PROJECTIONS[0]))
        said = community(story.ship, story.skip)
        if as_json:
            events = [event async for event in told.events(connection, limit)]
            print_json(TallyExplained(slug, shown.position, said, (shown.ship, shown.skip), story, events))
            return
        for line in _tally_lines(slug, shown, said, story):
            click.echo(line)
        async for event in told.events(connection, limit):
            click.echo(_event_line(event))
        if limit is not None and sum(story.fates.values()) > limit:
            click.echo(f"  … and {sum(story.fates.values()) - limit} before; --all lists them")


def _tally_lines(slug: str, shown: Any, said: "Community", story: "Story") -> Iterator[str]:
    from services.cli.terminal import counted, utc

    percent = "no votes" if said.ship_percent is None else f"{said.ship_percent}% ship, {said.verdict or 'too early'}"
    yield f"{slug}: {said.ship} ship / {said.skip} skip, {percent}, at position {shown.position}"
    if (shown.ship, shown.skip) != (said.ship, said.skip):
        yield f"! The site says {shown.ship} ship / {shown.skip} skip: run `ballotpress verify cards hours`"
    fates = [(fate, story.fates.get(fate, 0)) for fate in ("counts", "changed", "retracted", "voided")]
    said_of = {"counts": "counted", "changed": "changed later"}
    of_each = ", ".join(f"{count} {said_of.get(fate, fate)}" for fate, count in fates)
    yield f"{counted(story.voters, 'voter')}; of {counted(sum(count for _, count in fates), 'vote')}: {of_each}"
    for one in story.corrections:
        votes = counted(one.votes, "vote")
        yield f"  {one.position} {utc(one.recorded_at)} {one.action} {counted(one.voters, 'voter')}, {votes}: {one.reason}"


def _event_line(event: "Told") -> str:
    from services.cli.terminal import utc

    by = "" if event.by is None else f" by {event.by}"
    what = {"retracts": "takes back the vote", "disqualifies": "voids", "reinstates": "gives back"}.get(event.fate)
    fate = what or f"{event.fate}{by}"
    return f"  {event.position} {utc(event.recorded_at)} {event.choice or 'none'} of {event.voter}: {fate}"


async def _stream_of_tool(slug: str, as_json: bool) -> None:
    from events.log import ids
    from projections.fold import Cards
    from projections.history import tool_of

    async with _connected() as connection:
        tool = await tool_of(connection, slug)
        if tool is None:
            raise click.ClickException(f"There never was a tool {slug!r}")
        explained = await _explained(connection, "cards", tool, ids.stream_of(tool), Cards(), frozenset())
        _show(explained, as_json)


async def _stream_of_review(review: str, as_json: bool) -> None:
    from events.log import ids
    from projections.fold import Reviews

    if not ids.is_id(review):
        raise click.ClickException(f"{review!r} is not a review's id")
    async with _connected() as connection:
        explained = await _explained(connection, "reviews", review, ids.stream_of(review), Reviews(), SEALED)
    if not explained.events:
        raise click.ClickException(f"There never was a review {review}")
    _show(explained, as_json)


async def _explained(
    connection: "Connection[Any]", view: str, id_: str, stream: Any, fold: Any, sealed: frozenset[str]
) -> Explained:
    """Read a stream and fold it as the view does; what the view passes over, or halts at, is shown and not folded."""
    from events.log import recorded
    from events.log.event import UnknownEvent
    from events.registry import REGISTRY
    from projections import PROJECTIONS
    from projections.engine.window import dropped_positions
    from projections.fold import Entry

    dropped = await dropped_positions(connection, next(p for p in PROJECTIONS if p.name == view))
    events = []
    for row in await recorded.read(connection, 0, 2**31 - 1, stream):
        said = {"position": row.position, "recorded_at": row.recorded_at, "type": row.type}
        try:
            event = REGISTRY.decode(row.type, row.schema_version, bytes(row.data))
        except (UnknownEvent, msgspec.DecodeError) as error:
            events.append({**said, "unreadable": str(error), "data": {}})
            continue
        if row.position not in dropped:
            fold.take(Entry(row.position, row.recorded_at, event))
        data = {name: value for name, value in msgspec.to_builtins(event).items() if name not in sealed}
        passed = {"passed_over": True} if row.position in dropped else {}
        events.append({**said, **passed, "data": data})
    rows = [row for table in fold.tables().values() for key, row in table.items() if key == (id_,)]
    now = {name: value for name, value in rows[0].items() if "sealed" not in name} if rows else None
    return Explained(id_, now, events)


def _show(explained: Explained, as_json: bool) -> None:
    from services.cli.terminal import print_json, utc

    if as_json:
        print_json(explained)
        return
    click.echo(f"{explained.id}: {_values(explained.now) if explained.now else 'nothing is left of it'}")
    said: dict[str, Any] = {}
    for event in explained.events:
        passed = " (passed over)" if "passed_over" in event else ""
        if "unreadable" in event:
            passed = f" (unreadable: {event['unreadable']})"
        changed = {name: value for name, value in event["data"].items() if said.get(name) != value}
        click.echo(f"  {event['position']} {utc(event['recorded_at'])} {event['type']}{passed} {_values(changed)}".rstrip())
        said |= event["data"]


def _values(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
