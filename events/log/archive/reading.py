"""Read events of archived parts from their files, where they belong among those of the database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from asyncpg import Connection

from events.log import transfer
from events.log.archive import state
from events.log.archive.places import Place, place_of
from events.log.archive.state import Archive, ArchiveRefused, FileBroken
from events.log.store import RecordedRow, read_rows

if TYPE_CHECKING:
    from events.log.archive.parquet import Reader


def opened(file: BinaryIO, path: str, chain: str) -> "Reader":
    """Return the reader of a part's file. Raises FileBroken if it is another one's, ArchiveRefused if nothing here reads it."""
    must_be_able()
    from events.log.archive.parquet import Reader

    reader = Reader(file, path)
    if reader.manifest.sha256 != chain:
        raise FileBroken(f"{path} isn't the file that was archived: its hash is another one")
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
        for _ in opened(file, f"{place.url}/{name}", chain).rows():
            pass


def read_some(archive: Archive, first: int, last: int) -> list[RecordedRow]:
    """Return the events of a part's file from one position to another. Raises PlaceUnusable, FileBroken, ArchiveRefused.

    Nothing but checksums says that they are right: whoever shows them must know their hashes.
    """
    must_be_able()
    with place_of(archive.place).open(archive.name) as file:
        return opened(file, archive.path, archive.chain).between(first, last)


async def read_on(connection: "Connection[Any]", after: int, limit: int) -> Sequence[RecordedRow]:
    """Return up to `limit` events above a position, in order, those of packed parts from their files.

    Raises PlaceUnusable, FileBroken, ArchiveRefused.
    """
    for archive in await state.read_between(connection, after + 1, after + limit):
        if archive.state == "packed" and archive.first <= after + 1:
            return await asyncio.to_thread(read_some, archive, after + 1, min(after + limit, archive.last))
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
    must_be_able()
    with await asyncio.to_thread(place_of(archive.place).open, archive.name) as file:
        parts = (await asyncio.to_thread(opened, file, archive.path, archive.chain)).rows()
        while rows := await asyncio.to_thread(next, parts, ()):
            for row in rows:
                if first <= row.position <= last:
                    yield row
