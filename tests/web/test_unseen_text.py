"""What strangers write can be seen as it is: nothing steers the direction of text, and nothing shows nothing."""

import pytest

from services.web.http.bodies import check_line, check_prose
from services.web.http.problems import BadInput

HIDDEN = "\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a\u202e\u2060\u2066\u2069\u2800\u3164\ufeff\uffa0"
PROSE = "This tool did what it said it would do."


@pytest.mark.parametrize("character", HIDDEN, ids=ascii)
def test_hidden_characters_are_refused(character: str) -> None:
    """Alone, at the start, within and at the end, in a line and in prose."""
    for text in (character, character * 30, f"{character}Ada", f"A{character}da", f"Ada{character}"):
        with pytest.raises(BadInput):
            check_line("/display_name", text)
        with pytest.raises(BadInput):
            check_prose("/body", PROSE + text)


@pytest.mark.parametrize("joiner", "\u200c\u200d\ufe0f", ids=ascii)
def test_joiners_are_no_text_by_themselves(joiner: str) -> None:
    """They may not stand alone or make prose long enough."""
    with pytest.raises(BadInput):
        check_line("/display_name", joiner * 5)
    for text in (joiner * 30, "a" + joiner * 30):
        with pytest.raises(BadInput):
            check_prose("/body", text)


def test_every_script_and_emoji_is_taken() -> None:
    """Persian with a non-joiner, Hebrew, Devanagari, emoji of several parts, a flag; prose of several paragraphs."""
    for text in ("می\u200cخواهم", "עדה", "क्\u200dष", "Ada \U0001f469\u200d\U0001f4bb", "\u2764\ufe0f", "Zoë O'Neill"):
        check_line("/display_name", text)
        check_prose("/body", f"{text} {PROSE}\n\n\t{PROSE} {text}")
