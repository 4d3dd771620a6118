"""`ballotpress verify`: fold the log afresh and compare it with the live views."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from projections.engine.diff import Diff
from services.cli.folding import ProjectionName, chosen, difference_lines, shown_progress
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(projection: "tuple[Projection, ...]", as_json: bool) -> int:
    """Fold the log afresh and compare each PROJECTION (all of them, if none is named) with it, by key.

    Status 1 and a list of the rows that differ, should any. Nothing is changed: `ballotpress replay` mends.
    """
    settings = find_settings()
    verified = asyncio.run(_verified(settings, chosen(projection)))
    wrong = [one.projection for one in verified if one.diff.tables]
    if as_json:
        from services.cli.terminal import print_json

        print_json({"right": not wrong, "verified": verified})
    else:
        for one in verified:
            _show(one)
        if wrong:
            click.echo(f"ballotpress: views differ from the log; `ballotpress replay {' '.join(wrong)}` mends them", err=True)
    return 1 if wrong else 0


async def _verified(settings: Settings, projections: "Sequence[Projection]") -> Sequence[Verified]:
    from events.registry import REGISTRY
    from projections.engine.verify import verify as verify_one

    with shown_progress("Verifying") as report:
        return [Verified(p.name, await verify_one(settings.database_url, p, REGISTRY, report)) for p in projections]


def _show(verified: Verified) -> None:
    diff = verified.diff
    if not diff.tables:
        click.echo(f"{verified.projection}: equal to the log up to position {diff.position}")
        return
    rows = "1 row differs" if diff.count == 1 else f"{diff.count} rows differ"
    click.echo(f"{verified.projection}: {rows} from the log up to position {diff.position}")
    for line in difference_lines(diff):
        click.echo(line)
