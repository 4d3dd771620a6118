"""Import subscribers who consented elsewhere, from a CSV file of any size: each refused row is named, the rest is imported.

The file has a header; columns `email` and `proof` (how and when the person consented) are required, `categories` (separated by
`;`) is optional; a row is one line. Known and suppressed addresses stay as they are.
"""

import csv
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from emails.addresses import AddressRefused, read_address
from events.commands.subscribers import Imported, ImportSubscribers
from events.log.committer import Committer
from events.log.vault import Finder, Vault
from services.newsletter.subscribers import seal_person

CHUNK: Final = 100
LONGEST_LINE: Final = 64 * 1024
LONGEST_PROOF: Final = 1000

Report = Callable[[int, str], None]
Progress = Callable[[int, int], None]


class ImportUnreadable(Exception):
    """The file isn't such a CSV; the message is one sentence."""


class RowRefused(Exception):
    """A row can't be imported; the message says why and doesn't repeat the address."""


class ImportCounts(msgspec.Struct):
    """The numbers of rows imported, known already, and refused."""

    imported: int = 0
    known: int = 0
    refused: int = 0


class Row(msgspec.Struct, frozen=True):
    """A row that can be imported."""

    address: str
    proof: str
    categories: tuple[str, ...]


async def import_subscribers(
    committer: Committer,
    vault: Vault,
    finder: Finder,
    path: Path,
    operator: str,
    *,
    offered: Collection[str],
    report: Report,
    progress: Progress,
) -> ImportCounts:
    """Import a file, chunk by chunk; `report` is told of each refused row by its line. Categories must be `offered`.

    Raises ImportUnreadable and LogUnavailable.
    """
    done = ImportCounts()
    for rows in _chunks(path, offered, done, report, progress):
        receipt = await committer.submit(ImportSubscribers([_sealed(row, vault, finder) for row in rows], operator, offered))
        done.imported += sum(receipt.value)
        done.known += len(rows) - sum(receipt.value)
    return done


def _sealed(row: Row, vault: Vault, finder: Finder) -> Imported:
    person, key = seal_person(vault, finder, row.address)
    return Imported(person, key.seal("proof", row.proof), row.categories)


def _chunks(
    path: Path, offered: Collection[str], done: ImportCounts, report: Report, progress: Progress
) -> Iterator[list[Row]]:
    """Read the file a chunk at a time; it is never in memory whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            lines = _lines(raw)
            header = _header(next(lines, (0, None))[1])
            rows: list[Row] = []
            for number, line in lines:
                try:
                    rows.append(_row(header, line, offered))
                except RowRefused as error:
                    done.refused += 1
                    report(number, str(error))
                if len(rows) == CHUNK:
                    yield rows
                    rows = []
                    progress(raw.tell(), size)
            if rows:
                yield rows
    except OSError as error:
        raise ImportUnreadable(f"{path} can't be read: {error.strerror}") from None


def _lines(raw: BinaryIO) -> Iterator[tuple[int, str | None]]:
    """Yield each line that isn't blank with its number; None for one that isn't UTF-8 text or is too long."""
    number = 0
    while line := raw.readline(LONGEST_LINE):
        number += 1
        too_long = not line.endswith(b"\n") and len(line) == LONGEST_LINE
        while too_long and not line.endswith(b"\n") and (line := raw.readline(LONGEST_LINE)):
            pass
        try:
            text = None if too_long else line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            text = None
        if text is None or text.strip():
            yield number, text


def _header(line: str | None) -> list[str]:
    try:
        names = [name.strip().lower() for name in _cells(line)]
    except RowRefused:
        names = []
    if not {"email", "proof"} <= set(names):
        raise ImportUnreadable("The first line must name the columns, email and proof among them")
    return names


def _cells(line: str | None) -> list[str]:
    if line is None:
        raise RowRefused("it is no UTF-8 text, or too long")
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration):
        raise RowRefused("it is no row of a CSV file") from None


def _row(header: list[str], line: str | None, offered: Collection[str]) -> Row:
    cells = _cells(line)
    if len(cells) != len(header):
        raise RowRefused(f"it has {len(cells)} cells, the first line {len(header)}")
    values = dict(zip(header, cells, strict=True))
    try:
        address = read_address(values["email"])
    except AddressRefused as error:
        raise RowRefused(f"its address can't be used: {error}") from None
    proof = values["proof"].strip()
    if not proof or len(proof) > LONGEST_PROOF or not proof.isprintable():
        raise RowRefused("it must say how consent was given, in one line")
    categories = tuple(sorted({word.strip() for word in values.get("categories", "").split(";") if word.strip()}))
    if unknown := [category for category in categories if category not in offered]:
        raise RowRefused(f"the catalog has no category {unknown[0][:80]!a}; it has: {', '.join(offered) or 'none yet'}")
    return Row(address, proof, categories)
