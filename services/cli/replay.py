"""`ballotpress replay`: rebuild views from the log beside the live ones, show what would change, then switch."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from projections.engine.verify import Diff
from services.cli.database import asynchronous, connected, operator_of
from services.cli.folding import (
    Means,
    ProjectionName,
    chosen,
    difference_lines,
    fold_each,
    jobs_option,
    rows_differ,
    shown_progress,
    slugs_in,
)
from services.cli.options import Whole, json_option
from services.cli.terminal import show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from projections.engine.projection import Projection
    from projections.engine.rebuild import Rebuild

PAUSE_MS = 200


class Replayed(msgspec.Struct, frozen=True):
    """A rebuilt projection: what differed at `diff.position`, and whether the rebuilt tables are live now.

    `slugs` are those of the tools that it names by their ids.
    """

    projection: str
    resumed: bool
    diff: Diff
    switched: bool
    kept_previous: bool
    slugs: Mapping[str, str]


@click.command()
@click.argument("projection", metavar="[VIEW]...", nargs=-1, type=ProjectionName())
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--keep-previous", is_flag=True, help="Keep the present tables, for --rollback.")
@click.option(
    "--pause",
    default=PAUSE_MS,
    show_default=True,
    type=Whole(0, 10_000),
    metavar="MS",
    help="Shortest rest after a window, in milliseconds; a window that took longer is followed by as long a rest. 0: no rest.",
)
@jobs_option
@click.option("--rollback", type=ProjectionName(), metavar="VIEW", help="Go back to the tables kept from before.")
@json_option
@asynchronous
async def replay(
    projection: "tuple[Projection, ...]",
    dry_run: bool,
    keep_previous: bool,
    pause: int,
    jobs: int,
    rollback: "Projection | None",
    as_json: bool,
) -> None:
    """Rebuild each VIEW (all of them, if none is named) from the log. The site serves reads and votes throughout.

    The views are built beside the live ones. What differs is shown by table and key, and then the new ones take their place.
    If it is stopped or killed before that, nothing has changed; run again, it goes on from where it was.
    """
    if rollback is not None and (projection or dry_run or keep_previous):
        raise click.UsageError("--rollback goes with no other view, nor with --dry-run or --keep-previous")
    settings = find_settings()
    if rollback is not None:
        await _roll_back(settings, rollback, as_json)
        return
    plan = Plan(settings, chosen(projection), pause / 1000, jobs, dry_run, keep_previous, as_json)
    replayed = await _rebuild(plan)
    if as_json:
        show(as_json, {"replayed": list(replayed.values())})


class Plan(msgspec.Struct, frozen=True):
    """What to replay, and how."""

    settings: Settings
    projections: "Sequence[Projection]"
    pause: float
    jobs: int
    dry_run: bool
    keep_previous: bool
    as_json: bool


async def _rebuild(plan: Plan) -> Mapping[str, Replayed]:
    from events.registry import REGISTRY
    from projections.engine.folding import Pace
    from projections.engine.projection import only_one
    from projections.engine.rebuild import Rebuild
    from projections.sources import SOURCES

    dsn, pace = plan.settings.database_url, Pace(pause=plan.pause)

    async def one(projection: "Projection", means: Means) -> Replayed:
        async with only_one(dsn, projection):
            return await _one(plan, Rebuild(dsn, projection, REGISTRY, pace=pace, sources=SOURCES, **means._asdict()))

    return await fold_each(plan.settings, plan.projections, plan.jobs, "Replaying", one)


async def _one(plan: Plan, rebuild: "Rebuild") -> Replayed:
    """Build a projection and compare it; show the difference at once to people; switch, except in a dry run.

    Raises BeliesSigned, and switches nothing, if the tree contradicts what was signed.
    """
    from services.proof.replayed import contradiction

    settings, kept = plan.settings, plan.keep_previous
    async with _cleaned_up(rebuild, plan.dry_run):
        resumed = await rebuild.prepare()
        await rebuild.catch_up()
        found = await rebuild.compare()
        slugs = await slugs_in(settings, [found])
        belied = await contradiction(settings.database_url, rebuild.projection, rebuild.projection.next_schema)
        switches = not plan.dry_run and belied is None
        replayed = Replayed(rebuild.projection.name, resumed, found, switches, kept and switches, slugs)
        show(False, None, *(() if plan.as_json else _lines(replayed)))
        if belied is not None:
            await rebuild.abandon()
            raise belied
        if switches:
            await rebuild.catch_up()
            async with _doing(settings, "rebuilt-view", replayed.projection, _differs(found)):
                await rebuild.switch(keep_previous=kept)
    return replayed


@contextlib.asynccontextmanager
async def _cleaned_up(rebuild: "Rebuild", dry_run: bool) -> AsyncIterator[None]:
    """Leave nothing behind after a dry run, nor on a full disk, whose space the site needs."""
    import asyncpg

    try:
        yield
    except asyncpg.DiskFullError:
        await rebuild.abandon()
        raise
    finally:
        if dry_run:
            await rebuild.abandon()


def _differs(diff: Diff) -> str:
    return rows_differ(diff.count) if diff.tables else "nothing differs"


def _lines(replayed: Replayed) -> Iterator[str]:
    name, diff = replayed.projection, replayed.diff
    again = ", going on where an earlier replay stopped" if replayed.resumed else ""
    yield f"{name}: rebuilt to position {diff.position}{again}; {_differs(diff)}"
    yield from difference_lines(diff, replayed.slugs)
    if replayed.switched:
        kept = f"; back with `ballotpress replay --rollback {name}`" if replayed.kept_previous else ""
        yield f"{name}: switching to the rebuilt tables{kept}"


@contextlib.asynccontextmanager
async def _doing(settings: Settings, kind: str, view: str, about: str = "") -> AsyncIterator[None]:
    """Note what an operator does to a view."""
    from services.operators import acts

    async with connected(settings, seconds=60) as connection, acts.doing(connection, operator_of(settings), kind, view) as act:
        act.about = about
        yield


async def _roll_back(settings: Settings, projection: "Projection", as_json: bool) -> None:
    from events.registry import REGISTRY
    from projections.engine.projection import only_one
    from projections.engine.rebuild import roll_back
    from services.proof.replayed import contradiction

    name, dsn = projection.name, settings.database_url
    with shown_progress("Catching up") as report:
        async with only_one(dsn, projection):
            if (belied := await contradiction(dsn, projection, projection.previous_schema)) is not None:
                raise belied
            async with _doing(settings, "rolled-view-back", name):
                position = await roll_back(dsn, projection, REGISTRY, report)
    show(
        as_json,
        {"projection": name, "position": position},
        f"{name}: the tables kept from before are live again, at position {position}",
        f"The others are kept: `ballotpress replay --rollback {name}` brings them back",
    )
