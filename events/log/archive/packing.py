"""Archive a part: write its file, read that back from where it is kept, and only then let the database hold less.

A run that is ended anywhere leaves a log that is whole, and the next one goes on. A file is named after its hash, so two
histories never write the same one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from asyncpg import Connection

from events.log.archive import reading, state
from events.log.archive.places import Place
from events.log.archive.state import Archive, ArchiveRefused, Part
from events.log.store import RecordedRow
from events.log.transfer import entries

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


async def archive(
    connection: "Connection[Any]",
    part: int,
    place: Place,
    now: Callable[[], datetime],
    report: Report,
    *,
    needed_from: int,
    young: bool = False,
    spool: Path | None = None,
) -> Archive:
    """Let a part be in a file, and little of it here. Nothing is taken away before the file was read back and found right.

    Somebody still reads the log from the position `needed_from` on. A `young` part may be archived too. The file is made in
    the folder `spool` first. Raises ArchiveRefused, PlaceUnusable, FileBroken.
    """
    reading.must_be_able()
    found = await state.read_part(connection, part)
    async with state.changing(connection, part):
        await _must_be_ready(connection, found, needed_from, young=young)
        with TemporaryDirectory(prefix="ballotpress-", dir=spool) as folder:
            report("writing")
            file = Path(folder) / "part"
            manifest = await _write(connection, found, file, now)
            name = f"events-{found.first:012}-{found.last:012}-{manifest.sha256[:16]}.parquet"
            report("storing")
            if not await asyncio.to_thread(place.holds, name):
                await asyncio.to_thread(place.write, name, file)
            size = file.stat().st_size
        report("reading it back")
        await asyncio.to_thread(reading.check, place, name, manifest.sha256)
        await state.keep(connection, found, place.url, name, size, manifest.sha256)
        report("packing")
        await connection.execute("select log.prepare_packing($1)", part)
        await state.swap(connection, part, f"events_{part}_kept", f"events_{part}_gone", "packed")
        await connection.execute(f"drop table log.events_{part}_gone")
        await connection.execute(f"analyze log.archived_ballots; analyze log.events_{part}")
        kept = await state.read_one(connection, part)
    assert kept is not None  # noqa: S101 - it was kept
    return kept


async def _must_be_ready(connection: "Connection[Any]", part: Part, needed_from: int, *, young: bool) -> None:
    """Check that nobody will look for a part's ballots by position before long. Raises ArchiveRefused."""
    known = await state.read_one(connection, part.part)
    if known is not None and known.state != "written":
        raise ArchiveRefused(f"Part {part.part} is in the archive already: {known.path}")
    head = await connection.fetchval("select position from log.head")
    if head <= part.last:
        raise ArchiveRefused(f"Part {part.part} isn't full yet: the log ends at position {head}, the part at {part.last}")
    if needed_from <= part.last:
        raise ArchiveRefused(
            f"Part {part.part} goes to position {part.last}, and somebody has still to read from {needed_from} on:"
            " see `ballotpress status`"
        )
    for row in await connection.fetch(_CHECKPOINTS):
        reached = await connection.fetchval(f"select min(position) from {row['name']}")  # noqa: S608 - the server's own name
        if reached is not None and reached < part.last:
            view = row["name"].partition(".")[0]
            raise ArchiveRefused(
                f"The view {view} has come to position {reached}, and part {part.part} goes to {part.last}: wait for it"
            )
    if not young and not await connection.fetchval(_IS_OLD, part.last, YOUNG_DAYS):
        raise ArchiveRefused(
            f"Part {part.part} has events of the last {YOUNG_DAYS} days, among which bought votes are still looked for:"
            " wait, or say --young"
        )


async def _write(connection: "Connection[Any]", part: Part, path: Path, now: Callable[[], datetime]) -> "Manifest":
    from events.log.archive.parquet import Writer

    with Writer(path, part.first, part.last) as writer:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async for rows in _grouped(entries(connection, part.first, part.last)):
                await asyncio.to_thread(writer.write, rows)
        return writer.close(now())


async def _grouped(rows: AsyncIterator[RecordedRow]) -> AsyncIterator[Sequence[RecordedRow]]:
    from events.log.archive.parquet import ROWS_AT_ONCE

    group: list[RecordedRow] = []
    async for row in rows:
        group.append(row)
        if len(group) == ROWS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
