"""`ballotpress backup`: keep a backup of the private database of `up` in a folder, and say what is there."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from services.cli.database import asynchronous, connected
from services.cli.options import Whole, json_option
from services.cli.terminal import progress, show, utc
from services.embedded.start import find_settings, is_homeless, reachable_database
from services.settings import Settings, names_database
from services.sizes import size

if TYPE_CHECKING:
    from services.backup.places import Backup

ELSEWHERE = "DATABASE_URL names a PostgreSQL of yours: back it up with pgBackRest or WAL-G, as docs/backups.md says"

passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File whose first line is the passphrase.  [default: ask, where one is needed]",
)


def _absolute(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    return value and value.absolute()


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), callback=_absolute)


def passphrase(file: Path | None, *, is_new: bool = False) -> str:
    """Return the passphrase: the first line of a file, or what is typed at the prompt."""
    if file is not None:
        return file.read_text().split("\n", 1)[0].strip("\r")
    if not sys.stdin.isatty():
        raise click.UsageError("The backups are encrypted: give the passphrase in a file, by --passphrase-file.")
    typed: str = click.prompt("Passphrase of the backups", hide_input=True, confirmation_prompt=is_new, err=True)
    return typed


def say_to_stderr(line: str) -> None:
    """Say how far a command is."""
    click.echo(line, err=True)


@click.command()
@folder_argument
@click.option(
    "--keep", type=Whole(min=1), metavar="N", help="Keep the newest N backups, and the WAL they need.  [default: all]"
)
@click.option("--encrypt", is_flag=True, help="Encrypt this backup and all later ones in DIR, by a passphrase.")
@passphrase_option
@click.option(
    "--secrets",
    "apart",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_absolute,
    help="Write the keys of the home folder to FILE instead, such as on another disk.",
)
@click.option("--list", "lists", is_flag=True, help="List the backups in DIR, and make none.")
@json_option
@asynchronous
async def backup(
    folder: Path,
    keep: int | None,
    encrypt: bool,
    passphrase_file: Path | None,
    apart: Path | None,
    lists: bool,
    as_json: bool,
) -> None:
    """Write a backup of the private database of `up`, and its keys, into DIR. The site goes on meanwhile.

    It is read back before it gets its name. With `up --archive DIR` any moment since can be restored.
    """
    if lists:
        await _list(folder, as_json)
        return
    if names_database():
        raise click.ClickException(ELSEWHERE)
    from services.backup.sealing import encrypt_from_now
    from services.backup.writing import Wanted, write_backup

    if encrypt and not is_homeless():
        encrypt_from_now(folder, passphrase(passphrase_file, is_new=True))
    async with reachable_database(say_to_stderr) as settings:
        with progress("Reading the database") as report:
            made = await write_backup(settings, Wanted(folder, keep, apart), report)
    show(as_json, _described(made), *_lines(made, apart))


def _lines(made: "Backup", apart: Path | None) -> Iterator[str]:
    yield f"Wrote {made.path} ({size(made.bytes)}): the log up to position {made.manifest.position}"
    if apart is not None:
        yield f"Wrote the keys to {apart}: without them nothing in a backup that is sealed can be read"
    elif not made.manifest.encrypted:
        yield "The keys are in it, not encrypted: keep it where only you can read, or use --encrypt or --secrets"


def _described(made: "Backup") -> dict[str, object]:
    return {"name": made.name, "path": str(made.path), "bytes": made.bytes, "manifest": made.manifest}


async def _list(folder: Path, as_json: bool) -> None:
    from services.backup.places import backups_in

    erased = await _erased_since()
    for made in backups_in(folder):
        since = erased(made.manifest.position)
        line = f"{made.name}  {utc(made.manifest.finished_at)}  position {made.manifest.position}  {size(made.bytes)}"
        line += "  encrypted" if made.manifest.encrypted else ""
        line += f"  holds the keys of {since} erased since" if since else ""
        show(as_json, {**_described(made), "erased_since": since}, line)


async def _erased_since() -> Callable[[int], int]:
    """Return a function that counts the persons who were erased after a position, by the log if it can be reached."""
    settings = _reachable()
    if settings is None:
        return lambda position: 0
    async with connected(settings) as connection:
        rows = await connection.fetch("select position from log.events where type = 'PersonErased'")
    positions = [row["position"] for row in rows]
    return lambda position: sum(one > position for one in positions)


def _reachable() -> Settings | None:
    from services.settings import SettingsError

    try:
        return find_settings(needs_keys=False)
    except SettingsError:
        return None
