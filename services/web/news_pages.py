"""The newsletter's sign-up form, its issues, and the corrections of tallies."""

from typing import Any, Final

from emails.addresses import ADDRESS_LONGEST, AddressRefused, read_address
from projections import corrections, tools
from projections.tally import community
from services.web.flash import ListPageQuery
from services.web.http.answers import Answer, EmptyAnswer
from services.web.http.bodies import fields
from services.web.http.pages import ANYONES, page, post, show
from services.web.http.queries import Query
from services.web.issues import lines
from services.web.newsletter import request_subscription
from services.web.site import Call

_NEWEST: Final = 2**31 - 1
_MOST_CATEGORIES: Final = 50


@page("/newsletter", Query)
async def newsletter(call: Call, asked: Query) -> Answer:
    """Show the form to sign up."""
    return await _form(call, cache_it=True)


@post("/newsletter")
async def sign_up(call: Call) -> Answer:
    """Sign an address up; the page that follows is the same for every address."""
    sent = fields(await call.read_body())
    email = sent.get("email", [""])[-1]
    try:
        address = read_address(email[: ADDRESS_LONGEST * 2])
    except AddressRefused as error:
        return await _form(call, email=email, wrong=str(error))
    known = {category.name for category in await tools.categories(call.site.database)}
    await request_subscription(call, address, known & set(sent.get("category", [])[:_MOST_CATEGORIES]))
    return EmptyAnswer(303, ((b"location", b"/newsletter/sent"), (b"cache-control", b"no-store")))


@page("/newsletter/sent", Query)
async def sent(call: Call, asked: Query) -> Answer:
    """Say that a mail is on its way, whatever is known of the address."""
    return show(call, "newsletter_sent.html", cache=ANYONES, outbox=call.site.settings.smtp_url is None)


async def _form(call: Call, email: str = "", wrong: str | None = None, *, cache_it: bool = False) -> Answer:
    values: dict[str, Any] = {"categories": await tools.categories(call.site.database), "email": email, "wrong": wrong}
    if cache_it:
        return show(call, "newsletter.html", cache=ANYONES, **values)
    return show(call, "newsletter.html", status=400, **values)


@page("/issues", ListPageQuery)
async def issues(call: Call, asked: ListPageQuery) -> Answer:
    """List the issues that were sent, newest first."""
    before = call.site.cursors.open("issues", asked.cursor, int) if asked.cursor else _NEWEST
    found = await lines(call, before, asked.limit + 1)
    more = call.site.cursors.seal("issues", found[asked.limit - 1].number) if len(found) > asked.limit else None
    return show(call, "issues.html", cache=ANYONES, items=found[: asked.limit], next=more)


@page("/corrections", ListPageQuery)
async def corrected(call: Call, asked: ListPageQuery) -> Answer:
    """List what was corrected, newest first."""
    site = call.site
    before = site.cursors.open("corrections", asked.cursor, int) if asked.cursor else None
    rows = await corrections.corrections(site.database, before, asked.limit + 1)
    more = site.cursors.seal("corrections", rows[asked.limit - 1].position) if len(rows) > asked.limit else None
    items = [
        {
            "action": row.action,
            "reason": row.reason,
            "voters": row.voters,
            "votes": row.votes,
            "recorded_at": row.recorded_at,
            "position": row.position,
            "tools": [(tool.slug, community(*tool.before), community(*tool.after)) for tool in row.tools],
        }
        for row in rows[: asked.limit]
    ]
    return show(call, "corrections.html", cache=ANYONES, items=items, next=more)
