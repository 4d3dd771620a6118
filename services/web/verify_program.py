"""The program that checks the public log, for whoever has it from nowhere else.

The site that it checks is the wrong place to get it from: what doubts the site should not come from it. So it says at its top.
"""

from pathlib import Path
from typing import Final

from services import proof
from services.web.http.answers import Answer
from services.web.http.pages import page
from services.web.http.queries import Query
from services.web.site import Call

TEXT: Final = b"text/plain; charset=utf-8"
PROGRAM: Final = (Path(proof.__file__).parent / "verify.py").read_bytes()  # to import it would compile all that it looks for
_AN_HOUR: Final = ((b"cache-control", b"public, max-age=3600"),)


@page("/proof/verify.py", Query)
async def verify_program(call: Call, query: Query) -> Answer:
    """Give the program as it stands in this release."""
    return Answer(PROGRAM, media=TEXT, headers=_AN_HOUR)
