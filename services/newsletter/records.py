"""Read the records of other people's CSV files: whatever encoding, separator and line ends they have, in bounded memory.

A record may span lines inside quotes, so it is read whole: what somebody once typed into a cell can't become a record of its
own.
"""

import csv
import io
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import msgspec

LONGEST_RECORD: Final = 64 * 1024
"""Characters."""
_BLOCK: Final = 1 << 20
_BOMS: Final = {BOM_UTF8: "utf-8-sig", BOM_UTF16_LE: "utf-16", BOM_UTF16_BE: "utf-16"}
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

_STRAY: Final = re.compile("[\udc80-\udcff]")
"""A byte that isn't of the encoding, as `surrogateescape` reads it."""
_LETTER: Final = re.compile("[\x80-\ud7ff\ue000-\U0010ffff]")

Progress = Callable[[int, int], None]


class FileUnreadable(Exception):
    """The file isn't such a CSV; the message is one sentence."""


class Record(msgspec.Struct, frozen=True):
    """A record by the line it begins on; `cells` is None, with the reason in `fault`, for one that can't be read."""

    line: int
    cells: Sequence[str] | None
    fault: str = ""


class Form(msgspec.Struct, frozen=True):
    """The form of a file: its encoding, its separator, and whether its first line says only that (`sep=;`)."""

    encoding: str
    separator: str
    is_declared: bool

    def __str__(self) -> str:
        return f"it was read as {self.encoding.removesuffix('-sig')}, separated by {_SEPARATORS[self.separator]}"


def form_of(path: Path, is_header: Callable[[Sequence[str]], bool]) -> Form:
    """Return a file's form: the first separator with which its first record is a header. Raises FileUnreadable, OSError."""
    encoding = _encoding_of(path)
    with _opened(path, encoding) as text:
        first = text.readline(LONGEST_RECORD)
    if first.lower().startswith("sep=") and first[4:5] in _SEPARATORS:
        return Form(encoding, first[4], is_declared=True)
    forms = [Form(encoding, separator, is_declared=False) for separator in sorted(_SEPARATORS, key=first.count, reverse=True)]
    for form in forms:
        header = next(records(path, form), None)
        if header is not None and header.cells is not None and is_header(header.cells):
            return form
    return forms[0]


def _encoding_of(path: Path) -> str:
    """Return the encoding that a byte order mark names, else UTF-8, or Windows-1252 where nothing reads as UTF-8 but ASCII."""
    decoder = getincrementaldecoder("utf-8")("surrogateescape")
    has_letters = has_faults = False
    with path.open("rb") as raw:
        start = raw.read(3)
        for mark, encoding in _BOMS.items():
            if start.startswith(mark):
                return encoding
        raw.seek(0)
        while block := raw.read(_BLOCK):
            text = decoder.decode(block)
            if not text.isascii():
                has_faults |= _STRAY.search(text) is not None
                has_letters |= _LETTER.search(text) is not None
    return "windows-1252" if has_faults and not has_letters else "utf-8"


def _opened(path: Path, encoding: str) -> TextIO:
    """Open a file as text; any of LF, CRLF and CR ends a line."""
    return io.TextIOWrapper(path.open("rb"), encoding, errors="strict" if encoding == "utf-16" else "surrogateescape")


def records(path: Path, form: Form, progress: Progress = lambda done, of: None) -> Iterator[Record]:
    """Yield the records that aren't blank, the header first. Raises FileUnreadable for a quote left open, and OSError."""
    size = path.stat().st_size
    with _opened(path, form.encoding) as text:
        number = 1
        if form.is_declared:
            text.readline()
            number = 2
        while read := _read(text, form.separator, number):
            content, lines = read
            if content is None or content.strip(f" \r\n\t{form.separator}"):
                yield _record(number, content, form.separator)
            number += lines
            progress(text.buffer.tell(), size)


def _read(text: TextIO, separator: str, line: int) -> tuple[str | None, int] | None:
    """Return the next record and the number of its lines; None instead of a record that is too long, None at the end."""
    pieces: list[str] = []
    length = lines = 0
    is_open, is_fresh = False, True
    while piece := _piece(text, separator):
        is_open = _is_open_after(piece, separator, is_open, is_fresh)
        is_fresh = False
        length += len(piece)
        if length <= LONGEST_RECORD:
            pieces.append(piece)
        elif is_open:
            break
        if piece.endswith("\n"):
            lines += 1
            if not is_open:
                break
    if is_open:
        raise FileUnreadable(f"A quote of the record on line {line} isn't closed within {LONGEST_RECORD} characters")
    if not length:
        return None
    return ("".join(pieces) if length <= LONGEST_RECORD else None), max(lines, 1)


def _piece(text: TextIO, separator: str) -> str:
    """Return the next line, or a part of a long one that doesn't end within a separator and its quote, or within two quotes."""
    piece = text.readline(LONGEST_RECORD)
    while piece and piece[-1] in (separator, '"') and (more := text.readline(1)):
        piece += more
    return piece


def _is_open_after(piece: str, separator: str, is_open: bool, is_fresh: bool) -> bool:
    """Return whether a piece of a record ends within quotes. A quote opens a cell only at its start."""
    at = 0
    if is_fresh and piece.startswith('"'):
        is_open, at = True, 1
    while True:
        if is_open:
            at = piece.find('"', at)
            if at < 0:
                return True
            is_doubled = piece.startswith('""', at)
            is_open, at = is_doubled, at + 1 + is_doubled
        else:
            at = piece.find(f'{separator}"', at)
            if at < 0:
                return False
            is_open, at = True, at + 2


def _record(line: int, content: str | None, separator: str) -> Record:
    if content is None:
        return Record(line, None, f"it is longer than {LONGEST_RECORD} characters")
    if not content.isascii() and _STRAY.search(content):
        return Record(line, None, "it isn't text in the file's encoding")
    try:
        (cells,) = csv.reader(io.StringIO(content), delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        return Record(line, None, "it is no row of a CSV file")
    return Record(line, cells)
