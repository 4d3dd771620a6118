"""Import subscribers who consented elsewhere, from a CSV file of any size: the file is read whole before the first is imported.

Each refused row is named by the line it begins on, and the rest is imported. Known and suppressed addresses stay as they are.
Who left elsewhere is left out, also where another row of the file says otherwise, or a later file without a consent of a later
day: a keyed hash of the address remembers that. The same file again imports nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from events.commands.imports import Fate, Imported, ImportSubscribers, Left, look_known
from events.log.committer import Committer
from events.log.vault import Finder, Vault
from services.newsletter.columns import Columns, Row, RowRefused, Rules, is_header
from services.newsletter.ledger import Database
from services.newsletter.records import FileUnreadable, Form, Progress, form_of, records
from services.newsletter.subscribers import seal_person

CHUNK: Final = 100

Report = Callable[[int, str], None]


class ImportCounts(msgspec.Struct):
    """The numbers of rows imported, known already, refused, and left out, and the columns that weren't read.

    `left` have left elsewhere, and `unconfirmed` never confirmed there.
    """

    imported: int = 0
    known: int = 0
    refused: int = 0
    left: int = 0
    unconfirmed: int = 0
    not_read: list[str] = []


class CheckedFile(msgspec.Struct, frozen=True):
    """A file that was read whole; `gone` are the marks of those in it who left or never confirmed."""

    path: Path
    form: Form
    columns: Columns
    gone: frozenset[bytes]
    counts: ImportCounts


def check(path: Path, rules: Rules, finder: Finder, report: Report) -> CheckedFile:
    """Read a file whole; `report` is told of each refused row by its line. Raises FileUnreadable."""
    try:
        form = form_of(path, is_header)
        found = records(path, form)
        header = next(found, None)
        if header is None or header.cells is None:
            raise FileUnreadable(f"The first line must name the columns; {form}")
        checked = CheckedFile(path, form, Columns(header.cells, rules, form), frozenset(), ImportCounts())
        gone = set()
        for row in _rows(checked, report):
            if row.standing != "subscribed":
                gone.add(finder.mark(row.address))
    except UnicodeError:
        raise FileUnreadable(f"{path} isn't text in the encoding that it begins with") from None
    except OSError as error:
        raise FileUnreadable(f"{path} can't be read: {error.strerror}") from None
    checked.counts.not_read = checked.columns.not_read
    return msgspec.structs.replace(checked, gone=frozenset(gone))


def _rows(file: CheckedFile, report: Report, progress: Progress = lambda done, of: None) -> Iterator[Row]:
    found = records(file.path, file.form, progress)
    next(found)
    for record in found:
        try:
            if record.cells is None:
                raise RowRefused(record.fault)
            yield file.columns.row(record.cells)
        except RowRefused as error:
            report(record.line, str(error))


class _Chunk(msgspec.Struct):
    """Some rows to be imported, and some who left elsewhere."""

    rows: list[Row] = []
    left: list[Left] = []


def _chunks(file: CheckedFile, finder: Finder, progress: Progress) -> Iterator[_Chunk]:
    """Read a file a chunk at a time, and count who is left out; it is never in memory whole."""
    chunk = _Chunk()

    def refuse(line: int, reason: str) -> None:
        file.counts.refused += 1

    for row in _rows(file, refuse, progress):
        if row.standing == "unconfirmed":
            file.counts.unconfirmed += 1
        elif row.standing == "left":
            file.counts.left += 1
            chunk.left.append(Left(finder.mark(row.address), row.day))
        elif finder.mark(row.address) in file.gone:
            file.counts.left += 1
        else:
            chunk.rows.append(row)
        if len(chunk.rows) + len(chunk.left) == CHUNK:
            yield chunk
            chunk = _Chunk()
    if chunk.rows or chunk.left:
        yield chunk


async def import_subscribers(
    committer: Committer, vault: Vault, finder: Finder, file: CheckedFile, rules: Rules, operator: str, progress: Progress
) -> ImportCounts:
    """Import a checked file, chunk by chunk. Raises LogUnavailable; then the same file goes on where it was."""
    for chunk in _chunks(file, finder, progress):
        sealed = [_sealed(row, vault, finder) for row in chunk.rows]
        receipt = await committer.submit(ImportSubscribers(sealed, operator, rules.offered, chunk.left))
        _count(file.counts, receipt.value)
    return file.counts


def _count(counts: ImportCounts, fates: Sequence[Fate]) -> None:
    counts.imported += fates.count("imported")
    counts.known += fates.count("known")
    counts.left += fates.count("left")


async def foresee(database: Database, finder: Finder, file: CheckedFile, progress: Progress) -> ImportCounts:
    """Count what an import of a checked file would do; nothing is written."""
    before: set[bytes] = set()
    for chunk in _chunks(file, finder, progress):
        marks = [finder.mark(row.address) for row in chunk.rows]
        found = await look_known(database, marks)
        for mark, row in zip(marks, chunk.rows, strict=True):
            fate = "known" if mark in before else found.fate(mark, row.day)
            before.update([mark] if fate == "imported" else [])
            _count(file.counts, [fate])
    return file.counts


def _sealed(row: Row, vault: Vault, finder: Finder) -> Imported:
    person, key = seal_person(vault, finder, row.address)
    return Imported(person, key.seal("proof", row.proof), row.categories, row.day)
