"""`ballotpress explain tally|tool|review`: show from the log how a number or a text on the site came about."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from events.log import ids
from services.cli.database import asynchronous, connected
from services.cli.options import json_option
from services.cli.terminal import counted, show, tally_in_words, utc
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.event import Event
    from events.log.store import RecordedRow
    from events.reviews import Revision
    from projections.history import EventLine, TallyHistory
    from projections.served import ServedRow, ServedTally
    from projections.tally import Community

    Decoded = tuple[RecordedRow, Event]

SHOWN = 20
LONGEST_VALUE = 60
SEALED = frozenset({"text", "name"})
"""Fields of a review's events that hold what its author wrote; they are never shown."""


class Time(click.ParamType[datetime]):
    """A time as RFC 3339 writes it; UTC if it names no zone."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time, with its zone."""
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-22T09:00:00Z", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


class TallyExplained(msgspec.Struct, frozen=True):
    """A tally at a position of the log with its history and last events; `shown` is what the site shows.

    `views` has what each view serves, which the site shows in different places.
    """

    tool: str
    position: int
    community: "Community"
    shown: tuple[int, int]
    views: "Sequence[ServedTally]"
    story: "TallyHistory"
    events: "Sequence[EventLine]"


class Explained(msgspec.Struct, frozen=True):
    """A stream's events in order, and the state they lead to: None where nothing is left.

    `view` is what serves it, at its position; `differs` has each field in which it doesn't say what the log says there, as
    [served, right], but for sealed texts, which are only named. `slugs` are those of the tools that are named by their ids.
    """

    id: str
    now: dict[str, Any] | None
    events: Sequence[dict[str, Any]]
    view: str = ""
    view_position: int = 0
    differs: dict[str, tuple[Any, Any]] = {}
    slugs: dict[str, str] = {}


@click.group()
def explain() -> None:
    """Show how a number or a text on the site came about."""


@explain.command()
@click.argument("tool")
@click.option("--as-of", type=Time(), metavar="TIME", help="As it stood then, such as 2026-11-22T09:00:00Z.  [default: now]")
@click.option("--all", "everything", is_flag=True, help=f"List every event, not the last {SHOWN}.")
@json_option
@asynchronous
async def tally(tool: str, as_of: datetime | None, everything: bool, as_json: bool) -> None:
    """Show the events that make up the tally of TOOL (a slug), and those that were changed, retracted or voided."""
    from events.log.export import HOLD
    from projections import history, served
    from projections.tally import community

    view = "cards" if as_of is None else "hours"
    async with connected(find_settings()) as connection:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.execute(HOLD)
            id_ = await _tool(connection, tool)
            position = await served.position_of(connection, as_of)
            views = await _views(connection, id_, position, as_of)
            story = await history.read_history(connection, id_, position, await served.dropped_of(connection, view))
        limit = None if everything else SHOWN
        events = history.read_events(connection, limit)
        shown = (views[0].ship, views[0].skip)
        explained = TallyExplained(tool, position, community(story.ship, story.skip), shown, views, story, [])
        if as_json:
            show(as_json, msgspec.structs.replace(explained, events=[event async for event in events]))
            return
        show(as_json, None, *_tally_lines(explained))
        async for event in events:
            click.echo(_event_line(event))
        if limit is not None and sum(story.fates.values()) > limit:
            click.echo(f"  … and {sum(story.fates.values()) - limit} before; --all lists them")


@explain.command()
@click.argument("slug")
@json_option
@asynchronous
async def tool(slug: str, as_json: bool) -> None:
    """Show all events of the tool SLUG: how it was described, listed, and judged by the panel."""
    from projections import served

    async with connected(find_settings()) as connection:
        id_ = await _tool(connection, slug)
        card = await served.card(connection, id_)
        successor = (card.row or {}).get("successor")
        told = await served.named_at(connection, successor, card.position) if successor else 0
        explained = await _explained(connection, card, id_, partial(_tool_now, told=told))
    show(as_json, explained, *_lines(explained))


@explain.command()
@click.argument("review")
@json_option
@asynchronous
async def review(review: str, as_json: bool) -> None:
    """Show the history of a reader's REVIEW (an id): its revisions and decisions. Its texts stay sealed."""
    from projections import served

    if not ids.is_id(review):
        raise click.ClickException(f"{review!r} is not a review's id")
    async with connected(find_settings()) as connection:
        await _must_be_review(connection, review)
        explained = await _explained(connection, await served.review(connection, review), review, _review_now)
    show(as_json, explained, *_lines(explained))


async def _tool(connection: "Connection[Any]", slug: str) -> str:
    """Return the id of a tool. Raises click.ClickException for an unknown slug."""
    from projections.history import find_tool

    if (tool := await find_tool(connection, slug)) is None:
        raise click.ClickException(f"Unknown tool: {slug}")
    return tool


async def _views(connection: "Connection[Any]", tool: str, position: int, as_of: datetime | None) -> "Sequence[ServedTally]":
    """Read the changes of a tool's tally; return the views' tallies beside those that the changes give.

    The hours say where in the log to look. If a view isn't right by what was found, all of the log is read.
    """
    from projections import history, served

    passed_over = await served.dropped_of(connection, "hours")
    await history.read_changes(connection, tool, position, passed_over)
    views = await served.tallies(connection, tool, as_of)
    if any((view.ship, view.skip) != view.right for view in views):
        await history.read_changes(connection, tool, position, passed_over, everywhere=True)
        views = await served.tallies(connection, tool, as_of)
    return views


def _tally_lines(tally: TallyExplained) -> Iterator[str]:
    said, story = tally.community, tally.story
    percent = "no votes" if said.ship_percent is None else tally_in_words(said.ship_percent, said.verdict, said.settled)
    yield f"{tally.tool}: {said.ship} ship / {said.skip} skip, {percent}, at position {tally.position}"
    yield from filter(None, (_warning(view, tally) for view in tally.views))
    fates = [(fate, story.fates.get(fate, 0)) for fate in ("counts", "changed", "retracted", "voided")]
    said_of = {"counts": "counted", "changed": "changed later"}
    of_each = ", ".join(f"{count} {said_of.get(fate, fate)}" for fate, count in fates)
    yield f"{counted(story.voters, 'voter')}; of {counted(sum(count for _, count in fates), 'vote')}: {of_each}"
    for one in story.corrections:
        votes = counted(one.votes, "vote")
        yield f"  {one.position} {utc(one.recorded_at)} {one.action} {counted(one.voters, 'voter')}, {votes}: {one.reason}"


def _warning(view: "ServedTally", tally: TallyExplained) -> str | None:
    """Return how a view's tally differs from the log's; None when it doesn't."""
    said = f"says {view.ship} ship / {view.skip} skip (view {view.view}, at position {view.position})"
    if (view.ship, view.skip) != view.right:
        ship, skip = view.right
        return f"! The site {said}, the log {ship} ship / {skip} skip there: run `ballotpress verify {view.view}`"
    if view.position < tally.position and view.right != (tally.community.ship, tally.community.skip):
        return f"! The site still {said}: see `ballotpress status`"
    return None


def _event_line(event: "EventLine") -> str:
    by = "" if event.by is None else f" by {event.by}"
    what = {"retracts": "takes back the vote", "disqualifies": "voids", "reinstates": "gives back"}.get(event.fate)
    fate = what or f"{event.fate}{by}"
    return f"  {event.position} {utc(event.recorded_at)} {event.choice or 'none'} of {event.voter}: {fate}"


async def _must_be_review(connection: "Connection[Any]", id_: str) -> None:
    """Raise click.ClickException if no review has this id; a reader may take a visitor's or a tool's for one."""
    from projections.history import first_type_of

    if (first := await first_type_of(connection, id_)) != "ReviewSubmitted":
        other = "" if first is None else f"; it is the id of something else, whose first event is {first}"
        raise click.ClickException(f"Unknown review: {id_}{other}")


async def _explained(
    connection: "Connection[Any]", served: "ServedRow", id_: str, now: "Callable[[Sequence[Decoded]], dict[str, Any] | None]"
) -> Explained:
    """Read a stream and fold it. An event that the view passes over, or halts at, is shown and not folded."""
    from events.log import store
    from events.log.event import UnknownEvent
    from events.registry import REGISTRY
    from projections.history import slugs_of
    from projections.served import dropped_of

    dropped = await dropped_of(connection, served.view)
    events: list[dict[str, Any]] = []
    decoded = []
    for row in await store.read_rows(connection, 0, 2**31 - 1, ids.stream_of(id_)):
        line = {"position": row.position, "recorded_at": row.recorded_at, "type": row.type}
        try:
            event = REGISTRY.decode(row.type, row.schema_version, bytes(row.data))
        except (UnknownEvent, msgspec.DecodeError) as error:
            events.append({**line, "unreadable": str(error), "data": {}})
            continue
        if row.position in dropped:
            line["passed_over"] = True
        else:
            decoded.append((row, event))
        events.append({**line, "data": {k: v for k, v in msgspec.to_builtins(event).items() if k not in SEALED}})
    there = now([one for one in decoded if one[0].position <= served.position])
    differs = _differences(served.row, there)
    shown = {name: value for name, value in (now(decoded) or {}).items() if "sealed" not in name and name != "panel"}
    slugs = await slugs_of(connection, {tool for event in events if (tool := event["data"].get("tool"))})
    return Explained(id_, shown or None, events, served.view, served.position, differs, slugs)


def _differences(served: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """Return each field in which a view's row isn't what the log gives. Of sealed texts nothing is told."""
    if served is None or right is None:
        return {} if served == right else {"row": ("nothing", "one") if served is None else ("one", "nothing")}
    mine, theirs = _flat(served), _flat(right)
    return {
        name: ("another text", "its text") if "sealed" in name else (mine.get(name), theirs.get(name))
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) != theirs.get(name)
    }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with each judgement of its panel as a field of its own."""
    panel = row.get("panel", {})
    return {name: row[name] for name in row if name != "panel"} | {f"panel {persona}": panel[persona] for persona in panel}


def _tool_now(decoded: "Sequence[Decoded]", told: int) -> dict[str, Any] | None:
    """Return the tool after its events; `position` is that of the last one about the tool itself, or its successor's name."""
    from events import catalog

    state, position = None, 0
    for row, event in decoded:
        state = catalog.evolve(state, event)
        if not isinstance(event, catalog.PanelReviewPublished | catalog.PanelReviewRevised | catalog.FormerSlugAdded):
            position = row.position
    if state is None:
        return None
    description = msgspec.structs.asdict(state.description)
    panel = {persona: [one.persona, one.score, one.verdict, one.take] for persona, one in state.panel.items()}
    return {
        "tool": state.tool,
        "slug": state.slug,
        **description,
        "listed": state.listed,
        "position": max(position, told),
        "panel": panel,
    }


def _review_now(decoded: "Sequence[Decoded]") -> dict[str, Any] | None:
    """Return the review after its events, its texts sealed; None once withdrawn."""
    from events import reviews

    state, first, approval = None, None, None
    for row, event in decoded:
        state = reviews.evolve(state, event)
        first = first or (row if state else None)
        if state and isinstance(event, reviews.ReviewApproved) and event.revision == state.current.number:
            approval = row
    if state is None or first is None or state.status == "withdrawn":
        return None
    approval = approval if state.published else None
    return {
        "review": state.review,
        "visitor": state.visitor,
        "tool": state.tool,
        "status": state.status,
        **_opinion(state.current),
        "submitted_position": first.position,
        "submitted_at": first.recorded_at,
        "position": decoded[-1][0].position,
        **{f"public_{name}": value for name, value in _opinion(state.published).items()},
        "public_position": approval and approval.position,
        "published_at": approval and approval.recorded_at,
    }


def _opinion(revision: "Revision | None") -> dict[str, Any]:
    if revision is None:
        return dict.fromkeys(("revision", "verdict", "score", "sealed_text", "sealed_name", "ties"))
    return {
        "revision": revision.number,
        "verdict": revision.verdict,
        "score": revision.score,
        "sealed_text": revision.text,
        "sealed_name": revision.name,
        "ties": revision.ties,
    }


def _lines(explained: Explained) -> Iterator[str]:
    name = explained.id if explained.now is None else explained.now.get("slug", explained.id)
    slugs = explained.slugs
    yield f"{name}: {_values(explained.now, slugs) if explained.now else 'nothing is left of it'}"
    where = f"view {explained.view}, at position {explained.view_position}"
    for name, (served, right) in explained.differs.items():
        said = f"The site has {name}={_short(served)} ({where}), the log {_short(right)}"
        yield f"! {said}: run `ballotpress verify {explained.view}`"
    if explained.events and explained.events[-1]["position"] > explained.view_position:
        yield f"! The site doesn't show the last of these events yet ({where}): see `ballotpress status`"
    before: dict[str, Any] = {}
    for event in explained.events:
        note = " (passed over)" if "passed_over" in event else ""
        if "unreadable" in event:
            note = f" (unreadable: {event['unreadable']})"
        changed = {name: value for name, value in event["data"].items() if before.get(name) != value}
        yield f"  {event['position']} {utc(event['recorded_at'])} {event['type']}{note} {_values(changed, slugs)}".rstrip()
        before |= event["data"]


def _values(values: dict[str, Any], slugs: Mapping[str, str]) -> str:
    """Return named values in words, a tool's id with its slug."""
    return " ".join(
        f"{name}={_short(value)}" + (f" ({slugs[value]})" if name == "tool" and value in slugs else "")
        for name, value in values.items()
    )


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
