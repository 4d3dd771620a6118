"""Have archived parts at hand: for good, or while somebody reads all of a range, such as a rebuild or a comparison.

A part is loaded whole beside what stayed of it, checked by its hash, and put in that one's place; given back, the two change
places again. Several may read a part at a time. Whoever is ended leaves it loaded, and the next who comes by gives it back.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

from asyncpg import Connection

from events.log import postgres
from events.log.archive import state
from events.log.archive.places import Place, place_of
from events.log.archive.reading import copied
from events.log.archive.state import Archive, ArchiveRefused
from events.log.transfer import COLUMNS

LAST: Final = 2**63 - 1
"""The last of all positions."""

PATIENCE: Final = 10.0
"""For how many seconds it is tried to give a part back."""

_READ_PARTS: Final = """
select p.part, p.last_position from log.parts p where p.last_position > $1 and p.first_position <= $2 order by p.part
"""

# A run that was killed leaves the whole part that it had made, or had taken out. What is packed and waits isn't left over.
_READ_LEFT: Final = """
select a.part from log.archives a cross join lateral (values ('whole'), ('gone')) left_by(name)
where a.state <> 'written' and to_regclass(format('log.events_%s_%s', a.part, left_by.name)) is not null
"""

_FORGET: Final = "select log.forget_packing(a.part) from log.archives a where a.part = $1 and a.state = 'written'"

_FORGET_FILE: Final = "delete from log.archives a where a.part = $1 and a.state = 'written'"


class Present:
    """What is at hand for as long as the block goes on, for several who each read the log once, from its beginning on.

    They go through archived parts together, so that few are loaded at a time: one is loaded once everybody waits for it or for
    a later one, and given back once all have passed it. Whoever of those `expected` hasn't come yet is waited for.
    """

    def __init__(self, dsn: str, expected: Iterable[str] = (), place: Callable[[str], Place] = place_of) -> None:
        self._dsn = dsn
        self._place = place
        self._expected = set(expected)
        self._role = f"archive of {', '.join(sorted(self._expected))}" if self._expected else "archive"
        self._connection: Connection[Any] | None = None
        self._readers: list[Reader] = []
        self._held: dict[int, int] = {}
        self._turn = asyncio.Condition()

    async def __aenter__(self) -> Self:
        """Begin with nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back all that was loaded."""
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._give_back(self._connection, below=LAST)
        finally:
            await self._connection.close(timeout=5)

    @asynccontextmanager
    async def reader(self, name: str = "") -> AsyncIterator["Reader"]:
        """Let somebody read, as one of those who are expected."""
        reader = Reader(self)
        self._readers.append(reader)
        self._expected.discard(name)
        try:
            yield reader
        finally:
            self._readers.remove(reader)
            async with self._turn:
                self._turn.notify_all()

    async def has(self, reader: "Reader", low: int, high: int) -> bool:
        """Return whether the log holds every event of `(low, high]`, below which the reader needs none any more."""
        async with self._turn:
            reader.low = low
            return await self._has(low, high)

    async def is_archived(self, low: int, high: int) -> bool:
        """Return whether some event of `(low, high]` is in the archive, loaded or not."""
        async with self._turn:
            return bool(await state.read_between(await self._connected(), low + 1, high))

    async def ensure(self, reader: "Reader", low: int, high: int) -> None:
        """Let the log hold every event of `(low, high]`. Raises PlaceUnusable, FileBroken, ArchiveRefused."""
        async with self._turn:
            reader.low = low
            while not await self._has(low, high):
                if not reader.waits:  # else those that wait would wake each other without end
                    reader.waits = True
                    self._turn.notify_all()
                if all(one.waits for one in self._readers) and not self._expected and self._first() is reader:
                    await self._fetch(low, high)
                else:
                    await self._turn.wait()
            reader.waits = False
            self._turn.notify_all()

    def _first(self) -> "Reader":
        return min(self._readers, key=lambda one: one.low)

    async def _has(self, low: int, high: int) -> bool:
        """Return whether all of a range is here, where nobody takes it away from now on."""
        connection = await self._connected()
        for part, last in await connection.fetch(_READ_PARTS, low, high):
            if part not in self._held:
                await state.begin_reading(connection, part)
                self._held[part] = last
        return all(one.state == "loaded" for one in await state.read_between(connection, low + 1, high))

    async def _fetch(self, low: int, high: int) -> None:
        """Give back what everybody has passed, and load what the one that has come least far needs."""
        connection = await self._connected()
        await self._give_back(connection, low)
        for archive in await state.read_between(connection, low + 1, high):
            await load(connection, archive.part, self._place)

    async def _connected(self) -> "Connection[Any]":
        if self._connection is None:
            self._connection = await postgres.connect(self._dsn, self._role)
        return self._connection

    async def _give_back(self, connection: "Connection[Any]", below: int) -> None:
        """Give back what ends below a position; what can't be given back now is tried again with the next."""
        for part in [part for part, last in self._held.items() if last <= below]:
            await state.end_reading(connection, part)
            if await give_back(connection, part):
                del self._held[part]
            else:
                await state.begin_reading(connection, part)


class Reader:
    """Somebody who reads the log from its beginning on: below `low` it needs nothing any more."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self.low = 0
        self.waits = False

    async def has(self, low: int, high: int) -> bool:
        """Return whether the log holds every event of `(low, high]`."""
        return await self._present.has(self, low, high)

    async def is_archived(self, low: int, high: int) -> bool:
        """Return whether some event of `(low, high]` is in the archive, loaded or not."""
        return await self._present.is_archived(low, high)

    async def ensure(self, low: int, high: int) -> None:
        """Let the log hold every event of `(low, high]`. Raises PlaceUnusable, FileBroken, ArchiveRefused."""
        await self._present.ensure(self, low, high)


async def load(connection: "Connection[Any]", part: int, place: Callable[[str], Place] = place_of) -> None:
    """Let the log hold all of a packed part. Raises PlaceUnusable, FileBroken, ArchiveRefused."""
    async with state.changing(connection, part):
        archive = await state.read_one(connection, part)
        if archive is None or archive.state != "packed":
            return
        whole = f"events_{part}_whole"
        await connection.execute(f"drop table if exists log.{whole}")
        await connection.execute("select log.make_table_of($1, $2)", part, whole)
        try:
            await _copy(connection, archive, whole, place)
            await connection.execute("select log.index_part_table($1)", whole)
            await connection.execute(f"analyze log.{whole}")
            await state.swap(connection, part, whole, f"events_{part}_kept", "loaded", f"Part {part} stays as it was")
        except BaseException:
            if not connection.is_closed():
                await asyncio.shield(connection.execute(f"drop table if exists log.{whole}"))
            raise


async def _copy(connection: "Connection[Any]", archive: Archive, table: str, place: Callable[[str], Place]) -> None:
    """Copy a file's events into a table, and check all of them. Raises PlaceUnusable, FileBroken."""
    pieces = copied(archive, place)
    while text := await asyncio.to_thread(next, pieces, b""):
        await connection.copy_to_table(table, schema_name="log", columns=COLUMNS, source=io.BytesIO(text), format="csv")


async def give_back(connection: "Connection[Any]", part: int) -> bool:
    """Let the database hold little of a loaded part again, unless somebody reads it; return whether nothing is loaded.

    Where somebody's transaction holds the log for long it stays loaded: whoever comes by next gives it back.
    """
    async with state.changing(connection, part), state.unless_in_use(connection, part) as free:
        archive = await state.read_one(connection, part)
        if archive is None or archive.state != "loaded":
            return True
        if free:
            await connection.execute(f"drop table if exists log.events_{part}_gone")
            try:
                await state.swap(
                    connection, part, f"events_{part}_kept", f"events_{part}_gone", "packed", "It stays loaded", PATIENCE
                )
            except ArchiveRefused:
                return False
            await connection.execute(f"drop table log.events_{part}_gone")
        return free


async def give_all_back(connection: "Connection[Any]") -> None:
    """Give back what others left loaded when they were ended, and drop what they left beside it."""
    for archive in await state.read_all(connection):
        if archive.state == "loaded":
            await give_back(connection, archive.part)
    for (part,) in await connection.fetch(_READ_LEFT):
        async with state.unless_changing(connection, part) as free:
            if free:
                await connection.execute(f"drop table if exists log.events_{part}_whole, log.events_{part}_gone")


async def forget(connection: "Connection[Any]", part: int, place: Callable[[str], Place] = place_of) -> Archive:
    """Let the database hold all of a part, for good, and know nothing of its file any more: it may be deleted.

    Raises ArchiveRefused, PlaceUnusable, FileBroken.
    """
    archive = await state.read_one(connection, part)
    if archive is None:
        await state.read_part(connection, part)  # which knows of a number that no part has
        raise ArchiveRefused(f"Of part {part} no file is known: all of it is in the database")
    if archive.state != "written":
        await unarchive(connection, part, place)
    async with state.changing(connection, part), connection.transaction():
        await connection.execute(_FORGET, part)
        if await connection.execute(_FORGET_FILE, part) != "DELETE 1":
            raise ArchiveRefused(
                f"Part {part} was archived or forgotten meanwhile: see `ballotpress events parts`, and try again"
            )
    return archive


async def unarchive(connection: "Connection[Any]", part: int, place: Callable[[str], Place] = place_of) -> Archive:
    """Let the database hold all of a part again, for good; its file stays where it is.

    Raises ArchiveRefused, PlaceUnusable, FileBroken.
    """
    archive = await state.read_one(connection, part)
    if archive is None or archive.state == "written":
        await state.read_part(connection, part)  # which knows of a number that no part has
        async with state.changing(connection, part):  # a run of `archive` that couldn't swap may have left it
            await connection.execute(_FORGET, part)
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
