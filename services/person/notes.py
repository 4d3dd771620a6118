"""Note outside the database what was erased, so that it is erased again when a backup from before is brought back.

Each erasure is a line of a file: which event it was, and whose key or what visitor it destroyed, by number alone. The worker
notes what came within about a second. When the log has lost events that are noted, it erases again: at its start, before it
sends anything, and whenever the log goes back while it runs. Twice is as once, and a backup of any age may come, so lines stay.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
from asyncpg import Connection

from events.commands.reviews import WithdrawReview
from events.log import history, ids, postgres, vault
from events.log.committer import Committer, LogUnavailable
from events.log.history import Mark
from events.registry import REGISTRY
from events.reviews import stream
from events.voters import VoterIsDisqualified
from services import valkey
from services.person.erasure import erase_subscriber, erase_visitor
from services.private_files import NotOurs, must_be_ours
from services.settings import Settings

logger = logging.getLogger(__name__)

FILE: Final = "erasures"
PACE: Final = 1.0
"""Seconds between two looks."""
UNUSABLE: Final = "can't note erasures, so that a restored backup would bring erased texts back: {}"

# A subscriber is erased on its own stream, a visitor on one beside. Who never confirmed and was forgotten after a week, though
# nobody asked, is forgotten again by itself: sign-ups that flood in must not fill the file.
READ_ERASED: Final = """
select e.position, e.recorded_at, e.stream, coalesce(e.data->>'person', e.data->>'review') as id,
       case when e.type = 'ReviewWithdrawn' then 'review'
            when e.stream = newsletter.stream_of(e.data->>'person') then 'subscriber' else 'visitor' end as kind
from log.taken($1, $2, '{}', '{PersonErased, ReviewWithdrawn}') e
where (e.type = 'ReviewWithdrawn' or e.stream <> newsletter.stream_of(e.data->>'person') or e.meta is not null
       or exists (select from log.of_stream(e.stream) c
                  where c.type in ('SubscriptionConfirmed', 'SubscriberImported')))
order by e.position
"""
READ_LOST: Final = """
select m.n from unnest($1::bigint[], $2::timestamptz[], $3::uuid[]) with ordinality as m(position, at, stream, n)
where not log.holds(m.position, m.at, m.stream)
"""
READ_KEYED: Final = "select owner from vault.keys where owner = any($1::text[])"
READ_AUTHOR: Final = "select data->>'visitor' from log.recorded_events where stream = $1 order by version limit 1"


async def connect(dsn: str) -> "Connection[Any]":
    """Open a connection to look for erasures by: how far was looked is kept, so no part of the log may be passed over."""
    return await postgres.connect(dsn, "erasures", seconds=60, plan_cache_mode=postgres.ANEW)


class Note(msgspec.Struct, frozen=True):
    """An erasure: its event's mark, what was erased, and the number of that."""

    mark: Mark
    kind: str
    id: str

    def __str__(self) -> str:
        """Return the note as its line."""
        return f"{self.mark.position} {self.mark.recorded_at.isoformat()} {self.mark.stream} {self.kind} {self.id}\n"


def file_of(settings: Settings) -> Path | None:
    """Return where erasures are noted: the file that is set, else one in a home folder that can be written; None: nowhere."""
    return settings.erasure_file or (settings.home / FILE if os.access(settings.home, os.W_OK) else None)


def read_notes(file: Path) -> list[Note]:
    """Return the notes of a file, none if there is no file; a line that was cut short isn't one. Raises OSError, NotOurs."""
    must_be_ours(file)
    try:
        return list(_notes(file.read_text("ascii", "replace").splitlines()))
    except FileNotFoundError:
        return []


def _notes(lines: Iterable[str]) -> Iterator[Note]:
    for line in lines:
        with suppress(ValueError):
            position, at, of, kind, id_ = line.split(" ")
            if kind in ("visitor", "subscriber", "review") and ids.is_id(id_):
                yield Note(Mark(int(position), datetime.fromisoformat(at), UUID(of)), kind, id_)


def add_notes(file: Path, notes: Sequence[Note]) -> None:
    """Add notes to a file; they are on the disk when this returns. Raises OSError, NotOurs."""
    must_be_ours(file)
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as opened:
        size = os.fstat(descriptor).st_size
        begun = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
        opened.write(begun + "".join(map(str, notes)).encode("ascii"))
        opened.flush()
        os.fsync(descriptor)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Notes:
    """One worker's notes of erasures; `trouble` is what keeps it from noting them."""

    def __init__(self, settings: Settings) -> None:
        self.trouble: str | None = None
        self._settings = settings
        self._file = file_of(settings)
        self._noted: int | None = None
        self._known: Mark | None = None
        self._looking = asyncio.Lock()

    async def run(self) -> None:
        """Note erasures until cancelled; every failure is logged, and tried again."""
        while self._file is not None:
            with suppress(*postgres.UNAVAILABLE, LogUnavailable):  # both end by themselves
                connection = await connect(self._settings.database_url)
                try:
                    while True:
                        await self.look(connection)
                        await asyncio.sleep(PACE)
                finally:
                    await connection.close(timeout=5)
            await asyncio.sleep(PACE)

    async def begin(self) -> None:
        """Look once, before anything else is done; warn if there is nowhere to note erasures."""
        if self._file is None:
            logger.warning("erasures are noted nowhere: set BALLOTPRESS_ERASURE_FILE, so that they outlive a restored backup")
            return
        connection = await connect(self._settings.database_url)
        try:
            await self.look(connection)
        finally:
            await connection.close(timeout=5)

    async def look(self, connection: "Connection[Any]") -> None:
        """Erase again what the log has lost, and note what was erased since the last look. Raises LogUnavailable."""
        if self._file is None:
            return
        try:
            async with self._looking:
                await self._look(connection, self._file)
        except (OSError, NotOurs) as error:
            if self.trouble is None:
                logger.error(UNUSABLE.format(error))
            self.trouble = UNUSABLE.format(error)
        else:
            self.trouble = None

    async def _look(self, connection: "Connection[Any]", file: Path) -> None:
        if self._noted is None or not await history.holds(connection, self._known):
            self._noted = await self._begin(connection, await asyncio.to_thread(read_notes, file))
        head = await history.mark_of_head(connection)
        if head is None or head == self._known:
            return
        rows = await connection.fetch(READ_ERASED, self._noted, head.position)
        if rows:
            await asyncio.to_thread(add_notes, file, [Note(Mark(*row[:3]), row["kind"], row["id"]) for row in rows])
        self._noted, self._known = head.position, head

    async def _begin(self, connection: "Connection[Any]", notes: Sequence[Note]) -> int:
        """Erase again what the log has lost of these; return up to which position everything is noted."""
        marks = [history.place(note.mark) for note in notes]
        columns = zip(*marks, strict=True) if marks else ((), (), ())
        lost = {row["n"] - 1 for row in await connection.fetch(READ_LOST, *map(list, columns))}
        await self._redo(connection, [note for n, note in enumerate(notes) if n in lost])
        return max((note.mark.position for n, note in enumerate(notes) if n not in lost), default=0)

    async def _redo(self, connection: "Connection[Any]", lost: Sequence[Note]) -> None:
        """Erase again what is there of these."""
        rows = await connection.fetch(READ_KEYED, [note.id for note in lost])
        keyed = {row["owner"] for row in rows}
        again = [note for note in dict.fromkeys(lost) if note.kind == "visitor" or note.id in keyed]
        if not again:
            return
        async with (
            Committer(self._settings.database_url, REGISTRY) as committer,
            valkey.client(self._settings.redis_url, socket_timeout=1) as client,
        ):
            for note in again:
                match note.kind:
                    case "visitor":
                        await erase_visitor(committer, connection, client, note.id)
                    case "subscriber":
                        await erase_subscriber(committer, client, self._settings.home, note.id)
                    case _:
                        await _withdraw(committer, connection, note.id)
        logger.warning("the log had lost %d erasures: they are done again, where there was anything to erase", len(again))


async def _withdraw(committer: Committer, connection: "Connection[Any]", review: str) -> None:
    """Withdraw a review again; of an author who is disqualified now, and may write nothing, destroy the texts alone."""
    author = await connection.fetchval(READ_AUTHOR, stream(review))
    try:
        await committer.submit(WithdrawReview(author, review))
    except VoterIsDisqualified:
        await connection.execute(vault.DESTROY, review)
