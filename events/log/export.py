"""The log as a file of JSON Lines: one event a line, the last line a manifest, without which the file is not whole.

The manifest's hash is a chain: a line's hash is the SHA-256 of the hash before it (32 zero bytes at first) followed by the
line without its newline. The vault is not exported.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any, BinaryIO, Final

import asyncpg
import msgspec

from events.log.event import Registry
from events.log.store import RecordedRow
from events.log.transfer import COLUMNS, AnotherLog, Checks, Entry, EntryRefused, Time, entries, load

FORMAT: Final = 1
LONGEST_LINE: Final = 16 * 1024 * 1024
REPORT_EVERY: Final = 5_000

Progress = Callable[[int, int], None]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A summary of an export; positions are None if it holds no event. A partial export is for study and can't be imported."""

    format: int
    events: int
    first_position: int | None
    last_position: int | None
    partial: bool = False
    sha256: str
    release: str
    exported_at: Time


class LastLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line of an export."""

    manifest: Manifest


class _Format(msgspec.Struct, frozen=True):
    """The part of a manifest that every format has."""

    format: int


class ImportRefused(Exception):
    """The file is not a whole and unchanged export; the message is one sentence."""


_encoder = msgspec.json.Encoder()
_entries = msgspec.json.Decoder(Entry)
_formats = msgspec.json.Decoder(dict[str, _Format])
_last_lines = msgspec.json.Decoder(LastLine)


def line(entry: Entry | RecordedRow) -> bytes:
    """Return an event as a line of JSON, without its newline; the time always has its microseconds."""
    time = entry.recorded_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _encoder.encode({column: getattr(entry, column) for column in COLUMNS} | {"recorded_at": time})


class Chain:
    """The hash of the lines so far, and their number."""

    def __init__(self) -> None:
        self.lines = 0
        self._hash = bytes(32)

    def take(self, text: bytes) -> None:
        """Add a line."""
        self._hash = sha256(self._hash + text).digest()
        self.lines += 1

    def digest(self) -> bytes:
        """Return the hash of the lines so far."""
        return self._hash


# Before the snapshot is taken: a part that left for the archive after it would be missed.
HOLD = "lock table only log.events in access share mode"


async def export(
    connection: "asyncpg.Connection[Any]",
    out: BinaryIO,
    now: Callable[[], datetime],
    progress: Progress,
    first: int = 1,
    last: int | None = None,
    read: Callable[["asyncpg.Connection[Any]", int, int], AsyncIterator[RecordedRow]] = entries,
) -> Manifest:
    """Write one snapshot of the log, whole unless positions are named.

    `read` returns the events from one position to another. Raises LogBroken, and writes no manifest, if a position is missing.
    """
    chain = Chain()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(HOLD)
        head: int = await connection.fetchval("select position from log.whole()")
        end = max(first - 1, head if last is None else min(last, head))
        async for entry in read(connection, first, end):
            text = line(entry)
            out.write(text + b"\n")
            chain.take(text)
            if chain.lines % REPORT_EVERY == 0:
                progress(chain.lines, end - first + 1)
    manifest = _manifest_of(chain, first, end, head, now())
    out.write(_encoder.encode(LastLine(manifest)) + b"\n")
    return manifest


def _manifest_of(chain: Chain, first: int, end: int, head: int, at: datetime) -> Manifest:
    held = (first, end) if chain.lines else (None, None)
    return Manifest(
        format=FORMAT, events=chain.lines, first_position=held[0], last_position=held[1], partial=first > 1 or end < head,
        sha256=chain.digest().hex(), release=version("ballotpress"), exported_at=at,
    )  # fmt: skip


async def import_(
    connection: "asyncpg.Connection[Any]", registry: Registry, file: BinaryIO, size: int, progress: Progress
) -> int:
    """Load a whole export into an empty log and verify it; return the head's position.

    Continues an import of the same file that was cut short. `size` is the file's, for the progress, or 0 if unknown. Raises
    ImportRefused, LogNotEmpty, LoadRunning.
    """
    chain = Chain()
    try:
        return await load(connection, registry, _read(file, size, progress, chain), chain.digest)
    except AnotherLog:
        raise ImportRefused(
            "An earlier import was cut short, of another file than this one; what it had loaded is dropped: try again"
        ) from None
    except EntryRefused as error:
        raise _refused(error) from None


def check(registry: Registry, file: BinaryIO, size: int, now: datetime, progress: Progress) -> None:
    """Check a whole export without a database, and go back to its beginning. Raises ImportRefused."""
    try:
        for _ in Checks(registry, now).checked(_read(file, size, progress, Chain())):
            pass
    except EntryRefused as error:
        raise _refused(error) from None
    file.seek(0)


def _refused(error: EntryRefused) -> ImportRefused:
    return ImportRefused(f"The file can't be imported: {error}")


def _read(file: BinaryIO, size: int, progress: Progress, chain: Chain) -> Iterator[Entry]:
    """Return the file's events, and check them against the manifest at its end. Raises ImportRefused."""
    done = 0
    for text in iter(lambda: file.readline(LONGEST_LINE), b""):
        if text.startswith(b'{"manifest":'):
            _must_match(chain, _manifest(text))
            if file.read(1):
                raise ImportRefused("The file goes on after its manifest")
            return
        entry = _entry(text, chain.lines + 1)
        if not chain.lines and entry.position != 1:
            raise ImportRefused(f"The file begins at position {entry.position}: a partial export is for study only")
        chain.take(text[:-1])
        yield entry
        done += len(text)
        if chain.lines % REPORT_EVERY == 0:
            progress(done, size)
    raise ImportRefused(f"The file ends after {chain.lines} events without a manifest: it was cut short")


def _entry(text: bytes, number: int) -> Entry:
    if not text.endswith(b"\n"):
        raise ImportRefused(f"The file is cut short, or not an export: line {number} does not end")
    try:
        text.decode()  # a Raw field isn't looked into
        return _entries.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImportRefused(f"Line {number} is not an event of an export: {error}") from None


def _manifest(text: bytes) -> Manifest:
    """Return the manifest; its format is read first, because another one may have other fields. Raises ImportRefused."""
    try:
        format_ = _formats.decode(text)["manifest"].format
        if format_ != FORMAT:
            raise ImportRefused(f"The file is of format {format_}, this release reads format {FORMAT}")
        return _last_lines.decode(text).manifest
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImportRefused(f"The manifest can't be read: {error}") from None


def _must_match(chain: Chain, manifest: Manifest) -> None:
    if manifest.partial:
        raise ImportRefused(f"The file ends at position {manifest.last_position}: a partial export is for study only")
    last = chain.lines or None
    if (manifest.events, manifest.first_position, manifest.last_position) != (chain.lines, last and 1, last):
        raise ImportRefused(f"The file holds {chain.lines} events, its manifest says {manifest.events}")
    if manifest.sha256 != chain.digest().hex():
        raise ImportRefused("The file was changed after it was written: its hash is not the manifest's")
