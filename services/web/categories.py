"""Categories: all of them, and a page for each with its tools in every order."""

import msgspec

from projections import tools
from projections.tools import Category, Sort
from services.web.category_paths import category_path, category_slug
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import page, public_page, show
from services.web.http.queries import ListQuery, Query, listed
from services.web.page_head import Head
from services.web.site import Call
from services.web.tools import SORTS, ToolsQuery, read_tools
from services.web.verdict_feeds import verdict_feeds


class CategoryQuery(ListQuery, frozen=True, kw_only=True):
    """A category's page: in which order its tools stand."""

    sort: Sort = "settled"


class Categories(msgspec.Struct, frozen=True):
    """Every category of listed tools with how many it holds."""

    items: list[Category]


async def read_category(call: Call) -> Category | None:
    """Return the category of the address in the path; None if there is none.

    Of names that differ in case alone, and so share an address, it is the one with the most tools.
    """
    asked = call.path["category"]
    found = [one for one in await tools.categories(call.site.reading) if category_slug(one.name) == asked]
    return max(found, key=lambda one: one.tools, default=None)


@endpoint("GET", "/v1/categories", takes=Query, gives=Categories, statuses=(200, 304))
async def get_categories(call: Call, query: Query) -> Answer:
    """List the categories with how many listed tools each holds."""
    return listed(call, Categories(await tools.categories(call.site.reading)))


@page("/categories", Query)
async def categories_page(call: Call, query: Query) -> Answer:
    """Show all categories."""
    found = await tools.categories(call.site.reading)
    head = Head(
        path="/categories",
        title="Categories of AI tools",
        description="Every category with the number of tools compared in it.",
    )
    return show(call, "categories.html", cache=public_page(call, many=True), head=head, categories=found)


@page("/categories/{category}", CategoryQuery)
async def category_page(call: Call, query: CategoryQuery) -> Answer:
    """Show the tools of a category."""
    category = await read_category(call)
    if category is None:
        return _gone(call)
    found = await read_tools(call, ToolsQuery(category=category.name, sort=query.sort, limit=query.limit, cursor=query.cursor))
    path = category_path(category.name)
    head = Head(
        path=path,
        title=f"{category.name}: AI tools compared",
        description=f"{category.tools} tools in {category.name}, with the panel’s verdict and the community’s vote on each.",
        feeds=verdict_feeds(category.name),
    )
    return show(
        call,
        "category.html",
        cache=public_page(call, many=True),
        head=head,
        category=category,
        cards=found.items,
        next=found.next,
        sort=query.sort,
        sorts=SORTS,
    )


def _gone(call: Call) -> Answer:
    return show(
        call,
        "message.html",
        status=404,
        eyebrow="Category",
        heading="No category is here",
        text="It may have been renamed or emptied: a category has an address as long as a listed tool stands in it.",
        links=(("/categories", "All categories"), ("/search", "Search tools")),
    )
