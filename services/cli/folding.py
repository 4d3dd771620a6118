"""What `replay` and `verify` share: their argument, their progress, and the lines of a difference."""

import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import rich_click as click

from services.cli.database import connected
from services.cli.options import Whole
from services.cli.terminal import bar
from services.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.archive.present import Present
    from projections.engine.folding import Jobs, Progress
    from projections.engine.projection import Projection
    from projections.engine.verify import Diff, RowDifference

T = TypeVar("T")

TOOLS: Final = frozenset({"tool", "left_tool", "right_tool"})
"""The columns of keys that hold a tool's id."""
LONG: Final = 1_000
SHOWN: Final = 16
"""Characters that are shown of what is longer than that."""
MOST_JOBS: Final = 64
SIZES: Final = """
select n.nspname, sum(pg_table_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname = any($1::text[]) group by 1
"""
LINE_EVERY = 5.0
"""Seconds between two lines of progress where stderr is no terminal."""


class ProjectionName(click.ParamType["Projection"]):
    """The name of a projection."""

    name = "view"

    def convert(self, value: "str | Projection", param: click.Parameter | None, ctx: click.Context | None) -> "Projection":
        """Return the projection of this name."""
        from projections.registry import PROJECTIONS

        names = {projection.name: projection for projection in PROJECTIONS}
        if not isinstance(value, str):
            return value
        if value not in names:
            self.fail(f"there is no view {value!r}; there are {', '.join(names)}", param, ctx)
        return names[value]


def chosen(named: Sequence["Projection"]) -> Sequence["Projection"]:
    """Return the projections that were named, once each; all of them if none was named."""
    from projections.registry import PROJECTIONS

    return list(dict.fromkeys(named)) or PROJECTIONS


class Means(NamedTuple):
    """What folds are given: whom to tell of their progress, what loads archived parts, and the jobs that they share."""

    report: "Callable[[Progress], None]"
    present: "Present"
    jobs: "Jobs"


@contextlib.asynccontextmanager
async def archived_parts(
    settings: Settings, projections: Sequence["Projection"], jobs: int
) -> "AsyncIterator[tuple[Present, Sequence[Projection], int]]":
    """Yield what loads archived parts for some projections, in which order these begin, and how many are on their way at once.

    Those are all of them where there are such parts, so that they go through each together and it is loaded once.
    """
    from events.log.archive import state
    from events.log.archive.present import Present, give_all_back

    async with connected(settings) as connection:
        await give_all_back(connection)
        together = await state.is_any_away(connection)
        order = projections if jobs == 1 else await longest_first(connection, projections)
    expected = [projection.name for projection in projections] if together else []
    async with Present(settings.database_url, expected) as present:
        yield present, order, len(projections) if together else jobs


def jobs_option(command: Callable[..., T]) -> Callable[..., T]:
    """Add `--jobs`."""
    return click.option(
        "--jobs",
        default=1,
        show_default=True,
        type=Whole(1, MOST_JOBS),
        metavar="N",
        help="How many of the database server's cores to use: so many views, and ranges of the log, are folded side by side.",
    )(command)


async def longest_first(connection: "Connection[Any]", projections: Sequence["Projection"]) -> Sequence["Projection"]:
    """Return projections in the order in which several jobs best begin them, so that no job is left alone with much at the end.

    Those that jobs fold together are first, with the largest tables leading: what follows their ranges, one job does alone.
    """
    sizes = dict(await connection.fetch(SIZES, [projection.schema for projection in projections]))
    return sorted(projections, key=lambda projection: (not projection.parts, -sizes.get(projection.schema, 0)))


async def each_in_turn(
    work: Callable[["Projection"], Awaitable[T]], projections: Sequence["Projection"], jobs: int
) -> Mapping[str, T]:
    """Return what the work on each projection comes to, by name; as many are on their way at once as there are `jobs`.

    They begin in the order given. The first that fails ends the others and is raised.
    """
    from projections.engine.ranges import side_by_side

    done: dict[str, T] = {}
    waiting = iter(projections)

    async def turn() -> None:
        for projection in waiting:
            done[projection.name] = await work(projection)

    await side_by_side(*(turn() for _ in range(min(jobs, len(projections)))))
    return done


async def fold_each(
    settings: Settings,
    projections: Sequence["Projection"],
    jobs: int,
    verb: str,
    work: "Callable[[Projection, Means], Awaitable[T]]",
) -> Mapping[str, T]:
    """Return what the work on each projection comes to, by name, with its progress shown and archived parts at hand."""
    from projections.engine.folding import Jobs

    shared = Jobs(jobs)
    with shown_progress(verb) as report:
        async with archived_parts(settings, projections, jobs) as (present, order, many):
            done = await each_in_turn(lambda one: work(one, Means(report, present, shared)), order, many)
    return {projection.name: done[projection.name] for projection in projections}


@contextlib.contextmanager
def shown_progress(verb: str) -> "Iterator[Callable[[Progress], None]]":
    """Show on stderr the position of a fold, its speed and the time left: a bar on a terminal, else a line every 5 s.

    Several views that are folded side by side are shown as one.
    """
    if not sys.stderr.isatty():
        yield _together(_progress_lines(verb))
        return
    with bar(verb) as draw:

        def report(progress: "Progress") -> None:
            rate = f"{progress.rate:,.0f} events/s"
            draw(f"{verb} {progress.projection}", progress.position, progress.target, rate)

        yield _together(report)


def _together(report: "Callable[[Progress], None]") -> "Callable[[Progress], None]":
    """Return a report that tells of all views that are on their way at once."""
    from projections.engine.folding import Progress

    under_way: dict[str, Progress] = {}

    def told(progress: Progress) -> None:
        under_way[progress.projection] = progress
        views = [one for one in under_way.values() if one.position < one.target or one is progress]
        position, target, rate = (sum(each) for each in zip(*((v.position, v.target, v.rate) for v in views), strict=True))
        report(Progress(", ".join(view.projection for view in views), int(position), int(target), rate))
        if progress.position >= progress.target:
            del under_way[progress.projection]

    return told


def _progress_lines(verb: str) -> "Callable[[Progress], None]":
    last = time.monotonic()

    def report(progress: "Progress") -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            left = (progress.target - progress.position) / progress.rate
            done = f"{progress.position:,} of {progress.target:,} events, {progress.rate:,.0f}/s"
            click.echo(f"{verb} {progress.projection}: {done}, {left:.0f} s left", err=True)

    return report


def rows_differ(count: int) -> str:
    """Return how many rows differ, in words."""
    return "1 row differs" if count == 1 else f"{count} rows differ"


async def slugs_in(settings: Settings, diffs: "Iterable[Diff]") -> dict[str, str]:
    """Return the slug of each tool that the shown rows of some differences name, by its id."""
    from projections.history import slugs_of

    rows = [row for diff in diffs for table in diff.tables for row in table.rows]
    tools = {str(row.key[column]) for row in rows for column in TOOLS & row.key.keys()}
    if not tools:
        return {}
    async with connected(settings) as connection:
        return await slugs_of(connection, tools)


def difference_lines(diff: "Diff", slugs: Mapping[str, str]) -> Iterator[str]:
    """Return the lines of a difference: each table with its number of rows, then the rows by key, with the slugs of tools."""
    for table in diff.tables:
        yield f"  {table.table}: {rows_differ(table.count)}"
        yield from (_row_line(row, slugs) for row in table.rows)
        if table.count > len(table.rows):
            yield f"    … and {table.count - len(table.rows)} more"


def _row_line(row: "RowDifference", slugs: Mapping[str, str]) -> str:
    key = " ".join(f"{column}={with_slug(value, slugs)}" for column, value in row.key.items())
    events = f" (events {', '.join(map(str, row.events))})" if row.events else ""
    return f"    {key or 'position'}: {_change(row)}{events}"


def with_slug(value: object, slugs: Mapping[str, str]) -> str:
    """Return a value in words; a tool's id with its slug."""
    return f"{value} ({slugs[value]})" if isinstance(value, str) and value in slugs else str(value)


def _change(row: "RowDifference") -> str:
    if row.live is None:
        return f"missing, should be {_values(row.right, row.key)}"
    if row.right is None:
        return f"is {_values(row.live, row.key)}, should not be there"
    wrong = [column for column, value in row.live.items() if row.right.get(column) != value]
    return ", ".join(
        f"{column} is {_from_difference(row.live[column], row.right[column])},"
        f" should be {_from_difference(row.right[column], row.live[column])}"
        for column in wrong
    )


def _from_difference(value: object, other: object) -> str:
    """Return a value in words; of a very long text, a little from where it differs from the other one."""
    text = str(value)
    if len(text) <= LONG:
        return text
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, str(other), strict=False)))
    return f"…{text[same:][:SHOWN]}…"


def _values(row: "dict[str, object] | None", key: "dict[str, object]") -> str:
    said = (f"{column}={_from_difference(value, '')}" for column, value in (row or {}).items() if column not in key)
    return " ".join(said) or "there"
