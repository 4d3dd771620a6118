"""The archive: issues as JSON and pages. Nothing about a reader is in them; a review's text is opened anew each time."""

from datetime import datetime
from typing import Any, Final

import msgspec

from services.newsletter.digest import digest_values, open_review, read_issue
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import ANYONES, HTML, show
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, listed
from services.web.site import Call

PUBLISHED: Final = """
select i.number, i.edition, i.period_from, i.compiled_at
from newsletter.issues i
where i.state in ('planned', 'settled') and i.number < $1
order by i.number desc limit $2
"""
IS_PUBLISHED: Final = """
select exists (select from newsletter.issues i where i.number = $1 and i.state in ('planned', 'settled'))
"""


class Period(msgspec.Struct, frozen=True):
    """The days an issue tells of."""

    from_: str = msgspec.field(name="from")
    to: str = ""


class IssueLine(msgspec.Struct, frozen=True):
    """An issue on the list."""

    number: int
    edition: str
    title: str
    period_from: datetime
    published_at: datetime
    url: str


class IssuePage(msgspec.Struct, frozen=True):
    """A page of issues, newest first."""

    items: list[IssueLine]
    next: str | None


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool or comparison of an issue, with what is said of it."""

    url: str
    name: str | None = None
    title: str | None = None
    tagline: str | None = None
    panel_line: str | None = None
    community_line: str | None = None
    before_percent: int | None = None
    after_percent: int | None = None
    votes: int | None = None
    ship_percent: int | None = None
    total: int | None = None
    interval: list[float] | None = None


class BestReview(msgspec.Struct, frozen=True):
    """The reader's review of an issue."""

    tool_name: str
    url: str
    verdict: str
    score: int | None
    text: str
    display_name: str | None


class IssueAnswer(msgspec.Struct, frozen=True):
    """What an issue says to everybody."""

    number: int
    edition: str
    period: Period
    quiet: bool
    new_comparisons: list[Named]
    new_tools: list[Named]
    movers: list[Named]
    closest: list[Named]
    disagreements: list[Named]
    best_review: BestReview | None
    archive_url: str


@endpoint("GET", "/v1/issues", takes=ListQuery, gives=IssuePage, statuses=(200, 304))
async def issues(call: Call, page: ListQuery) -> Answer:
    """List the issues that were sent, newest first."""
    before = call.site.cursors.open("issues", page.cursor, int) if page.cursor else 2**31 - 1
    found = await lines(call, before, page.limit + 1)
    more = call.site.cursors.seal("issues", found[page.limit - 1].number) if len(found) > page.limit else None
    return listed(call, IssuePage(found[: page.limit], more), more)


@endpoint("GET", "/v1/issues/{number}", gives=IssueAnswer, statuses=(200, 304))
async def issue(call: Call) -> Answer:
    """Tell what an issue says."""
    return listed(call, msgspec.convert(await _values(call), IssueAnswer))


@endpoint("GET", "/issues/{number}", gives=HTML, statuses=(200, 304))
async def issue_page(call: Call) -> Answer:
    """Show an issue."""
    return show(call, "issue.html", cache=ANYONES, **await _values(call))


async def lines(call: Call, before: int, most: int) -> list[IssueLine]:
    """Give the issues before a number, newest first."""
    base_url = call.site.settings.base_url
    return [
        IssueLine(
            number=row["number"],
            edition=row["edition"],
            title=f"Issue {row['number']}: AI tool verdicts of the {'month' if row['edition'] == 'monthly' else 'week'}",
            period_from=row["period_from"],
            published_at=row["compiled_at"],
            url=f"{base_url}/issues/{row['number']}",
        )
        for row in await call.site.database.fetch(PUBLISHED, before, most)
    ]


async def _values(call: Call) -> dict[str, Any]:
    """Give what an issue says, its review opened; NotFound."""
    number = int(call.path["number"])
    if not await call.site.database.fetchval(IS_PUBLISHED, number):
        raise NotFound("There is no issue of this number.")
    stored = await read_issue(call.site.database, number)
    review = await open_review(call.site.database, call.site.vault, stored.content)
    return digest_values(stored.heading, stored.content, review, call.site.settings.base_url)
