"""The archive of issues: JSON, pages and an Atom feed (RFC 4287). It holds nothing about its subscribers.

A reader's review in an issue is opened anew each time, so that an erased one is gone from here too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from emails.feed import Entry, atom
from emails.filters import days
from emails.rendering import render_subject
from events.reviews import Ties
from projections.settled import CommunityVerdict, Interval
from services.newsletter import digest
from services.newsletter.digest import StoredIssue
from services.web.flash import ListPageQuery
from services.web.http.answers import Answer, Versioned
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, page, public_page, show
from services.web.http.problems import NotFound
from services.web.http.queries import ListQuery, Query, listed, page_of
from services.web.page_head import Head
from services.web.site import Call, Site

FEED: Final = b"application/atom+xml; charset=utf-8"
_IN_FEED: Final = 20

PUBLISHED: Final = """
select i.number, i.edition, i.period_from, i.compiled_at, i.from_position, i.to_position, i.checkpoint, i.content
from newsletter.issues i
where i.state in ('planned', 'settled') and ($1::integer is null or i.number < $1)
order by i.number desc limit $2
"""
NUMBERS: Final = """
select i.number, i.compiled_at from newsletter.issues i where i.state in ('planned', 'settled') order by i.number desc limit $1
"""
IS_PUBLISHED: Final = """
select exists (select from newsletter.issues i where i.number = $1 and i.state in ('planned', 'settled'))
"""


class Period(msgspec.Struct, frozen=True):
    """The first and the last day that an issue is about."""

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


class IssuesPage(msgspec.Struct, frozen=True):
    """A page of issues, newest first."""

    items: list[IssueLine]
    next: str | None


class IssueEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool or comparison in an issue, with what the issue says of it; old issues say nothing of what is settled."""

    url: str
    name: str | None = None
    title: str | None = None
    tagline: str | None = None
    panel_line: str | None = None
    community_line: str | None = None
    before_percent: int | None = None
    after_percent: int | None = None
    line: str | None = None
    votes: int | None = None
    ship_percent: int | None = None
    total: int | None = None
    interval: list[float] | None = None
    verdict_line: str = ""
    settled: CommunityVerdict | UnsetType | None = UNSET
    settled_interval: Interval | UnsetType | None = UNSET


class BestReview(msgspec.Struct, frozen=True):
    """The reader's review that an issue quotes."""

    tool_name: str
    url: str
    verdict: str
    score: int | None
    text: str
    display_name: str | None
    ties: Ties | None


class IssueAnswer(msgspec.Struct, frozen=True):
    """What an issue says to everybody; it is about the log's positions after `from_position` up to `to_position`.

    `checkpoint` is the signed note that its mails carry, null for an issue that was sent without.
    """

    number: int
    title: str
    edition: str
    period: Period
    quiet: bool
    newly_settled: list[IssueEntry]
    new_comparisons: list[IssueEntry]
    new_tools: list[IssueEntry]
    movers: list[IssueEntry]
    closest: list[IssueEntry]
    disagreements: list[IssueEntry]
    best_review: BestReview | None
    archive_url: str
    from_position: int
    to_position: int
    checkpoint: str | None


async def read_issues(call: Call, query: ListQuery) -> IssuesPage:
    """Return a page of the issues that were sent, newest first."""
    lines, more = await page_of(call, "issues", query, int, partial(_lines, call.site), attrgetter("number"))
    return IssuesPage(list(lines), more)


async def read_issue(call: Call) -> dict[str, Any]:
    """Return what the issue in the path says, its review opened. Raises NotFound."""
    site, number = call.site, int(call.path["number"])
    if not await site.reading.fetchval(IS_PUBLISHED, number):
        raise NotFound("There is no issue of this number.")
    return await _values(site, await digest.read_issue(site.reading, number))


async def _values(site: Site, issue: StoredIssue) -> dict[str, Any]:
    """Return what an issue says, with its mail's subject as title."""
    review = await digest.open_review(site.reading, site.vault, issue.content)
    values = digest.digest_values(issue.heading, issue.content, review, site.settings.base_url)
    return {"title": render_subject(values, site.look), **values}


@endpoint("GET", "/v1/issues", takes=ListQuery, gives=IssuesPage, statuses=(200, 304))
async def get_issues(call: Call, query: ListQuery) -> Answer:
    """List the issues that were sent, newest first."""
    found = await read_issues(call, query)
    return listed(call, found, found.next)


@endpoint("GET", "/v1/issues/{number}", gives=IssueAnswer, statuses=(200, 304))
async def get_issue(call: Call) -> Answer:
    """Return what an issue says."""
    return listed(call, msgspec.convert(await read_issue(call), IssueAnswer))


@page("/issues", ListPageQuery)
async def issues_page(call: Call, query: ListPageQuery) -> Answer:
    """List the issues that were sent, newest first."""
    found = await read_issues(call, query)
    return show(
        call, "issues.html", cache=public_page(call, many=True), head=_list_head(call), items=found.items, next=found.next
    )


@endpoint("GET", "/issues/{number}", gives=HTML, statuses=(200, 304))
async def issue_page(call: Call) -> Answer:
    """Show an issue."""
    values = await read_issue(call)
    return show(call, "issue.html", cache=public_page(call, many=True), head=_head(call, values), **values)


def _list_head(call: Call) -> Head:
    name = call.site.settings.identity.newsletter_name
    said = "what moved, what is close, and where the panel and its readers disagree."
    return Head(path="/issues", title=f"{name}: every issue", description=f"Every issue of {name}: {said}")


def _head(call: Call, values: Mapping[str, Any]) -> Head:
    number, title = values["number"], values["title"]
    issue = f"{call.site.settings.identity.newsletter_name}, issue {number}"
    return Head(path=f"/issues/{number}", title=f"{title} · {issue}", description=f"{issue}: {title}")


@page("/feed.xml", Query)  # for feed readers, so it stands on pages and not in the document of the API
async def get_feed(call: Call, query: Query) -> Answer:
    """Return the newest issues as an Atom feed."""
    site = call.site
    began = await site.reading.fetchval("select since from newsletter.schedule")
    entries = [await _entry(site, issue) for issue in await _issues(site, None, _IN_FEED)]
    body = atom(site.settings.identity.newsletter_name, site.settings.base_url, entries, began=began)
    return Versioned(body, media=FEED).answer(call.head.get(b"if-none-match"))


async def _issues(site: Site, before: int | None, limit: int) -> Sequence[StoredIssue]:
    """Return up to `limit` issues below a number (None: all), newest first."""
    return [digest.stored_issue(row) for row in await site.reading.fetch(PUBLISHED, before, limit)]


async def published_issues(site: Site, limit: int) -> Sequence[tuple[int, datetime]]:
    """Return the numbers of the newest issues that were sent, each with its time."""
    return [(row["number"], row["compiled_at"]) for row in await site.reading.fetch(NUMBERS, limit)]


async def _lines(site: Site, before: int | None, limit: int) -> Sequence[IssueLine]:
    return [_line(site, issue) for issue in await _issues(site, before, limit)]


def _line(site: Site, issue: StoredIssue) -> IssueLine:
    heading, base_url = issue.heading, site.settings.base_url
    title = render_subject(digest.digest_values(heading, issue.content, None, base_url), site.look)
    url = f"{base_url}/issues/{heading.number}"
    return IssueLine(heading.number, heading.edition, title, heading.period_from, heading.period_to, url)


async def _entry(site: Site, issue: StoredIssue) -> Entry:
    values = await _values(site, issue)
    html = site.theme.render("issue_sections.html", **values, bars=False).decode("utf-8")
    at = issue.heading.period_to
    return Entry(values["archive_url"], values["title"], days(values["period"]), at, at, html)
