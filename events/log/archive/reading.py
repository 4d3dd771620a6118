"""Read events of archived parts from their files, where they belong among those of the database."""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from asyncpg import Connection

from events.log import transfer
from events.log.archive import state
from events.log.archive.places import FileMissing, Place, place_of
from events.log.archive.state import Archive, ArchiveRefused, FileBroken
from events.log.reads import Reads
from events.log.store import RecordedRow, read_rows

if TYPE_CHECKING:
    from events.log.archive.parquet import Reader


@contextlib.contextmanager
def opened(archive: Archive, place: Callable[[str], Place] = place_of) -> Iterator["Reader"]:
    """Read a part's file. Raises PlaceUnusable, and FileBroken if it is another one's, then and while it is read.

    Raises ArchiveRefused if nothing here reads it.
    """
    must_be_able()
    try:
        with place(archive.place).open(archive.name) as file:
            yield _reader(file, archive.path, archive.chain)
    except (FileBroken, FileMissing) as error:
        mend = f"`ballotpress events archive {archive.part} --to {shlex.quote(archive.place)}`"
        forget = f"; `ballotpress events unarchive {archive.part} --forget` if it was deleted"
        gone = forget if archive.state == "written" else ""
        raise type(error)(f"{error}, or let {mend} write it again from what the database keeps{gone}") from None


def _reader(file: BinaryIO, path: str, chain: str) -> "Reader":
    from events.log.archive.parquet import Reader

    reader = Reader(file, path)
    if reader.manifest.sha256 != chain:
        raise FileBroken(f"{path} isn't the file that was archived: its hash is another one. Put it back from a copy")
    return reader


def must_be_able() -> None:
    """Check that what reads and writes archives is installed. Raises ArchiveRefused."""
    try:
        import obstore  # noqa: F401
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        raise ArchiveRefused("Archives need pyarrow and obstore here: install ballotpress[archive]") from None


def check(place: Place, name: str, chain: str) -> None:
    """Read a file whole from where it is kept. Raises PlaceUnusable, or FileBroken if its events aren't those of a hash."""
    with place.open(name) as file:
        for _ in _reader(file, f"{place.url}/{name}", chain).tables():
            pass


def check_all(archive: Archive) -> None:
    """Read a part's file whole. Raises PlaceUnusable, FileBroken, ArchiveRefused."""
    with opened(archive) as reader:
        for _ in reader.tables():
            pass


def copied(archive: Archive, place: Callable[[str], Place] = place_of) -> Iterator[bytes]:
    """Return all events of a part's file, as the server's COPY takes them from CSV. Raises as `opened`."""
    with opened(archive, place) as reader:
        yield from reader.copied()


def read_some(archive: Archive, positions: Sequence[int]) -> list[RecordedRow]:
    """Return the events of a part's file at some positions, which rise. Raises PlaceUnusable, FileBroken, ArchiveRefused.

    Nothing but checksums says that they are right: whoever shows them must know their hashes.
    """
    with opened(archive) as reader:
        return reader.at(positions)


async def read_at(connection: Reads, positions: Sequence[int]) -> list[RecordedRow]:
    """Return the events of packed parts at some positions, which rise; none for positions that are in the database.

    Raises PlaceUnusable, FileBroken, ArchiveRefused.
    """
    found: list[RecordedRow] = []
    if positions:
        for archive in await state.read_between(connection, positions[0], positions[-1]):
            if archive.state == "packed":
                found += await asyncio.to_thread(read_some, archive, positions)
    return found


async def read_on(connection: "Connection[Any]", after: int, limit: int) -> Sequence[RecordedRow]:
    """Return up to `limit` events above a position, in order, those of packed parts from their files.

    Raises PlaceUnusable, FileBroken, ArchiveRefused.
    """
    for archive in await state.read_between(connection, after + 1, after + limit):
        if archive.state == "packed" and archive.first <= after + 1:
            return await asyncio.to_thread(read_some, archive, range(after + 1, min(after + limit, archive.last) + 1))
        if archive.state == "packed":
            return await read_rows(connection, after, archive.first - 1 - after)
    return await read_rows(connection, after, limit)


async def entries(connection: "Connection[Any]", first: int, last: int) -> AsyncIterator[RecordedRow]:
    """Return the events from one position to another, in order, those of packed parts from their files.

    Needs a transaction with one snapshot. Raises LogBroken at a hole, PlaceUnusable, FileBroken, ArchiveRefused.
    """
    for archive in await state.read_between(connection, first, last):
        if archive.state == "packed":
            if first < archive.first:
                async for row in transfer.entries(connection, first, archive.first - 1):
                    yield row
            async for row in _of_file(archive, first, last):
                yield row
            first = archive.last + 1
    if first <= last:
        async for row in transfer.entries(connection, first, last):
            yield row


async def _of_file(archive: Archive, first: int, last: int) -> AsyncIterator[RecordedRow]:
    groups = _rows(archive)
    while rows := await asyncio.to_thread(next, groups, ()):
        for row in rows:
            if first <= row.position <= last:
                yield row


def _rows(archive: Archive) -> Iterator[Sequence[RecordedRow]]:
    with opened(archive) as reader:
        yield from reader.rows()
