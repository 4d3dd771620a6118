"""Personas: the panel's reviewers, and the verdicts of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from events.catalog import Persona, undescribed
from projections import tools
from projections.past_verdicts import verdicts_at
from projections.tools import PersonaVerdict, Reviewer
from services.web.as_of import AsOfQuery, LogPosition, Moment, read_moment
from services.web.filters import count
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.moved import old_path
from services.web.http.pages import page, public_page, show
from services.web.http.problems import NotFound
from services.web.http.queries import CategoryName, ListQuery, Query, Time, listed, page_of
from services.web.markdown import markdown_answer, persona_text, wants_markdown
from services.web.page_cache import Kept
from services.web.page_head import Head, breadcrumbs, persona_path, query_path
from services.web.site import Call, Site
from services.web.verdict_feeds import verdict_feeds

_ROLES: Final = Kept[Mapping[str, str]](2, 16)


class Reviewers(msgspec.Struct, frozen=True):
    """Every persona of the panel."""

    items: list[Reviewer]


class VerdictsQuery(ListQuery, frozen=True, kw_only=True):
    """Which of a persona's verdicts; `position` or `as_of` is the moment that they are told as of (default: now)."""

    category: CategoryName | None = None
    position: LogPosition | None = None
    as_of: Time | None = None


class VerdictsPage(Persona, frozen=True):
    """A page of a persona's verdicts, last changed first, under how the persona is described now.

    Those of the past are of tools that are listed now, with the moment that they are as of.
    """

    items: Sequence[PersonaVerdict]
    next: str | None
    as_of: datetime | UnsetType = UNSET
    position: int | UnsetType = UNSET


async def read_verdicts(call: Call, query: VerdictsQuery) -> VerdictsPage:
    """Return a page of the verdicts of the persona in the path. Raises NotFound, BadInput for two moments at once."""
    database = call.site.reading
    persona = await tools.persona_key(database, call.path["persona"])
    name = f"reviewer {persona} {query.category or ''}"
    read = partial(tools.verdicts, database, persona, query.category)
    moment = await _moment(call, query)
    if moment is not None:
        name += f" {moment.position}"
        read = partial(verdicts_at, database, persona, moment.position, query.category)
    rows, more = await page_of(call, name, query, int, read)
    written = await tools.persona(database, persona)
    if written is None:
        raise NotFound("No persona has this name.")
    described = [*await tools.personas(database, persona), undescribed(written)][0]
    then: dict[str, Any] = {} if moment is None else {"as_of": moment.time, "position": moment.position}
    return VerdictsPage(**msgspec.structs.asdict(described) | {"persona": written}, items=rows, next=more, **then)


async def _moment(call: Call, query: VerdictsQuery) -> Moment | None:
    """Return the moment that a query asks for, once the views have reached it; None for now. Raises NotFound, BadInput."""
    if query.position is None and query.as_of is None:
        return None
    moment = await read_moment(call, AsOfQuery(position=query.position, as_of=query.as_of))
    await call.site.reach(moment.position, call.network)
    return moment


async def read_roles(site: Site) -> Mapping[str, str]:
    """Return the roles of those personas that have one, by lower-case name; known for a moment."""

    async def read() -> Mapping[str, str]:
        return {one.persona.lower(): one.role for one in await tools.personas(site.reading) if one.role}

    return await _ROLES.of(site.settings.database_url, read)


@endpoint("GET", "/v1/reviewers", takes=Query, gives=Reviewers, statuses=(200, 304))
async def get_reviewers(call: Call, query: Query) -> Answer:
    """List the panel's personas with how many tools each reviewed and shipped, by category too."""
    return listed(call, Reviewers(await tools.reviewers(call.site.reading)))


@endpoint("GET", "/v1/reviewers/{persona}", takes=VerdictsQuery, gives=VerdictsPage, statuses=(200, 304))
async def get_verdicts(call: Call, query: VerdictsQuery) -> Answer:
    """List a persona's verdicts, last changed first, as they are or as they were at a position of the log or at a time."""
    verdicts = await read_verdicts(call, query)
    return listed(call, verdicts, verdicts.next)


_PANEL: Final = Head(
    path="/reviewers",
    title="The panel and what it ships",
    description="Every reviewer of the panel, with how many tools each has reviewed and how many of them it would ship.",
)


@page("/reviewers", Query)
async def reviewers_page(call: Call, query: Query) -> Answer:
    """Show the panel."""
    return show(
        call,
        "reviewers.html",
        cache=public_page(call, many=True),
        head=_PANEL,
        reviewers=await tools.reviewers(call.site.reading),
    )


old_reviewer_page = old_path("/reviewer/{persona}", "/reviewers/{persona}")


@page("/reviewers/{persona}", VerdictsQuery)
async def reviewer_page(call: Call, query: VerdictsQuery) -> Answer:
    """Show a persona's verdicts by category, last changed first, as they are or as they were; or as markdown."""
    database = call.site.reading
    reviewers = await tools.reviewers(database, await tools.persona_key(database, call.path["persona"]))
    if not reviewers:
        raise NotFound("No reviewer of the panel has this name.")
    verdicts = await read_verdicts(call, query)
    if wants_markdown(call):
        then = None if verdicts.position is UNSET else str(verdicts.position)
        following = query_path(persona_path(reviewers[0].persona), category=query.category, position=then, cursor=verdicts.next)
        text = persona_text(
            call.site.settings.base_url, reviewers[0], verdicts.items, following if verdicts.next is not None else None
        )
        return markdown_answer(call, text, many=True)
    cards = await call.site.cards.find([one.tool for one in verdicts.items])
    return show(
        call,
        "reviewer.html",
        cache=public_page(call, many=True, vary=(b"Accept",)),
        head=_head(call, reviewers[0], query.category),
        reviewer=reviewers[0],
        category=query.category,
        groups=_by_category(verdicts.items),
        taglines={slug: cached.card.tagline for slug, cached in cards.items()},
        next=verdicts.next,
        position=None if verdicts.position is UNSET else verdicts.position,
        at=None if verdicts.as_of is UNSET else verdicts.as_of,
    )


def _head(call: Call, reviewer: Reviewer, category: str | None) -> Head:
    about = "" if category is None else f" on {category}"
    path = query_path(persona_path(reviewer.persona), category=category)
    crumbs = (("Reviewers", "/reviewers"), (reviewer.persona, persona_path(reviewer.persona)))
    return Head(
        path=path,
        title=f"{reviewer.persona} of the panel: verdicts{about}",
        description=f"{reviewer.persona} has reviewed {count(reviewer.reviewed, 'tool')} and would ship {reviewer.shipped:,}. "
        f"All verdicts{about}, each with its reason.",
        data=(breadcrumbs(call.site.settings.base_url, *crumbs),),
        feeds=verdict_feeds(category),
    )


def _by_category(rows: Sequence[PersonaVerdict]) -> list[tuple[str, list[PersonaVerdict]]]:
    """Group verdicts by category; a category stands where its last changed verdict does."""
    order = {category: at for at, category in reversed(list(enumerate(row.category for row in rows)))}
    ordered = sorted(rows, key=lambda row: order[row.category])
    return [(category, list(group)) for category, group in groupby(ordered, key=lambda row: row.category)]
