"""`ballotpress events tail|export|import`: follow the log, write it to a file, or load such a file into an empty log.

The commands on its parts stand in `archive`.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import rich_click as click

from services.cli.archive import archive, parts, unarchive
from services.cli.database import asynchronous, connected, operator_of
from services.cli.files import written
from services.cli.options import Whole, json_option
from services.cli.terminal import counted, must_be_read, progress, show
from services.embedded.start import find_settings, is_homeless, reachable_database
from services.settings import home_folder, process_environ

if TYPE_CHECKING:
    from asyncpg import Connection

    from events.log.store import RecordedRow

LAST = 10
AT_ONCE = 500
POLL = 0.5
"""Seconds."""
POSITION = Whole(1, 2**63 - 1)


@click.group()
def events() -> None:
    """Follow the log; export it, or import an export; archive its old parts."""


for _command in (parts, archive, unarchive):
    events.add_command(_command)


@events.command()
@click.option("--from", "first", type=POSITION, help="Position to begin at.  [default: the last ten events]")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for new events, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each event.")
@asynchronous
async def tail(first: int | None, follow: bool, as_json: bool) -> None:
    """Show the last events, then each new one."""
    settings = find_settings()
    from events.log.tasks import end
    from projections.engine import notify

    woken = asyncio.Event()
    listening = asyncio.create_task(notify.listen(settings.database_url, notify.LOG, woken.set)) if follow else None
    try:
        async with connected(settings) as connection:
            after = (first or max(1, await connection.fetchval("select position from log.head") - LAST + 1)) - 1
            while True:
                while shown := await _show_after(connection, after, as_json):
                    after = shown
                if not follow:
                    return
                must_be_read()
                woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await woken.wait()
    finally:
        if listening is not None:
            await end(listening)


@events.command("export")
@click.argument("file", metavar="FILE|-")
@click.option("--from", "first", type=POSITION, default=1, help="Position to begin at.  [default: the first]")
@click.option("--to", "last", type=POSITION, help="Position to end with.  [default: the last]")
@asynchronous
async def export_(file: str, first: int, last: int | None) -> None:
    """Write the log as JSON Lines to FILE (mode 0600), or to stdout with -. The last line is a manifest.

    Without --from and --to it is the whole log. A part of the log is for study, and can't be imported.

    The vault (keys, addresses) is not in it: once imported elsewhere, sealed texts read as erased.
    """
    from events.log.archive.reading import entries
    from events.log.export import export
    from services.clock import now

    if last is not None and last < first:
        raise click.UsageError(f"--to {last} is before --from {first}")
    async with reachable_database(_say) as settings, connected(settings) as connection:
        with written(file) as out, progress("Exporting") as advance:
            manifest = await export(connection, out, now, advance, first, last, entries)
    click.echo(f"Exported {counted(manifest.events, 'event')} to {'stdout' if file == '-' else file}", err=file == "-")


@events.command("import")
@click.argument("file", metavar="FILE|-")
@json_option
@asynchronous
async def import_(file: str, as_json: bool) -> None:
    """Load a whole export from FILE, or from stdin with -, into an empty log, and verify it. It loads all or nothing.

    If it is cut short, importing the same file again goes on from where it was.

    The file's hash tells that it is whole, not who wrote it: import only what you trust.

    Without DATABASE_URL and a running `ballotpress up`, the private servers are started for as long as it takes.
    """
    from events.log.export import import_ as load
    from events.registry import REGISTRY
    from services.migrate import name_ballots
    from services.operators import acts

    with _opened(file) as (source, size):
        if is_homeless():
            source = _checked(source, size)  # nothing is made for a file that will be refused
        async with reachable_database(_say, makes_home=True) as settings, connected(settings) as connection:
            async with acts.doing(connection, operator_of(settings), "imported-log", "log") as act:
                with progress("Importing") as advance:
                    position = await load(connection, REGISTRY, source, size, advance)
                act.about = counted(position, "event")
            await name_ballots(settings.database_url, connection)
    show(
        as_json,
        {"imported": position, "position": position},
        f"Imported {counted(position, 'event')}, and verified them",
        "The vault is not in an export: sealed texts read as erased, and no address is known",
        "Next: `ballotpress up`, or where it runs already `ballotpress status` until the views have caught up",
    )


async def _show_after(connection: "Connection[Any]", after: int, as_json: bool) -> int | None:
    """Print the events after a position; return the last position printed."""
    from events.log.archive.reading import read_on
    from events.log.export import line

    rows = await read_on(connection, after, AT_ONCE)
    if not rows:
        return None
    write = line if as_json else _for_people
    click.echo(b"\n".join(map(write, rows)))
    return rows[-1].position


def _for_people(row: "RecordedRow") -> bytes:
    time = f"{row.recorded_at:%Y-%m-%d %H:%M:%S}"
    return f"{row.position} {time} {row.type} ".encode() + bytes(row.data)


def _checked(source: BinaryIO, size: int) -> BinaryIO:
    """Return a whole export that was checked, at its beginning. Raises ImportRefused.

    What comes by a pipe is kept in a file without a name, beside the home folder that will be made.
    """
    from events.log.export import check
    from events.registry import REGISTRY
    from services.clock import now

    if not source.seekable():
        beside = next(folder for folder in home_folder(process_environ()).parents if folder.is_dir())
        source, piped = tempfile.TemporaryFile(dir=beside), source  # noqa: SIM115 - the import reads it to the command's end
        shutil.copyfileobj(piped, source)
        source.seek(0)
    with progress("Checking") as advance:
        check(REGISTRY, source, size, now(), advance)
    return source


def _say(line: str) -> None:
    click.echo(line, err=True)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file to read; yield it with its size in bytes. `-` is stdin, with size 0 for unknown."""
    if file == "-":
        yield sys.stdin.buffer, 0
        return
    try:
        source = Path(file).open("rb")  # noqa: SIM115 - closed below, and only a failure to open is ours to say
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}") from None
    with source:
        yield source, os.fstat(source.fileno()).st_size
