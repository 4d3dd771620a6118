"""`ballotpress verify`: fold the log afresh and compare it with the live views."""

import asyncio
from collections.abc import Iterator, Sequence
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


class Verified(msgspec.Struct, frozen=True):
    """What differs between a live view and the log at `diff.position`."""

    projection: str
    diff: Diff


@click.command()
@click.argument("projection", nargs=-1, type=ProjectionName())
@json_option
def verify(projection: "tuple[Projection, ...]", as_json: bool) -> int:
    """Fold the log afresh and compare each PROJECTION (all of them, if none is named) with it, by key.

    Status 1 and a list of the differing rows, if there are any. Nothing is changed; `ballotpress replay` mends.
    """
    verified = asyncio.run(_verified(find_settings(), chosen(projection)))
    wrong = [one.projection for one in verified if one.diff.tables]
    show(as_json, {"right": not wrong, "verified": verified}, *(line for one in verified for line in _lines(one)))
    if wrong and not as_json:
        click.echo(f"ballotpress: views differ from the log; `ballotpress replay {' '.join(wrong)}` mends them", err=True)
    return 1 if wrong else 0


async def _verified(settings: Settings, projections: "Sequence[Projection]") -> Sequence[Verified]:
    from events.registry import REGISTRY
    from projections.engine.verify import verify as verify_one
    from projections.sources import SOURCES

    with shown_progress("Verifying") as report:
        return [Verified(p.name, await verify_one(settings.database_url, p, REGISTRY, SOURCES, report)) for p in projections]


def _lines(verified: Verified) -> Iterator[str]:
    name, diff = verified.projection, verified.diff
    if not diff.tables:
        yield f"{name}: equal to the log up to position {diff.position}"
        return
    yield f"{name}: {rows_differ(diff.count)} from the log up to position {diff.position}"
    yield from difference_lines(diff)
