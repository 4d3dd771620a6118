"""What programs may read here, and how to quote it: /llms.txt (llmstxt.org) for them, and a page for who writes them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from projections import tools
from services.web.category_paths import category_path
from services.web.facts import MOST
from services.web.filters import count
from services.web.http.answers import Answer, Content
from services.web.http.pages import page, public_page, show
from services.web.http.queries import Query
from services.web.http.shared import shared
from services.web.markdown import link, plain
from services.web.page_head import Head, persona_path
from services.web.robots import TEXT
from services.web.site import Call

Line = tuple[str, str, str]
"""A link: its text, its path, and what is there."""

_MOST_LINKS: Final = 100
"""Links of a kind: who wants all tools reads the facts or the sitemap."""

_HEAD: Final = Head(
    path="/agents",
    title="For programs that read and quote this site",
    description="What programs may read here and how to quote it: facts of every tool, addresses that stay true, markdown, "
    "feeds, the API’s document and the public log.",
)


_SUMMARY: Final = (
    "> AI tools, each with the verdict of a panel and the vote of the community: ship or skip, and how sure that is. "
    "Every vote is an entry in a public log, and every number can be recounted from it."
)
_NOTES: Final = """\
- A *verdict* is ship, skip or mixed. The panel's is its majority. The community's holds "so far", for a single look, or is \
*settled*, which holds however often one looks.
- Quote a number by the address that stays true: that of a tool with `?position=N` shows it as the log's first N entries say.
- Pages of tools, comparisons and the panel are markdown for who sends `Accept: text/markdown`."""
_FACTS: Final[Sequence[Line]] = (
    ("Facts of all tools", "/tools/facts", f"JSON, {MOST} tools at a time, each with the address of its numbers"),
    ("Verdicts as they change", "/tools.xml", "Atom, with ?category= for one category"),
    ("The API", "/schema/openapi.json", "OpenAPI 3.1: tools, comparisons, search, tallies as of any time"),
    ("For programs", "/agents", "what may be read, how to quote it, limits"),
)
_PAGES: Final[Sequence[Line]] = (
    ("Tools", "/tools", "all tools, in several orders"),
    ("Search", "/search", "tools by name and words, with ?q="),
    ("Comparisons", "/comparisons", "pairs that were announced; any two tools compare under /compare/LEFT-vs-RIGHT"),
    ("Reviewers", "/reviewers", "the panel"),
    ("Digest", "/issues", "the weekly issues"),
    ("So far, and settled", "/settled", "what the verdicts mean, and how often each is wrong"),
)
_OPTIONAL: Final[Sequence[Line]] = (
    ("Corrections", "/corrections", "votes that were taken back, and why"),
    ("How we check", "/integrity", "how bought votes are found"),
    ("The public log", "/proof", "every vote as an entry, signed, to be recounted by anybody"),
)


@page("/agents", Query)
async def agents_page(call: Call, query: Query) -> Answer:
    """Say what programs may read, and how to quote it."""
    limits = call.site.settings.network_writes_per_minute
    return show(
        call, "agents.html", cache=public_page(call), head=_HEAD, most=MOST, writes=limits, example=await _example(call)
    )


@page("/llms.txt", Query)
async def llms_text(call: Call, query: Query) -> Answer:
    """Say the same in the form that language models are given."""
    site, base_url = call.site, call.site.settings.base_url
    categories = (await tools.categories(site.reading))[:_MOST_LINKS]
    reviewers = (await tools.reviewers(site.reading))[:_MOST_LINKS]
    sections = {
        "Facts": _FACTS,
        "Pages": _PAGES,
        "Categories": [(one.name, category_path(one.name), count(one.tools, "tool")) for one in categories],
        "Panel": [(one.persona, persona_path(one.persona), count(one.reviewed, "verdict")) for one in reviewers],
        "Optional": _OPTIONAL,
    }
    text = "\n\n".join([f"# {plain(site.settings.identity.site_name)}", _SUMMARY, _NOTES, *_written(base_url, sections)])
    return Content(f"{text}\n".encode(), TEXT).answer(call.head, shared(call, many=True))


def _written(base_url: str, sections: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    for heading, lines in sections.items():
        if lines:
            yield "\n".join(
                [f"## {heading}", "", *(f"- {link(name, base_url + path)}: {notes}" for name, path, notes in lines)]
            )


async def _example(call: Call) -> str:
    """Return the slug of a tool to show addresses by."""
    found = await tools.tools(call.site.reading, "settled", None, None, 1)
    return found[0].slug if found else "some-tool"
