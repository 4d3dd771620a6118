"""The picture of a tool or of a comparison, 1200 × 630, as messengers show it beside a link. Pure: a face in, PNG bytes out.

A face holds all that is drawn and nothing else, so equal faces are one picture. Votes are drawn coarsely: a vote that changes
no word and no digit of it draws nothing anew. Words stay legible at a quarter of the width.
"""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw

from services.web.faces import COLOURS, PAPER, Face, Stand, Subject
from services.web.lettering import SANS, SANS_BOLD, SERIF, fit, readable, width, write

SIZE: Final = (1200, 630)
_INK: Final = "#1f1c18"
_SOFT: Final = "#5d574d"
_LINE: Final = "#ddd7cb"
TILES: Final = (
    "#3d5a80", "#7a4988", "#2f6f62", "#96502e", "#4a5568", "#8a3a5c", "#386f94", "#5c6b1e", "#5a4fa3", "#7d5a0b",
)  # fmt: skip
"""The colours of tiles, `.hue-0` and on of the style sheet."""
_FINER: Final = 4
"""Shapes are drawn so many times as large and made smaller, which smooths their edges."""


def draw(face: Face) -> bytes:
    """Return the picture as a PNG."""
    image = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, SIZE[0], 11), fill=face.accent)
    if len(face.subjects) == 1:
        _one(image, pen, face.subjects[0])
    else:
        _two(image, pen, face.subjects)
    _foot(image, pen, face)
    packed = BytesIO()
    image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(packed, "PNG")
    return packed.getvalue()


def _one(image: Image.Image, pen: ImageDraw.ImageDraw, tool: Subject) -> None:
    _tile(image, pen, (64, 60), 148, tool)
    _words(pen, tool.category, (248, 100), 888, SANS_BOLD, ((30, 1), (26, 1)), _SOFT)
    _words(pen, readable(tool.name) or tool.slug, (248, 186), 888, SERIF, ((84, 1), (70, 1), (58, 1), (46, 2)), _INK)
    for x, stand in zip((64, 616), tool.stands, strict=True):
        _stand(image, pen, (x, 252), (520, 250), stand)


def _two(image: Image.Image, pen: ImageDraw.ImageDraw, tools: Sequence[Subject]) -> None:
    pen.line((600, 52, 600, 500), fill=_LINE, width=3)
    pen.rectangle((570, 78, 630, 122), fill=PAPER)
    write(pen, (600 - width("vs", SERIF, 32) / 2, 110), "vs", SERIF, 32, _SOFT)
    for x, tool in zip((64, 634), tools, strict=True):
        _tile(image, pen, (x, 52), 96, tool)
        name = readable(tool.name) or tool.slug
        _words(pen, name, (x + 116, 118), 386, SERIF, ((56, 1), (46, 1), (38, 2)), _INK)
        for y, stand in zip((168, 338), tool.stands, strict=True):
            _stand(image, pen, (x, y), (502, 162), stand)


def _stand(image: Image.Image, pen: ImageDraw.ImageDraw, at: tuple[int, int], size: tuple[int, int], stand: Stand) -> None:
    """Draw a verdict on its ground: whose it is, its sign and word, and its votes."""
    (x, y), (wide, high) = at, size
    colour, ground = COLOURS[stand.verdict]
    image.paste(ground, at, rounded(wide, high, 18))
    is_large = high > 200
    x, room = x + 30, wide - 60
    whose, word, line = (34, 96, 42) if is_large else (28, 54, 32)  # their sizes
    base = y + (152 if is_large else 96)
    side = word * 3 // 4
    _words(pen, stand.whose, (x, y + (58 if is_large else 40)), room, SANS_BOLD, ((whose, 1),), _SOFT)
    image.paste(colour, (x, base - side), sign(stand.verdict, side))
    said = fit(stand.word, SERIF, room - side - 16, ((word, 1), (word * 3 // 4, 1), (word // 2, 1)))
    write(pen, (x + side + 16, base - side / 2 + said.size * 0.37), said.lines[0], SERIF, said.size, colour)
    _words(pen, stand.line, (x, y + high - (36 if is_large else 24)), room, SANS, ((line, 1), (whose, 1)), _INK)


def _words(
    pen: ImageDraw.ImageDraw,
    words: str,
    at: tuple[int, int],
    room: int,
    font: str,
    tries: Sequence[tuple[int, int]],
    colour: str,
) -> None:
    """Write words at a base line in the largest size that fits; of two lines the second is below it, and the first above."""
    if (drawn := readable(words)) is None:
        return
    size, lines = fit(drawn, font, room, tries)
    above = (len(lines) - 1) * size * 0.62
    for number, line in enumerate(lines):
        write(pen, (at[0], at[1] - above + number * size * 1.24), line, font, size, colour)


def _tile(image: Image.Image, pen: ImageDraw.ImageDraw, at: tuple[int, int], size: int, tool: Subject) -> None:
    image.paste(TILES[tool.hue], at, rounded(size, size, size // 5))
    letter, letters = readable(tool.initial) or tool.slug[0].upper(), size * 11 // 20
    x = at[0] + (size - width(letter, SANS_BOLD, letters)) / 2
    write(pen, (x, at[1] + size * 0.7), letter, SANS_BOLD, letters, "#ffffff")


def _foot(image: Image.Image, pen: ImageDraw.ImageDraw, face: Face) -> None:
    image.paste(face.accent, (64, 541), rounded(46, 46, 9))
    image.paste("#ffffff", (70, 547), sign("check", 34))
    site = fit(readable(face.site) or face.address, SERIF, 640, ((40, 1), (32, 1)))
    end = write(pen, (126, 579), site.lines[0], SERIF, site.size, _INK)
    if site.lines[0] != face.address:
        address = fit(face.address, SANS, SIZE[0] - 64 - 40 - end, ((28, 1), (22, 1)))
        x = SIZE[0] - 64 - width(address.lines[0], SANS, address.size)
        write(pen, (x, 577), address.lines[0], SANS, address.size, _SOFT)


@lru_cache(32)
def rounded(wide: int, high: int, radius: int) -> Image.Image:
    """Return the mask of a rectangle with round corners."""
    large = Image.new("L", (wide * _FINER, high * _FINER))
    box = (0, 0, wide * _FINER - 1, high * _FINER - 1)
    ImageDraw.Draw(large).rounded_rectangle(box, radius * _FINER, fill=255)
    return large.resize((wide, high), Image.Resampling.BOX)


@lru_cache(32)
def sign(verdict: str | None, size: int) -> Image.Image:
    """Return the mask of a verdict's sign, which tells it without its colour: a check, a cross, a half disc, an open ring."""
    side, thick = size * _FINER, size * _FINER // 8
    large = Image.new("L", (side, side))
    pen = ImageDraw.Draw(large)
    disc = (0, 0, side - 1, side - 1)
    if verdict == "ship":
        pen.ellipse(disc, fill=255)
        _stroke(pen, side, thick, ((0.27, 0.52), (0.44, 0.69), (0.74, 0.33)), 0)
    elif verdict == "check":
        _stroke(pen, side, thick * 3 // 2, ((0.12, 0.52), (0.4, 0.8), (0.88, 0.22)), 255)
    else:
        pen.ellipse(disc, outline=255, width=thick)
        if verdict == "skip":
            _stroke(pen, side, thick, ((0.33, 0.33), (0.67, 0.67)), 255)
            _stroke(pen, side, thick, ((0.33, 0.67), (0.67, 0.33)), 255)
        elif verdict == "mixed":
            pen.pieslice(disc, 90, 270, fill=255)
    return large.resize((size, size), Image.Resampling.BOX)


def _stroke(pen: ImageDraw.ImageDraw, side: int, thick: int, points: Sequence[tuple[float, float]], colour: int) -> None:
    """Draw a line through points, in shares of the side, with round ends."""
    places = [(x * side, y * side) for x, y in points]
    pen.line(places, fill=colour, width=thick, joint="curve")
    for x, y in (places[0], places[-1]):
        pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colour)
