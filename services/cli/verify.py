"""`ballotpress verify`: fold the log afresh and compare it with the live views."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from projections.engine.verify import Diff
from services.cli.database import asynchronous
from services.cli.folding import (
    Means,
    ProjectionName,
    chosen,
    difference_lines,
    fold_each,
    jobs_option,
    rows_differ,
    slugs_in,
)
from services.cli.options import json_option
from services.cli.terminal import show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from projections.engine.projection import Projection


class Verified(msgspec.Struct, frozen=True):
    """A projection, with the difference of its live tables from the log at `diff.position`."""

    projection: str
    diff: Diff


@click.command()
@click.argument("projection", metavar="[VIEW]...", nargs=-1, type=ProjectionName())
@jobs_option
@json_option
@asynchronous
async def verify(projection: "tuple[Projection, ...]", jobs: int, as_json: bool) -> int:
    """Fold the log afresh, and compare each VIEW (all of them, if none is named) with it, by key.

    If rows differ, they are listed and the status is 1. Nothing is changed; `ballotpress replay` mends.
    """
    settings = find_settings()
    diffs = await _compared(settings, chosen(projection), jobs)
    slugs = await slugs_in(settings, diffs.values())
    verified = [Verified(name, diff) for name, diff in diffs.items()]
    wrong = [one.projection for one in verified if one.diff.tables]
    lines = [line for one in verified for line in _lines(one, slugs)]
    show(as_json, {"right": not wrong, "verified": verified, "slugs": slugs}, *lines)
    if wrong and not as_json:
        click.echo(f"ballotpress: {_advice(wrong)}", err=True)
    return 1 if wrong else 0


async def _compared(settings: Settings, projections: "Sequence[Projection]", jobs: int) -> Mapping[str, Diff]:
    """Return the difference of each projection from the log."""
    from events.registry import REGISTRY
    from projections.engine.verify import verify as compare
    from projections.sources import SOURCES

    async def one(projection: "Projection", means: Means) -> Diff:
        return await compare(
            settings.database_url, projection, REGISTRY, SOURCES, means.report, means.jobs, present=means.present
        )

    return await fold_each(settings, projections, jobs, "Verifying", one)


def _advice(wrong: Sequence[str]) -> str:
    """Return what to do about views that differ from the log."""
    from events.quarantine import WHOLE

    if mended := [name for name in wrong if name not in WHOLE]:
        return f"views differ from the log; `ballotpress replay {' '.join(mended)}` mends them"
    return "the tree over the log differs from it: events or tiles were changed by hand, so restore them from a backup"


def _lines(verified: Verified, slugs: Mapping[str, str]) -> Iterator[str]:
    name, diff = verified.projection, verified.diff
    if not diff.tables:
        yield f"{name}: equal to the log up to position {diff.position}"
        return
    yield f"{name}: {rows_differ(diff.count)} from the log up to position {diff.position}"
    yield from difference_lines(diff, slugs)
