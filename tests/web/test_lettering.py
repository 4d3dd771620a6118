"""Lettering: what of a text can be drawn, how it is broken into lines, and that the pictures of any words are pictures."""

import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from services.web import card_drawing
from services.web.card_drawing import TILES, draw
from services.web.faces import Face, Stand, Subject
from services.web.http.assets import STATIC
from services.web.lettering import _JOINED, _OTHERS, FONTS, SANS, SERIF, _covered, fit, readable, width

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=120) | st.text(
    st.sampled_from("aZ 9é\u0301\u0338\u200d\u200c\u202eاللغهةक्षि\u093fไทยשלום日本語한국어🚀👩🏽🏳️\u00ad\ufffd\x00\t<&"),
    max_size=120,
)


def face(*names: str) -> Face:
    """Return the face of tools of these names."""
    stands = (Stand("Panel", "ship", "Ship", "3 ship / 1 skip"), Stand("Community", None, "No votes yet", ""))
    subjects = (Subject(f"tool-{number}", name, name, name[:1], number, stands) for number, name in enumerate(names))
    return Face(tuple(subjects), names[0], "verdicts.example", "#1d4f7c")


@given(name=WORDS, other=WORDS)
@settings(max_examples=25, deadline=None)
def test_any_words_make_a_picture(name: str, other: str) -> None:
    """Whatever a tool, its category and the site are called, the picture is a PNG of its size, and not too large."""
    for png in (draw(face(name)), draw(face(name, other))):
        image = Image.open(BytesIO(png))
        image.verify()
        assert (image.size, image.format) == ((1200, 630), "PNG")
        assert len(png) <= 60_000


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ("Cursor", "Cursor"),
        ("  a\n b\t", "a b"),
        ("\u202eabc\u2066\x00", "abc"),
        ("🚀 Rocket", "🚀 Rocket"),
        ("👩🏽‍💻", "👩💻"),
        ("日本語 한국어 中文", "日本語 한국어 中文"),
        ("Инструмент", "Инструмент"),
        ("e\u0301" + "\u0338" * 9, "é" + "\u0338" * 3),
        ("Runes ᚠ", None),
        ("\ue000 ok", "ok"),
        ("\u200d", None),
        ("", None),
        ("🇩🇪", None),
    ],
)
def test_words_are_drawn_as_far_as_they_can_be(words: str, drawn: str | None) -> None:
    """Signs that no font has are left out; where a letter would be an empty box there are no words at all."""
    assert readable(words) == drawn


def test_a_name_that_cannot_be_drawn_is_its_slug() -> None:
    """A name with letters of no font is drawn as the slug, and never as empty boxes."""
    runes, slug = face("ᚠᚢᚦᚨᚱᚲ"), face("tool-0")
    assert draw(runes._replace(site="x")) != draw(slug._replace(site="x"))  # the category is left out
    assert draw(_without_category(runes)) == draw(_without_category(slug))


def _without_category(face: Face) -> Face:
    (tool,) = face.subjects
    return face._replace(site="x", subjects=(tool._replace(category="", initial="T"),))


def test_without_fribidi_scripts_that_need_it_are_slugs(tmp_path: Path) -> None:
    """Where the system has no FriBiDi, names whose letters would stand unjoined or the wrong way round are not drawn."""
    (tmp_path / "libfribidi.so.0").write_bytes(b"")  # found before the real one, and no library
    program = "from services.web.lettering import readable; print(readable('أداة'), readable('שלום'), readable('Кофе 日本'))"
    ran = subprocess.run(
        (sys.executable, "-c", program), cwd=Path(__file__).parents[2],
        env={"LD_LIBRARY_PATH": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "None None Кофе 日本\n"


@pytest.mark.parametrize("words", ["أداة", "שלום", "हिन्दी", "ไทย"])
def test_scripts_that_need_fribidi_are_drawn_where_it_is(words: str) -> None:
    """Names of these scripts are drawn as names; CI has FriBiDi, as the image has."""
    if not features.check("fribidi") and "CI" not in os.environ:
        pytest.skip("needs FriBiDi (apt-get install libfribidi0)")
    assert readable(words) == words


@pytest.mark.parametrize("words", ["word " * 20, "W" * 120, "日本語" * 40, "a" * 40 + " b"])
def test_lines_fit_their_room(words: str) -> None:
    """Words are broken at spaces, or anywhere if they must, and cut with an ellipsis; no line is wider than the room."""
    drawn = readable(words)
    assert drawn is not None
    size, lines = fit(drawn, SERIF, 500, ((60, 1), (40, 2)))
    assert len(lines) == 2 and lines[-1].endswith("…")
    assert all(width(line, SERIF, size) <= 500 for line in lines)


def test_the_fonts_hold_what_is_read_of_them() -> None:
    """The code points that we read of each font are those that fontTools reads, and each licence is beside them."""
    fonts = sorted(FONTS.glob("*.ttf"))
    assert {font.stem for font in fonts} == {SERIF, SANS, "NotoSans-Bold", *_JOINED, *_OTHERS}
    for font in fonts:
        assert _covered(font.stem) == set(TTFont(font)["cmap"].getBestCmap())
    assert "SIL OPEN FONT LICENSE" in (FONTS / "Noto.LICENSE").read_text()
    assert "Reserved Font Name Nanum" in (FONTS / "Hangul.LICENSE").read_text()
    assert "Apache License" in (FONTS / "DroidSansFallback.LICENSE").read_text()


def test_a_picture_has_the_colours_of_the_pages() -> None:
    """Tiles and grounds are of the style sheet's colours."""
    sheet = (STATIC / "site.css").read_text().lower()
    assert re.findall(r"\.hue-\d \{ fill: (#\w+)", sheet) == list(TILES)
    drawing = Path(card_drawing.__file__).read_text()
    for colour in re.findall(r'^(?:PAPER|_INK|_SOFT|_LINE): Final = "(#\w+)"', drawing, re.M):
        assert colour in sheet
