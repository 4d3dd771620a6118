"""Lettering of pictures: which words can be drawn with the fonts that are shipped, in which sizes and lines, and the drawing.

Nothing of the machine's own fonts is used, so a picture is the same everywhere. Words are only ever words: no mark-up is read.
Call it from one thread at a time: FreeType's faces are not shared.
"""

import re
import struct
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from PIL import ImageDraw, ImageFont, features

FONTS: Final = Path(__file__).parent / "fonts"
SERIF: Final = "NotoSerif-Bold"
SANS: Final = "NotoSans-Regular"
SANS_BOLD: Final = "NotoSans-Bold"
_JOINED: Final = ("NotoSansArabic-Bold", "NotoSansHebrew-Bold", "NotoSansDevanagari-Bold", "NotoSansThai-Bold")
"""Fonts of scripts whose letters change with their neighbours, or run the other way: Raqm must lay them out."""
_OTHERS: Final = (*(_JOINED if features.check("raqm") else ()), "DroidSansFallback", "Hangul-Bold", "NotoEmoji-Bold")
_MOST_LETTERS: Final = 120
_MOST_MARKS: Final = 3
"""Marks upon one letter that are drawn: more would climb over the words above."""
_JOINERS: Final = "\u200c\u200d"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
# A line may be broken before such a piece: after spaces, and beside every Chinese, Japanese or Korean character.
_PIECES: Final = re.compile(r"[\u2e80-\u9fff\uac00-\ud7a3\uf900-\uffef]|[^\s\u2e80-\u9fff\uac00-\ud7a3\uf900-\uffef]+|\s+")


class Lines(NamedTuple):
    """Words broken into lines that fit, in one size."""

    size: int
    lines: Sequence[str]


@lru_cache(None)
def _covered(font: str) -> frozenset[int]:
    """Return the code points that a font has: the groups of its one `cmap`, of format 12 (OpenType 1.9)."""
    data = (FONTS / f"{font}.ttf").read_bytes()
    (tables,) = struct.unpack_from(">H", data, 4)
    records = (struct.unpack_from(">4sIII", data, 12 + 16 * number) for number in range(tables))
    start = next(offset for tag, _, offset, _ in records if tag == b"cmap")
    (offset,) = struct.unpack_from(">I", data, start + 8)
    (groups,) = struct.unpack_from(">I", data, start + offset + 12)
    spans = (struct.unpack_from(">III", data, start + offset + 16 + 12 * number) for number in range(groups))
    return frozenset(point for first, last, _ in spans for point in range(first, last + 1))


@lru_cache(64)
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / f"{font}.ttf"), size)


def readable(words: str) -> str | None:
    """Return words in one line as they can be drawn; None where a letter or a digit of them can't be.

    Signs and emoji that no font has are left out, as are control characters, those that turn the direction of what follows, and
    marks that are heaped upon a letter.
    """
    kept, marks = "", 0
    for letter in unicodedata.normalize("NFC", " ".join(words[:_MOST_LETTERS].split())):
        kind = unicodedata.category(letter)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if letter in _JOINERS:
            kept += letter if any(ord(before) in _covered(font) for font in _JOINED for before in kept[-1:]) else ""
        elif kind[0] == "C" or marks > _MOST_MARKS or ord(letter) in _SKIN_TONES:
            continue
        elif any(ord(letter) in _covered(font) for font in (SANS, *_OTHERS)):
            kept += letter
        elif kind[0] in "LN":
            return None
    return " ".join(kept.split()) if any(unicodedata.category(letter)[0] not in "MZC" for letter in kept) else None


def _runs(words: str, font: str) -> list[tuple[str, str]]:
    """Return words as runs of one font each, from left to right: those of a line that begins in Arabic or Hebrew turn round."""
    runs: list[tuple[str, str]] = []
    for letter in words:
        last = runs[-1][0] if runs else font
        if letter in _JOINERS and (not runs or ord(letter) not in _covered(last)):
            continue  # it would join nothing, and Raqm lays out no run of joiners alone
        stays = unicodedata.category(letter)[0] in "MC" and ord(letter) in _covered(last)
        own = last if stays else next((one for one in (font, *_OTHERS) if ord(letter) in _covered(one)), font)
        if runs and own == last:
            runs[-1] = (own, runs[-1][1] + letter)
        else:
            runs.append((own, letter))
    strong = (unicodedata.bidirectional(letter) for letter in words)
    first = next((direction for direction in strong if direction in ("L", "R", "AL")), "L")
    return runs if first == "L" else runs[::-1]


def width(words: str, font: str, size: int) -> float:
    """Return how wide a line of words is, in pixels."""
    return sum(_face(own, size).getlength(run) for own, run in _runs(words, font))


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, font: str, size: int, colour: str) -> float:
    """Write a line of words from a point on its base line to the right, and return where it ends."""
    x, y = at
    for own, run in _runs(words, font):
        face = _face(own, size)
        draw.text((x, y), run, font=face, fill=colour, anchor="ls")
        x += face.getlength(run)
    return x


def fit(words: str, font: str, room: float, tries: Sequence[tuple[int, int]]) -> Lines:
    """Break words into lines no wider than `room`, by the first size and number of lines that they fit in; else cut them."""
    for size, most in tries:
        if width(words, font, size) <= most * room and len(lines := list(_broken(words, font, size, room))) <= most:
            return Lines(size, lines)
    size, most = tries[-1]
    lines = list(_broken(words, font, size, room))
    return Lines(size, [*lines[: most - 1], _cut(lines[most - 1], font, size, room)])


def _broken(words: str, font: str, size: int, room: float) -> Iterator[str]:
    line = ""
    for piece in _PIECES.findall(words):
        if width((line + piece).rstrip(), font, size) <= room:
            line += piece
            continue
        if line.strip():
            yield line.strip()
        line = piece.lstrip()
        while width(line, font, size) > room:
            end = _most(line, font, size, room)
            yield line[:end]
            line = line[end:]
    if line.strip():
        yield line.strip()


def _most(line: str, font: str, size: int, room: float) -> int:
    """Return how many letters of a line without spaces fit, one at least; marks stay with their letter."""
    end = max(1, bisect_right(range(1, len(line) + 1), room, key=lambda letters: width(line[:letters], font, size)))
    while 1 < end < len(line) and unicodedata.category(line[end])[0] == "M":
        end -= 1
    return end


def _cut(line: str, font: str, size: int, room: float) -> str:
    """Return a line with an ellipsis at its end, short enough."""
    while line and width(f"{line}…", font, size) > room:
        line = line[:-1].rstrip()
    return f"{line}…"
