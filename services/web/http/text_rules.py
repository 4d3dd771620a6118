"""What people may write: lengths and characters, in the schema's words and as checks in ours.

A line stands in pages and mails beside what we say: no control characters, no line or paragraph separators, and nothing that
overrides the direction of what follows (Unicode UAX 9). Prose is kept as written; space around it doesn't count.
"""

import re
from typing import Annotated, Final

from msgspec import Meta

from services.web.http.problems import BadInput

NAME_MOST: Final = 60
REASON_MOST: Final = 500
PROSE_LEAST, PROSE_MOST = 20, 4000

_UNSEEN: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_LINE: Final = rf"^ *[^\s{_UNSEEN}][^{_UNSEEN}]*$(?!\n)"
_PROSE: Final = rf"^\s*[^\s\x00][^\x00]{{{PROSE_LEAST - 2},{PROSE_MOST - 2}}}[^\s\x00]\s*$"
_LINE_RE: Final = re.compile(_LINE)

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MOST, extra_json_schema={"pattern": _LINE})]
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_MOST, extra_json_schema={"pattern": _LINE})]
Prose = Annotated[str, Meta(extra_json_schema={"pattern": _PROSE})]


def check_line(pointer: str, text: str | None) -> None:
    """Refuse a line that shows nothing or isn't one line; None is none. BadInput."""
    if text is not None and not _LINE_RE.search(text):
        raise BadInput.at(pointer, "must be one line with something to read in it, without control or direction characters")


def check_prose(pointer: str, text: str) -> None:
    """Refuse prose that is too short or too long. BadInput."""
    if not PROSE_LEAST <= len(text.strip()) <= PROSE_MOST:
        raise BadInput.at(pointer, f"must have {PROSE_LEAST} to {PROSE_MOST} characters; space around them doesn't count")
