"""Heads: what each public page says of itself to search engines and messengers, and that private ones say nothing."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from projections.cards import Card, UnderReview
from services.web.filters import json_ld
from services.web.page_head import LEAST_VOTES, comparison_head, tool_head
from services.web.share_cards import community_stand
from tests.support.catalogs import opinion
from tests.support.heads import Head
from tests.support.http import Site

BASE = "http://127.0.0.1:8000"
"""The site's address by its settings: not the one that the tests call it by."""
SCHEMA = "https://schema.org"
PUBLIC = [
    "/", "/comparisons", "/tools", "/reviewers", "/reviewers/builder",
    "/reviewers/builder?category=Coding",
    "/search", "/categories", "/categories/coding", "/compare",
    "/leaderboard", "/leaderboard?category=Coding",
    "/issues", "/settled", "/corrections", "/integrity", "/newsletter", "/proof", "/your-data", "/agents",
]  # fmt: skip
PRIVATE = [
    "/bookmarks",
    "/newsletter/sent",
    "/proof/mine",
    "/your-data/mine",
    "/ops/sign-in",
    "/outbox",
    "/nothing",
    "/tools/no-such-tool",
]
HOSTILE = "</title><script>alert(1)</script>\" onload='x' <!-- ‮ & 名前"


def head_of(site: Site, path: str, **headers: str) -> Head:
    """Read the head of a page."""
    return Head(site.anyone.get(path, {"Accept": "text/html", **headers}).text)


def test_each_public_page_says_where_and_what_it_is(site: Site) -> None:
    """Every public page has its one address, a title of its own, a description, Open Graph, a Twitter card and a feed."""
    left = site.add_tool(name="Leftmost", category="Coding", panel=[opinion()])
    right = site.add_tool(name="Rightmost", category="Coding")
    titles = set()
    for path in [*PUBLIC, f"/tools/{left}", f"/compare/{left}-vs-{right}"]:
        head = head_of(site, path)
        assert head.canonical == BASE + path == head.meta["og:url"]
        assert len(head.title) >= 10 and head.title.startswith(head.meta["og:title"])
        assert head.meta["description"] == head.meta["og:description"] and len(head.meta["description"]) <= 300
        assert head.meta["twitter:card"].startswith("summary")
        assert [one["type"] for one in head.links["alternate"]] == ["application/atom+xml"] * len(head.links["alternate"])
        assert "robots" not in head.meta
        titles.add(head.title)
    assert len(titles) == len(PUBLIC) + 2
    assert head_of(site, "/tools?category=Coding").canonical == f"{BASE}/categories/coding"


@pytest.mark.parametrize("path", PRIVATE)
def test_a_page_that_is_nobodys_business_says_nothing(site: Site, path: str) -> None:
    """Pages of one reader or of operators, and refusals, have no address to share and no facts, and no index takes them."""
    head = head_of(site, path)
    assert head.meta["robots"] == "noindex"
    assert head.canonical is None and head.data == []
    assert not [name for name in head.meta if name.startswith(("og:", "twitter:", "description"))]


def test_a_visit_is_in_no_address(site: Site, tool: str) -> None:
    """What a query says of one visit is left out of the page's address, and a list's later pages name the first."""
    other = site.add_tool()
    position = site.head()
    for path, query in (
        (f"/tools/{tool}", f"said=voted&after={position}"),
        (f"/compare/{tool}-vs-{other}", f"said=kept&after={position}"),
        ("/tools", f"limit=1&sort=community&cursor={site.anyone.get('/v1/tools', limit=1, sort='community').json()['next']}"),
    ):
        assert head_of(site, f"{path}?{query}").canonical == BASE + path


def test_no_header_changes_an_address(site: Site, tool: str) -> None:
    """Addresses come from the settings, whatever host a request names or a proxy claims to forward."""
    told = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "ftp",
        "Forwarded": "host=evil.example",
    }
    page = site.anyone.get(f"/tools/{tool}", {"Accept": "text/html", **told}).text
    assert "evil.example" not in page
    assert Head(page).canonical == f"{BASE}/tools/{tool}"


def test_a_pair_has_one_address_either_way_round(site: Site) -> None:
    """A pair's address is the announced one, and without an announcement the one by slug."""
    first, second, third = sorted(site.add_tool() for _ in range(3))
    site.import_catalog({"tools": [], "comparisons": [{"left": third, "right": first}]})
    for left, right, canonical in ((second, first, f"{first}-vs-{second}"), (first, third, f"{third}-vs-{first}")):
        for pair in (f"{left}-vs-{right}", f"{right}-vs-{left}"):
            head = head_of(site, f"/compare/{pair}")
            assert head.canonical == f"{BASE}/compare/{canonical}"
            assert f"/card/{canonical}.png?" in head.meta["og:image"]


def test_a_description_says_the_verdict(site: Site) -> None:
    """The description of a tool and of a comparison says the panel's verdict, the community's, and whether it is settled."""
    tool, other = (
        site.add_tool(name="Said", panel=[opinion(), opinion("Founder", verdict="skip")]),
        site.add_tool(name="Unsaid"),
    )
    site.visitor().vote(tool, "ship")
    for _ in range(8):
        position = site.visitor().vote(tool, "ship")
    description = head_of(site, f"/tools/{tool}?after={position}").meta["description"]
    assert description.startswith("The panel is split, 1 to 1. The community says ship, settled: 100% ship of 9 votes.")
    assert head_of(site, f"/compare/{tool}-vs-{other}").meta["description"] == (
        "Said: panel is split, community 100% ship of 9 votes, settled. Unsaid: panel yet to review, no votes yet."
    )


def told(site: Site, path: str) -> dict[str, Any]:
    """Return the JSON-LD of a page by its types."""
    return {one["@type"]: one for one in head_of(site, path).data}


def test_programs_are_told_of_a_tool_and_its_reviews(site: Site) -> None:
    """A tool is an application with the panel's reviews, each by an organization of the persona's name, of 0 to 100 points."""
    tool = site.add_tool(
        name="Told", category="Agents", panel=[opinion(score=70), opinion("Founder", verdict="skip", score=None)]
    )
    found = told(site, f"/tools/{tool}")
    assert [item["name"] for item in found["BreadcrumbList"]["itemListElement"]] == ["Home", "Tools", "Agents", "Told"]
    assert found["BreadcrumbList"]["itemListElement"][-1]["item"] == f"{BASE}/tools/{tool}"
    first, second = found["SoftwareApplication"]["review"]
    assert first["author"] == {"@type": "Organization", "name": "Builder", "url": f"{BASE}/reviewers/builder"}
    assert first["reviewRating"] == {"@type": "Rating", "ratingValue": 70, "worstRating": 0, "bestRating": 100}
    assert "reviewRating" not in second and second["name"] == "Founder: skip"


def test_a_rating_is_told_of_enough_settled_votes_alone(site: Site) -> None:
    """Panel scores make no rating, nor do few votes or such as settle nothing; fifty settled votes do, of 0 to 100 points."""
    tool, split = site.add_tool(panel=[opinion(score=90)]), site.add_tool()
    for number in range(LEAST_VOTES - 1):
        site.visitor().vote(tool, "ship")
        position = site.visitor().vote(split, "ship" if number % 3 else "skip")
    assert "aggregateRating" not in told(site, f"/tools/{tool}?after={position}")["SoftwareApplication"]
    position = site.visitor().vote(split, "skip")
    position = site.visitor().vote(tool, "skip")
    rating = told(site, f"/tools/{tool}?after={position}")["SoftwareApplication"]["aggregateRating"]
    assert rating == {
        "@type": "AggregateRating", "ratingValue": 98, "ratingCount": 50, "worstRating": 0, "bestRating": 100
    }  # fmt: skip
    assert site.anyone.get(f"/v1/tools/{split}").json()["community"]["settled"] is None
    assert "aggregateRating" not in told(site, f"/tools/{split}")["SoftwareApplication"]


def test_nothing_that_travels_calls_a_doubted_verdict_settled(site: Site) -> None:
    """While votes behind a verdict are under review, descriptions, pictures, badges and ratings don't call it settled."""
    tool = site.add_tool(name="Doubted")
    for _ in range(LEAST_VOTES):
        position = site.visitor().vote(tool, "ship")
    sure = msgspec.convert(site.anyone.get(f"/v1/tools/{tool}", after=position).json(), Card)
    doubted = msgspec.structs.replace(sure, under_review=(UnderReview(from_=date(2026, 11, 1), to=date(2026, 11, 2)),))
    for card, words in ((sure, "ship, settled"), (doubted, "ship, under review")):
        head = tool_head(BASE, card)
        assert words in head.description and words in head.share_text
        assert community_stand(card).whose == f"Community, {words.partition(', ')[2]}"
        assert ("aggregateRating" in head.data[0]) == (card is sure)
        assert words.partition(", ")[2] in comparison_head(BASE, "/compare/a-vs-b", card, card).description
    assert tool_head(BASE, sure).image == f"/card/{tool}.png?position={position}"
    assert tool_head(BASE, doubted).image == f"/card/{tool}.png"  # no position tells of a review


def test_the_first_page_says_whose_site_it_is(site: Site) -> None:
    """Programs read the site's name on its first page, and where a persona's page stands on that."""
    assert told(site, "/")["WebSite"] == {"@context": SCHEMA, "@type": "WebSite", "name": "Ballotpress", "url": f"{BASE}/"}
    site.add_tool(panel=[opinion()])
    assert told(site, "/reviewers/builder")["BreadcrumbList"]["itemListElement"][-1]["item"] == f"{BASE}/reviewers/builder"


def test_programs_are_told_of_both_tools_of_a_comparison(site: Site) -> None:
    """A comparison is a list of its two applications."""
    left, right = site.add_tool(name="Left"), site.add_tool(name="Right")
    found = told(site, f"/compare/{left}-vs-{right}")["ItemList"]
    assert [item["item"]["name"] for item in found["itemListElement"]] == ["Left", "Right"]
    assert found["numberOfItems"] == 2


@pytest.mark.parametrize(
    "text",
    ["</script><script>alert(1)", "<!--<script>", "]]>", "\u2028\u2029", "\ud800", '"\\', "&lt;", "\x00\x1f\x7f"],
)
def test_no_text_ends_the_script_that_holds_it(text: str) -> None:
    """Whatever stands in JSON-LD is read back as it was, lone surrogates apart, and no sign of mark-up is in it."""
    written = json_ld({"text": text, "list": [text]})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written)["list"] == [text.replace("\ud800", "?")]


def test_hostile_words_stay_words(site: Site) -> None:
    """What a catalog calls a tool ends no element and no attribute."""
    tool = site.add_tool(name=HOSTILE, tagline=HOSTILE, category=HOSTILE, panel=[opinion(take=HOSTILE)])
    other = site.add_tool(name=HOSTILE * 3)
    for path in (f"/tools/{tool}", f"/compare/{tool}-vs-{other}", "/tools"):
        head = head_of(site, path)
        assert [one for one in head.scripts if "src" not in one and one.get("type") != "application/ld+json"] == []
        assert not any("onload" in link for links in head.links.values() for link in links)
    assert HOSTILE in head_of(site, f"/tools/{tool}").title
    code = tool_head(BASE, msgspec.convert(site.anyone.get(f"/v1/tools/{tool}").json(), Card)).embed_code
    assert code.count("<") == 3 and f'src="{BASE}/badge/{tool}.svg"' in code  # a link, its picture, and its end
    assert told(site, f"/tools/{tool}")["SoftwareApplication"]["name"] == HOSTILE
