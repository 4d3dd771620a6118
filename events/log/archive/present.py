"""Have archived parts at hand: for good, or while somebody reads all of a range, such as a rebuild or a comparison.

A part is loaded whole beside what stayed of it, checked by its hash, and put in that one's place; given back, the two change
places again. Several may read a part at a time. Whoever is ended leaves it loaded, and the next who comes by gives it back.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from asyncpg import Connection

from events.log import postgres
from events.log.archive import state
from events.log.archive.places import Place, place_of
from events.log.archive.reading import must_be_able, opened
from events.log.archive.state import Archive, ArchiveRefused
from events.log.store import NO_META, RecordedRow
from events.log.transfer import COLUMNS


class Present:
    """What is at hand for as long as the block goes on."""

    def __init__(self, dsn: str, place: Callable[[str], Place] = place_of) -> None:
        self._dsn = dsn
        self._place = place
        self._connection: Connection[Any] | None = None
        self._held: dict[int, Archive] = {}

    async def __aenter__(self) -> Self:
        """Begin with nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back all that was loaded."""
        if self._connection is None:
            return
        try:
            for archive in [*self._held.values()]:
                await self._give_back(self._connection, archive)
        finally:
            await self._connection.close(timeout=5)

    async def ensure(self, low: int, high: int) -> None:
        """Let the log hold every event of `(low, high]`; give back the parts below.

        Raises PlaceUnusable, FileBroken, ArchiveRefused.
        """
        if self._connection is None:
            self._connection = await postgres.connect(self._dsn, "archive")
        for archive in [one for one in self._held.values() if one.last <= low]:
            await self._give_back(self._connection, archive)
        for archive in await state.read_between(self._connection, low + 1, high):
            if archive.part not in self._held:
                await state.begin_reading(self._connection, archive.part)
                self._held[archive.part] = archive
                await load(self._connection, archive.part, self._place)

    async def _give_back(self, connection: "Connection[Any]", archive: Archive) -> None:
        await state.end_reading(connection, archive.part)
        del self._held[archive.part]
        await give_back(connection, archive.part)


async def load(connection: "Connection[Any]", part: int, place: Callable[[str], Place] = place_of) -> None:
    """Let the log hold all of a packed part. Raises PlaceUnusable, FileBroken, ArchiveRefused."""
    async with state.changing(connection, part):
        archive = await state.read_one(connection, part)
        if archive is None or archive.state != "packed":
            return
        must_be_able()
        whole = f"events_{part}_whole"
        await connection.execute(f"drop table if exists log.{whole}")
        await connection.execute("select log.make_table_of($1, $2)", part, whole)
        try:
            await _copy(connection, archive, whole, place(archive.place))
            await connection.execute(f"analyze log.{whole}")
            await state.swap(connection, part, whole, f"events_{part}_kept", "loaded")
        except BaseException:
            if not connection.is_closed():
                await asyncio.shield(connection.execute(f"drop table if exists log.{whole}"))
            raise


async def _copy(connection: "Connection[Any]", archive: Archive, table: str, place: Place) -> None:
    """Copy a file's events into a table, and check all of them. Raises PlaceUnusable, FileBroken."""
    with await asyncio.to_thread(place.open, archive.name) as file:
        parts = (await asyncio.to_thread(opened, file, archive.path, archive.chain)).rows()
        while rows := await asyncio.to_thread(next, parts, ()):
            await connection.copy_records_to_table(
                table, schema_name="log", columns=COLUMNS, records=[_record(row) for row in rows]
            )


def _record(row: RecordedRow) -> Sequence[Any]:
    meta = None if row.meta == NO_META else bytes(row.meta).decode()
    return (
        row.position, row.stream, row.version, row.type, row.schema_version, row.recorded_at, bytes(row.data).decode(), meta
    )  # fmt: skip


async def give_back(connection: "Connection[Any]", part: int) -> bool:
    """Let the database hold little of a loaded part again, unless somebody reads it; return whether nothing is loaded."""
    async with state.changing(connection, part), state.unless_in_use(connection, part) as free:
        archive = await state.read_one(connection, part)
        if archive is None or archive.state != "loaded":
            return True
        if free:
            await connection.execute(f"drop table if exists log.events_{part}_gone")
            await state.swap(connection, part, f"events_{part}_kept", f"events_{part}_gone", "packed")
            await connection.execute(f"drop table log.events_{part}_gone")
        return free


async def give_all_back(connection: "Connection[Any]") -> None:
    """Give back what others left loaded when they were ended."""
    for archive in await state.read_all(connection):
        if archive.state == "loaded":
            await give_back(connection, archive.part)


async def unarchive(connection: "Connection[Any]", part: int, place: Callable[[str], Place] = place_of) -> Archive:
    """Let the database hold all of a part again, for good; its file stays where it is.

    Raises ArchiveRefused, PlaceUnusable, FileBroken.
    """
    archive = await state.read_one(connection, part)
    if archive is None or archive.state == "written":
        await state.read_part(connection, part)  # which knows of a number that no part has
        raise ArchiveRefused(f"Part {part} isn't in the archive: all of it is in the database")
    await state.begin_reading(connection, part)
    try:
        await load(connection, part, place)
        async with state.changing(connection, part), connection.transaction():
            await connection.execute("update log.archives set state = 'written' where part = $1", part)
            await connection.execute("select log.forget_packing($1)", part)
    finally:
        if not connection.is_closed():
            await state.end_reading(connection, part)
    return archive
