"""`ballotpress restore`: bring a backup back into a home folder, or try beside the live site whether it would come back."""

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from services.cli.backup import ELSEWHERE, folder_argument, passphrase, passphrase_option, say_to_stderr
from services.cli.database import asynchronous
from services.cli.options import json_option
from services.cli.terminal import show
from services.settings import home_folder, names_database, process_environ

if TYPE_CHECKING:
    from services.backup.drill import Drill
    from services.backup.restoring import Target


@click.command()
@folder_argument
@click.option("--to", "moment", metavar="TIME|POSITION", help="Restore to a time or position.  [default: the end]")
@click.option("--check", is_flag=True, help="Start the backup beside the live site, verify and compare it, and remove it.")
@passphrase_option
@click.option(
    "--secrets",
    "apart",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The keys, if `backup --secrets` wrote them to a file.",
)
@json_option
@asynchronous
async def restore(
    folder: Path, moment: str | None, check: bool, passphrase_file: Path | None, apart: Path | None, as_json: bool
) -> int:
    """Restore the newest fitting backup in DIR, and the archived WAL after it, into a home folder without a database.

    With --check nothing is kept: the status is 1 if the backup is no good, or the live log has something else.
    """
    from services.backup import drill

    target = _target(moment)
    identity = _identity(folder, passphrase_file)
    if check:
        done = await drill.drill(folder, target, identity, say_to_stderr)
        show(as_json, done, *_drill_lines(done))
        return 0 if done.is_right else 1
    if names_database():
        raise click.ClickException(ELSEWHERE)
    await _restore(folder, target, identity, apart, as_json)
    return 0


def _identity(folder: Path, passphrase_file: Path | None) -> Any:
    """Return the key that opens the backups of a folder; None if they aren't encrypted."""
    from services.backup.sealing import identity_of, recipient_of

    return None if recipient_of(folder) is None else identity_of(folder, passphrase(passphrase_file))


async def _restore(folder: Path, target: "Target", identity: Any, apart: Path | None, as_json: bool) -> None:
    from services.backup import drill, restoring
    from services.embedded.home import opened_home

    home = home_folder(process_environ())
    async with opened_home(home, say_to_stderr) as supervisor:
        restoring.must_be_free(home)
        async with drill.recovered_to(supervisor, folder, target, identity) as (backup, url):
            head = await drill.head_of(url)
            await restoring.hold_mails(url)
        there = restoring.bring_home(home, backup, identity, apart)
    value = {
        "home": str(home),
        "backup": backup.name,
        "position": head.position,
        "recorded_at": head.recorded_at,
        "kept": there,
    }
    lines = [
        f"Restored {backup.name} into {home}: {head}",
        *(f"{home / name} was there and stays" for name in there),
        "The newsletter is held, for mails may have gone out since: docs/operating.md says what to do",
        f"Start it with `ballotpress up --home {home}`",
    ]
    show(as_json, value, *lines)


def _target(moment: str | None) -> "Target":
    from services.backup.restoring import Target

    if moment is None:
        return Target()
    if moment.isdecimal():
        return Target(position=int(moment))
    with contextlib.suppress(ValueError):
        if (at := datetime.fromisoformat(moment)).tzinfo is not None:
            return Target(time=at)
    raise click.BadParameter(
        f"{moment!r} is neither a position nor a time with its zone, such as 2026-11-23T09:00:00Z", param_hint="--to"
    )


def _drill_lines(done: "Drill") -> list[str]:
    lines = [f"{done.backup} came back in {done.seconds:.0f} s: {done.head}"]
    lines += [f"{one.view}: {one.said}" for one in done.views]
    lines.append(f"signed: {done.proof.said}")
    if done.lost is None:
        lines.append("No live log can be reached: what would be lost is unknown")
    elif done.lost.is_another:
        lines.append("The live log is not the one in the backup: look whose backup this is, or whether the log went back")
    else:
        lines.append(f"Were the machine gone now, {done.lost.said} would be lost")
    return lines
