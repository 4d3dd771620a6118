"""`ballotpress replay`: rebuild views from the log beside the live ones, show what would change, then switch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from projections.engine.verify import Diff
from services.cli.folding import ProjectionName, chosen, difference_lines, rows_differ, shown_progress
from services.cli.options import json_option
from services.cli.terminal import show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from projections.engine.projection import Projection
    from projections.engine.rebuild import Rebuild

PAUSE_MS = 200


class Replayed(msgspec.Struct, frozen=True):
    """A view that was rebuilt: what differed at `diff.position`, and whether the rebuilt tables are live now."""

    projection: str
    resumed: bool
    diff: Diff
    switched: bool
    kept_previous: bool


class RolledBack(msgspec.Struct, frozen=True):
    """A view whose kept tables are live again."""

    projection: str
    position: int


@click.command()
@click.argument("projection", nargs=-1, type=ProjectionName())
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--keep-previous", is_flag=True, help="Keep the present tables, for --rollback.")
@click.option(
    "--pause",
    default=PAUSE_MS,
    show_default=True,
    type=click.IntRange(0, 10_000),
    metavar="MS",
    help="Rest between windows for as long as one took, and at least so long; 0: no rest.",
)
@click.option("--rollback", type=ProjectionName(), metavar="PROJECTION", help="Go back to the tables kept from before.")
@json_option
def replay(
    projection: "tuple[Projection, ...]",
    dry_run: bool,
    keep_previous: bool,
    pause: int,
    rollback: "Projection | None",
    as_json: bool,
) -> None:
    """Rebuild each PROJECTION (all of them, if none is named) from the log; the site reads and votes throughout.

    The views are built beside the live ones; what differs is shown by table and key; then the new ones take their place.
    Stopped or killed before that, it has changed nothing; run again, it goes on where it was.
    """
    if rollback is not None and (projection or dry_run or keep_previous):
        raise click.UsageError("--rollback goes with no other projection, nor with --dry-run or --keep-previous")
    settings = find_settings()
    if rollback is not None:
        done = asyncio.run(_rolled_back(settings, rollback))
        show(as_json, done, *_rollback_lines(done))
        return
    say = (lambda _: None) if as_json else _say
    replayed = asyncio.run(_replayed(settings, chosen(projection), dry_run, keep_previous, pause / 1000, say))
    if as_json:
        show(as_json, {"replayed": replayed})


async def _replayed(
    settings: Settings,
    projections: "Sequence[Projection]",
    dry_run: bool,
    keep_previous: bool,
    pause: float,
    say: Callable[[Replayed], None],
) -> Sequence[Replayed]:
    from events.registry import REGISTRY
    from projections.engine.folding import Pace
    from projections.engine.projection import only_one
    from projections.engine.rebuild import Rebuild

    done = []
    with shown_progress("Replaying") as report:
        for projection in projections:
            async with only_one(settings.database_url, projection):
                rebuild = Rebuild(settings.database_url, projection, REGISTRY, pace=Pace(pause=pause), report=report)
                done.append(await _one(rebuild, dry_run, keep_previous, say))
    return done


async def _one(rebuild: "Rebuild", dry_run: bool, keep_previous: bool, say: Callable[[Replayed], None]) -> Replayed:
    """Build, compare, show, and switch unless dry."""
    async with _cleaned_up(rebuild, dry_run):
        resumed = await rebuild.prepare()
        await rebuild.catch_up()
        found = await rebuild.compare()
        replayed = Replayed(rebuild.projection.name, resumed, found, not dry_run, keep_previous and not dry_run)
        say(replayed)
        if not dry_run:
            await rebuild.catch_up()
            await rebuild.switch(keep_previous=keep_previous)
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


def _say(replayed: Replayed) -> None:
    name, diff = replayed.projection, replayed.diff
    again = ", going on where an earlier replay stopped" if replayed.resumed else ""
    differs = rows_differ(diff.count) if diff.tables else "nothing differs"
    click.echo(f"{name}: rebuilt to position {diff.position}{again}; {differs}")
    for line in difference_lines(diff):
        click.echo(line)
    if replayed.switched:
        kept = f"; back with `ballotpress replay --rollback {name}`" if replayed.kept_previous else ""
        click.echo(f"{name}: switching to the rebuilt tables{kept}")


async def _rolled_back(settings: Settings, projection: "Projection") -> RolledBack:
    from events.registry import REGISTRY
    from projections.engine.projection import only_one
    from projections.engine.rebuild import roll_back

    with shown_progress("Catching up") as report:
        async with only_one(settings.database_url, projection):
            position = await roll_back(settings.database_url, projection, REGISTRY, report)
    return RolledBack(projection.name, position)


def _rollback_lines(done: RolledBack) -> tuple[str, ...]:
    return (
        f"{done.projection}: the tables kept from before are live again, at position {done.position}",
        f"The others are kept: `ballotpress replay --rollback {done.projection}` brings them back",
    )
