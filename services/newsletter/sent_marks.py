"""Remember outside the database which mails were about to be sent: a restored ledger may be behind the world.

Marks are on disk before their mails are attempted. The ledger counts a mail's claims and a mark names the count: a mail isn't
sent under a count that is marked already. A mark is of a period, since a restored database may give its issue another number.
Marks of a period that no issue of the ledger has, since it was lost or its hour is another now, count by time.
So do those that the relay's record makes. Marks hold ids and times alone.
"""

import asyncio
import contextlib
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from services.newsletter.ledger import ClaimedMail, Database
from services.settings import Settings

logger = logging.getLogger(__name__)

FOLDER: Final = "sent-marks"
SUFFIX: Final = ".marks"
KEEP: Final = timedelta(days=100)
"""So long a file of marks is kept after the last of them."""
MOST_GROUPS: Final = 6
"""Groups whose marks are held in memory, 80 bytes a mail."""
FILE: Final = re.compile(r"[0-9a-f]{16}\.marks")
GROUP: Final = re.compile(r"singles|relay|[a-z]+-\d{8}T\d{6}Z-\d+")
SINGLES: Final = "singles"
RELAY: Final = "relay"
"""The group of mails that the relay has sent of issues that no ledger knows."""
BEHIND: Final = "the ledger went back: it may have been sent already"
"""The reason of such mails."""
LOST: Final = "the send marks are lost: if the database is a restored backup, mails may have gone out since"

PERIODS: Final = "select number, edition, due_at, extra, period_from from newsletter.issues where number = any($1::integer[])"
ID: Final = "id"
"""The file in a folder that was named by BALLOTPRESS_SENT_MARKS_DIR, which tells it from any other."""
KNOWN_FOLDER: Final = "select marks_folder from newsletter.schedule"
KNOW_FOLDER: Final = "update newsletter.schedule set marks_folder = coalesce(marks_folder, $1) returning marks_folder"
FORGET_FOLDER: Final = "update newsletter.schedule set marks_folder = null"
OWNED: Final = "select edition, due_at, extra from newsletter.issues"


class MarksUnusable(Exception):
    """The marks can't be written or read, so nothing may be sent; the message is one sentence that says what to do."""


class Marked(msgspec.Struct, frozen=True):
    """A mail that was about to be sent, and the number of its claim."""

    issue: int
    reader: str
    mail: str
    claims: int
    at: datetime


class _Group(msgspec.Struct):
    """What is known of a group: of each mail its last mark, and how far each file was read."""

    known: dict[int, int] = msgspec.field(default_factory=dict)
    offsets: dict[str, int] = msgspec.field(default_factory=dict)


class Place(NamedTuple):
    """A mail's group, and from when on a mail of an issue that no ledger knows stands for it."""

    group: str
    begins: datetime | None


class SentMarks:
    """The marks of all workers that share a folder; this one writes files of its own. Without a folder it keeps none.

    A folder that `is_named` in the settings must be the one that the database knows: it may be a disk that isn't mounted.
    """

    def __init__(self, folder: Path | None, *, is_named: bool = False) -> None:
        self.folder = folder
        self._is_named = is_named
        self._name = secrets.token_hex(8)
        self._groups: dict[tuple[str, bool], _Group] = {}
        self._lock = asyncio.Lock()

    async def about_to(
        self, database: Database, claim: str, mails: Sequence[ClaimedMail], at: datetime
    ) -> Mapping[ClaimedMail, int]:
        """Return the mails that are marked already, each with the claims that its mark counts; mark the others, on disk.

        Raises MarksUnusable.
        """
        if self.folder is None or not mails:
            return {}
        await self.must_be_known(database)
        places, owned = await _places(database, mails), await owned_groups(database)
        async with self._lock:
            try:
                return await asyncio.to_thread(self._mark, claim, places, owned, at)
            except OSError as error:
                self._begin_anew()
                raise MarksUnusable(
                    f"{self.folder} can't be written or read ({error.strerror}), and without its marks nothing is sent"
                ) from None

    async def must_be_known(self, database: Database) -> None:
        """Check that a named folder is the one that the database knows. Raises MarksUnusable."""
        if self.folder is not None and self._is_named:
            await must_be_known(database, self.folder)

    def _begin_anew(self) -> None:
        """Write to other files, since the end of these may be torn, and read everything anew."""
        self._name = secrets.token_hex(8)
        self._groups.clear()

    def _mark(self, claim: str, places: Mapping[ClaimedMail, Place], owned: Set[str], at: datetime) -> dict[ClaimedMail, int]:
        groups = {place.group: self._read(place.group) for place in places.values()}
        strays = {
            place: [self._read(name, by_time=True) for name in (RELAY, *strays_of(self.folder, place, owned))]
            for place in set(places.values())
        }
        counts = {mail: _count(mail, place, groups[place.group], strays[place]) for mail, place in places.items()}
        unmarked: dict[str, list[ClaimedMail]] = {}
        for mail, place in places.items():
            if counts[mail] is None:
                unmarked.setdefault(place.group, []).append(mail)
        for name, mails in unmarked.items():
            self._append(name, line_of(claim, mails, at))
            groups[name].known.update({_key(mail.reader, mail.mail): mail.claims for mail in mails})
        return {mail: count for mail, count in counts.items() if count is not None}

    def _read(self, name: str, *, by_time: bool = False) -> _Group:
        """Return a group with what all workers have marked by now: of each mail the most claims, or the last time."""
        assert self.folder is not None  # noqa: S101 - asked before
        group = self._groups[name, by_time] = self._groups.pop((name, by_time), _Group())  # the last used stands last
        if len(self._groups) > MOST_GROUPS:
            del self._groups[next(iter(self._groups))]
        for file in _files(self.folder / name):
            self._read_on(group, file, by_time=by_time)
        return group

    @property
    def _file_name(self) -> str:
        return f"{self._name}{SUFFIX}"

    def _read_on(self, group: _Group, file: Path, *, by_time: bool) -> None:
        offset = group.offsets.get(file.name, 0)
        if file.stat().st_size <= offset:
            return
        with file.open("rb") as opened:
            opened.seek(offset)
            raw = opened.read()
        whole = raw.rfind(b"\n") + 1
        for mark in marks_in(raw[:whole], file):
            key, value = _key(mark.reader, mark.mail), int(mark.at.timestamp()) if by_time else mark.claims
            group.known[key] = max(value, group.known.get(key, 0))
        group.offsets[file.name] = offset + whole

    def _append(self, group: str, line: bytes) -> None:
        assert self.folder is not None  # noqa: S101 - asked before
        append(self.folder / group / self._file_name, line)


def _count(mail: ClaimedMail, place: Place, group: _Group, strays: Iterable[_Group]) -> int | None:
    """Return the claims that a mail's last mark counts; None if the ledger has counted more, or there is no mark."""
    claims = group.known.get(_key(mail.reader, mail.mail))
    if claims is not None and claims >= mail.claims:
        return claims
    if place.begins is None or mail.claims > 1:
        return None
    key, begins = _key(mail.reader, ""), int(place.begins.timestamp())
    return 1 if any(stray.known.get(key, -1) >= begins for stray in strays) else None


def append(file: Path, line: bytes) -> None:
    """Append a line to a file of marks; it is on the disk when this returns. Raises OSError."""
    is_new = not file.exists()
    if is_new:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        for folder in (file.parent, file.parent.parent, file.parent.parent.parent):
            _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def line_of(claim: str, mails: Iterable[ClaimedMail | Marked], at: datetime) -> bytes:
    """Return the line that marks the mails of a claim."""
    words = [f"{mail.issue}:{mail.reader}:{mail.mail}:{mail.claims}" for mail in mails]
    text = " ".join([f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", claim, *words])
    return f"{text} {crc32(text.encode()):08x}\n".encode()


def marks_in(raw: bytes, file: Path) -> Iterator[Marked]:
    """Yield the marks of whole lines; a torn one at the end marks nothing, since no mail of it was attempted.

    Raises MarksUnusable for a damaged line amid others.
    """
    lines = raw.split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            yield from _marks_of(line.decode("ascii"))
        except ValueError:
            if number < len(lines):
                raise MarksUnusable(
                    f"{file} is damaged in line {number}, so nobody knows what was sent: compare with the relay's record,"
                    " then move the file away"
                ) from None


def _marks_of(line: str) -> list[Marked]:
    text, _, checksum = line.rpartition(" ")
    if f"{crc32(text.encode()):08x}" != checksum:
        raise ValueError
    at, _, *words = text.split(" ")
    when = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    parts = [word.split(":") for word in words]
    return [Marked(int(issue), reader, mail, int(claims), when) for issue, reader, mail, claims in parts]


def read_group(folder: Path | None, group: str) -> Iterator[Marked]:
    """Yield all marks of a group. Raises MarksUnusable."""
    for file in [] if folder is None else _files(folder / group):
        raw = file.read_bytes()
        yield from marks_in(raw[: raw.rfind(b"\n") + 1], file)


def strays_of(folder: Path | None, place: Place, owned: Set[str]) -> list[str]:
    """Return the groups of an issue's edition that no issue of the ledger has."""
    edition = place.group.partition("-")[0]
    names = [group.name for group in _groups_in(folder)] if place.begins is not None else []
    return sorted(name for name in names if name.startswith(f"{edition}-") and name not in owned)


def read_place(folder: Path | None, place: Place, owned: Set[str]) -> Iterator[Marked]:
    """Yield all marks that stand for an issue: those of its group, and strays of its time. Raises MarksUnusable."""
    yield from read_group(folder, place.group)
    for name in strays_of(folder, place, owned):
        yield from (one for one in read_group(folder, name) if stands_for(one, place))


def stands_for(mark: Marked, place: Place) -> bool:
    """Tell whether a mark of an issue that the ledger lacks is of a place's time."""
    return place.begins is not None and mark.at >= place.begins.replace(microsecond=0)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _key(reader: str, mail: str) -> int:
    """Return what tells a mail from others of its group, in little memory: ids end in random bits."""
    return int.from_bytes((mail or reader)[-11:].encode())


def group_of(edition: str, due_at: datetime, extra: int) -> str:
    """Return the group of a period's issue."""
    return f"{edition}-{due_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{extra}"


async def _places(database: Database, mails: Sequence[ClaimedMail]) -> dict[ClaimedMail, Place]:
    """Return the place of each mail's marks."""
    rows = await database.fetch(PERIODS, sorted({mail.issue for mail in mails}))
    places = {row["number"]: place_of(row) for row in rows}
    return {mail: places.get(mail.issue, Place(SINGLES, None)) for mail in mails}


async def owned_groups(database: Database) -> set[str]:
    """Return the groups of the ledger's issues."""
    return {group_of(row["edition"], row["due_at"], row["extra"]) for row in await database.fetch(OWNED)}


def place_of(row: Mapping[str, Any]) -> Place:
    """Return the place of an issue's marks."""
    return Place(group_of(row["edition"], row["due_at"], row["extra"]), row["period_from"])


def marks_of(settings: Settings) -> SentMarks:
    """Return the marks of a process with these settings."""
    return SentMarks(marks_folder(settings), is_named=settings.newsletter.marks_folder is not None)


def marks_folder(settings: Settings) -> Path | None:
    """Return where marks are kept: in the folder that is set, else in the home folder; None for nowhere.

    A home folder that can't be written has no marks, unless there are some: then it could be, and nothing is sent until it can.
    """
    if settings.newsletter.marks_folder is not None:
        return settings.newsletter.marks_folder
    folder = settings.home / FOLDER
    return folder if os.path.lexists(folder) or os.access(settings.home, os.W_OK) else None


async def must_be_known(database: Database, folder: Path) -> None:
    """Check that a folder is the one that the database knows; let a database that knows none know it. Raises MarksUnusable."""
    known = await database.fetchval(KNOWN_FOLDER)
    try:
        here = await asyncio.to_thread(_id_of, folder, is_made=known is None)
    except OSError as error:
        raise MarksUnusable(
            f"{folder} can't be read or written ({error.strerror}), and without its marks nothing is sent"
        ) from None
    if known is None:
        known = await database.fetchval(KNOW_FOLDER, here)
    if here != known:
        raise MarksUnusable(
            f"{folder} isn't the folder of send marks that the database knows: mount its disk, or put the marks back;"
            " if they are lost: `ballotpress digest marks-lost`"
        )


def _id_of(folder: Path, *, is_made: bool) -> str | None:
    """Return what the id of a folder is; None if it has none, unless it is made then. Raises OSError."""
    if is_made and not (folder / ID).exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{secrets.token_hex(8)}"
        append(part, secrets.token_hex(16).encode())
        with contextlib.suppress(FileExistsError):  # another worker was faster
            os.link(part, folder / ID)
        part.unlink()
        _sync_folder(folder)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return (folder / ID).read_text("ascii", "replace").strip()
    return None


async def forget_folder(database: Database) -> None:
    """Let the database know of no folder of marks: the next that a worker uses is the one."""
    await database.execute(FORGET_FOLDER)


def forget_old(folder: Path | None) -> None:
    """Remove files of marks that are older than any backup that is worth restoring, and the groups that they leave empty.

    Whatever else stands in the folder isn't touched: it may be shared.
    """
    before = time() - KEEP.total_seconds()
    for group in _groups_in(folder):
        for file in _files(group):
            if FILE.fullmatch(file.name) and file.lstat().st_mtime < before:
                file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other files are in it
            group.rmdir()


def _groups_in(folder: Path | None) -> list[Path]:
    """Return the folders of groups; others may stand beside them."""
    if folder is None or not folder.is_dir():
        return []
    return [group for group in folder.iterdir() if GROUP.fullmatch(group.name) and group.is_dir() and not group.is_symlink()]
