"""How we check: whether and how votes and reviews come from real people, and what came of it, counted from the log."""

from typing import Final

import msgspec

from projections import checks
from projections.checks import Cohorts, Corrected
from projections.reviews import Acts
from services.integrity.accuracy import MEASURED, NAMES, Accuracy
from services.integrity.marks import DAYS
from services.web.filters import GROUNDS
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query, listed
from services.web.page_head import Head
from services.web.site import Call

_SIZES: Final = (4, 10, 20, 100, 500)
"""The numbers of votes that the page has room for."""


class ChecksAnswer(msgspec.Struct, frozen=True):
    """What came of checking votes and reviews, since the log began.

    A review that was refused was never shown; one that was removed was. Each is counted by its ground. `accuracy` is how well
    bought votes were found when that was last measured, on made-up weeks.
    """

    cohorts: Cohorts
    disqualified: Corrected
    reinstated: Corrected
    reviews: Acts
    accuracy: Accuracy


async def read_checks(call: Call) -> ChecksAnswer:
    """Return what came of all checks."""
    found = await checks.checks(call.site.reading)
    return ChecksAnswer(found.cohorts, found.disqualified, found.reinstated, found.reviews, MEASURED)


@endpoint("GET", "/v1/integrity", takes=Query, gives=ChecksAnswer, statuses=(200, 304))
async def get_checks(call: Call, query: Query) -> Answer:
    """Return what came of checking votes and reviews."""
    return listed(call, await read_checks(call))


_HEAD: Final = Head(
    path="/integrity",
    title="How we check votes and reviews",
    description="Whether votes and reviews come from real people, what is done about false ones, and what came of it.",
)


@page("/integrity", Query)
async def how_we_check_page(call: Call, query: Query) -> Answer:
    """Say how votes and reviews are checked, and what came of it."""
    found = await read_checks(call)
    acts = (found.reviews.reported, found.reviews.refused, found.reviews.removed)
    return show(
        call,
        "integrity.html",
        cache=public_page(call, many=True),
        head=_HEAD,
        found=found,
        sizes=_SIZES,
        curve=[(name, [MEASURED.at(size, seconds) for size in _SIZES]) for seconds, name in NAMES.items()],
        grounds=[(words, *(act.get(ground, 0) for act in acts)) for ground, words in GROUNDS.items()],
        days=DAYS if call.site.settings.network_marks else None,
    )
