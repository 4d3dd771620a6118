"""Archive a part: write its file, read that back from where it is kept, and only then let the database hold less.

A run that is ended anywhere leaves a log that is whole, and the next one goes on. A file is named after its hash, so two
histories never write the same one. What a packed part keeps is enough to write its file again, should that be lost.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, Final

import msgspec
from asyncpg import Connection

from events.log.archive import reading, remains, state
from events.log.archive.places import Place, PlaceUnusable
from events.log.archive.state import Archive, ArchiveRefused, FileBroken, Part
from events.log.transfer import READ

if TYPE_CHECKING:
    from events.log.export import Manifest

Report = Callable[[str], None]
"""Told what is done next, in a few words."""

YOUNG_DAYS: Final = 45
"""Bought votes are looked for in the last 43 days, by position."""

# Everything that follows the log by position keeps how far it has come in a table `checkpoint`. A comparison's is temporary:
# nobody else may read it, and it loads the parts that it needs.
_CHECKPOINTS: Final = """
select c.oid::regclass::text as name from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attname = 'position'
where c.relname = 'checkpoint' and c.relkind = 'r' and c.relpersistence <> 't'
order by 1
"""
_IS_OLD: Final = "select log.time_of($1) < now() - make_interval(days => $2)"


class Reader(msgspec.Struct, frozen=True):
    """Somebody who reads the log by position: who it is, how far it has come, and what lets it come further."""

    who: str
    position: int
    advice: str


class Filing(msgspec.Struct, frozen=True):
    """Where a part's file is to be, and how it is made: first in the folder `spool`."""

    place: Place
    now: Callable[[], datetime]
    report: Report
    spool: Path | None = None


async def archive(
    connection: "Connection[Any]", part: int, filing: Filing, *, readers: Sequence[Reader] = (), young: bool = False
) -> Archive:
    """Let a part be in a file, and little of it here. Nothing is taken away before the file was read back and found right.

    A part may be archived once all `readers` have passed it, and no `young` one unless that is said. Of a part that is
    archived already the file is written again if it isn't in this place, or isn't whole. Raises ArchiveRefused,
    PlaceUnusable, FileBroken.
    """
    reading.must_be_able()
    found = await state.read_part(connection, part)
    async with state.changing(connection, part):
        known = await state.read_one(connection, part)
        if known is not None and known.state != "written":
            await _file_again(connection, found, known, filing)
        else:
            await _must_be_ready(connection, found, readers, young=young)
            await _file(connection, found, f"events_{part}", known, filing)
            filing.report("packing")
            await connection.execute("select log.prepare_packing($1)", part)
            await _leave(connection, part)
        kept = await state.read_one(connection, part)
    assert kept is not None  # noqa: S101 - it was kept
    return kept


async def _leave(connection: "Connection[Any]", part: int) -> None:
    """Put what stays of a part in its place. Raises ArchiveRefused, and keeps it for the next run, while somebody reads it."""
    later = f"Part {part} is packed, and takes its place once you run this again, which takes moments"
    async with state.unless_in_use(connection, part) as free:
        if not free:
            who = await state.who_reads(connection, part)
            raise ArchiveRefused(f"{who}, for a rebuild or a comparison: wait for it. {later}")
        await state.swap(connection, part, f"events_{part}_kept", f"events_{part}_gone", "packed", later)
    await connection.execute(f"drop table log.events_{part}_gone")
    await connection.execute(f"analyze log.archived_ballots; analyze log.events_{part}")


async def _file_again(connection: "Connection[Any]", part: Part, known: Archive, filing: Filing) -> None:
    """Write the file of a packed part again, from what the database keeps, unless it is where it should be, and whole.

    Raises ArchiveRefused if it is.
    """
    if known.place == filing.place.url and await asyncio.to_thread(_is_right, filing.place, known.name, known.chain):
        raise ArchiveRefused(f"Part {part.part} is in the archive already: {known.path}")
    async with _unpacked(connection, part.part, known) as table:
        await _file(connection, part, table, known, filing)


@asynccontextmanager
async def _unpacked(connection: "Connection[Any]", part: int, known: Archive) -> AsyncIterator[str]:
    """Have all events of a packed part in a table for a while."""
    if known.state == "loaded":
        yield f"events_{part}"
        return
    table = f"events_{part}_whole"
    await connection.execute(f"drop table if exists log.{table}")
    try:
        await connection.execute("select log.unpack_part($1, $2)", part, table)
        yield table
    finally:
        if not connection.is_closed():
            await asyncio.shield(connection.execute(f"drop table if exists log.{table}"))


async def _must_be_ready(connection: "Connection[Any]", part: Part, readers: Sequence[Reader], *, young: bool) -> None:
    """Check that nobody will look for a part's ballots by position before long. Raises ArchiveRefused."""
    head = await connection.fetchval("select position from log.head")
    if head <= part.last:
        raise ArchiveRefused(f"Part {part.part} isn't full yet: the log ends at position {head}, the part at {part.last}")
    for reader in [*readers, *await _views(connection)]:
        if reader.position < part.last:
            raise ArchiveRefused(
                f"{reader.who} has come to position {reader.position}, and part {part.part} goes to {part.last}:"
                f" {reader.advice}"
            )
    if not young and not await connection.fetchval(_IS_OLD, part.last, YOUNG_DAYS):
        raise ArchiveRefused(
            f"Part {part.part} has events of the last {YOUNG_DAYS} days, among which bought votes are still looked for:"
            " wait, or say --young"
        )


async def _views(connection: "Connection[Any]") -> Sequence[Reader]:
    """Return how far each view has come, and each that is being rebuilt."""
    found = []
    for row in await connection.fetch(_CHECKPOINTS):
        reached = await connection.fetchval(f"select min(position) from {row['name']}")  # noqa: S608 - the server's own name
        if reached is not None:
            view = row["name"].partition(".")[0]
            found.append(Reader(f"The view {view}", reached, _advice(view)))
    return found


def _advice(view: str) -> str:
    """Return what to do about a view that is behind: one that nobody folds any more holds its part for ever."""
    if view.endswith("_prev"):
        return f"it was kept for a rollback; if none will be, in psql: drop schema {view} cascade"
    return "wait for it, or do what `ballotpress status` says of it, if nobody folds it any more"


async def _file(connection: "Connection[Any]", part: Part, table: str, known: Archive | None, filing: Filing) -> None:
    """Have a part's events, which a table holds, in a file in its place, whole, and note where that is."""
    if known is not None and known.place == filing.place.url:
        filing.report("reading it back")
        if await asyncio.to_thread(_is_right, filing.place, known.name, known.chain):
            return
    with _spool(filing.spool) as folder:
        filing.report("writing")
        file = Path(folder) / "part"
        manifest = await _write(connection, part, table, file, filing.now)
        if known is not None and known.state != "written" and known.chain != manifest.sha256:
            raise FileBroken(
                f"What the database keeps of part {part.part} isn't what was archived: it was changed. Look for a copy of"
                f" {known.name}, or restore the database from a backup"
            )
        name = f"events-{part.first:012}-{part.last:012}-{manifest.sha256[:16]}.parquet"
        filing.report("storing")
        if not await asyncio.to_thread(_is_right, filing.place, name, manifest.sha256):
            await asyncio.to_thread(filing.place.write, name, file)
        size = file.stat().st_size
    filing.report("reading it back")
    await asyncio.to_thread(reading.check, filing.place, name, manifest.sha256)
    await state.keep(connection, part, filing.place.url, name, size, manifest.sha256)


def _spool(folder: Path | None) -> "TemporaryDirectory[str]":
    remains.clear(folder or Path(gettempdir()), f"{remains.SPOOL}*")
    try:
        return TemporaryDirectory(prefix=remains.SPOOL, dir=folder)
    except OSError as error:
        raise PlaceUnusable(f"{folder or 'TMPDIR'} can't be written: {error.strerror}; name a folder by --spool") from None


def _is_right(place: Place, name: str, chain: str) -> bool:
    """Return whether a place holds a file, and its events are those of a hash. Raises PlaceUnusable."""
    try:
        if place.size(name) is None:
            return False
        reading.check(place, name, chain)
    except FileBroken:
        return False
    return True


async def _write(connection: "Connection[Any]", part: Part, table: str, path: Path, now: Callable[[], datetime]) -> "Manifest":
    """Write a part's events, which a table holds, into a file. Raises PlaceUnusable if there is no room for it, FileBroken."""
    from events.log.archive.parquet import ROWS_AT_ONCE, Writer

    events = READ.replace("log.events", f"log.{table}")
    try:
        with Writer(path, part.first, part.last) as writer:
            for first in range(part.first, part.last + 1, ROWS_AT_ONCE):
                text, last = io.BytesIO(), min(part.last, first + ROWS_AT_ONCE - 1)
                await connection.copy_from_query(events, first, last, output=text, format="csv")
                await asyncio.to_thread(writer.write, text.getvalue())
            return await asyncio.to_thread(writer.close, now())
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError):  # PostgreSQL's, not the folder's
            raise
        raise PlaceUnusable(f"The file can't be made in {path.parent.parent}: {error}; name a folder by --spool") from None
