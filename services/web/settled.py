"""What "so far" and "settled" mean: a page with how often each is wrong, and how many bought votes each takes."""

from typing import Final

import msgspec

from services.web.http.answers import Answer
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query
from services.web.page_head import Head
from services.web.site import Call


class Row(msgspec.Struct, frozen=True):
    """A number of votes, and what is true of a verdict so far and of a settled one by then."""

    votes: int
    so_far: float
    settled: float


# Exact, by dynamic programming over fair coins; the tests compute both anew.
ERRORS: Final = (
    Row(4, 12.5, 0.0),
    Row(10, 15.6, 0.8),
    Row(20, 22.3, 1.5),
    Row(50, 30.9, 2.3),
    Row(100, 36.4, 2.8),
    Row(200, 41.6, 3.1),
    Row(500, 48.0, 3.4),
    Row(1000, 52.4, 3.6),
)
"""Of tools that readers are evenly split on, the share in percent that has ever been called ship or skip by so many votes."""

VOTES_TO_A_VERDICT: Final = (Row(0, 4, 8), Row(20, 11, 19), Row(100, 22, 38), Row(500, 46, 84), Row(1000, 64, 119))
"""The number of votes for one side that give a verdict on a tool whose other votes, so many, are even."""


_HEAD: Final = Head(
    path="/settled",
    title="So far, and settled: what verdicts mean",
    description="What “Ship, so far” and “Ship, settled” mean, and how often each is wrong.",
)


@page("/settled", Query)
async def settled_page(call: Call, query: Query) -> Answer:
    """Explain what is settled."""
    return show(call, "settled.html", cache=public_page(call), head=_HEAD, errors=ERRORS, bought=VOTES_TO_A_VERDICT)
