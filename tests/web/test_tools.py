"""Tools and comparisons over HTTP: cards, lists in every order, any two tools side by side."""

from typing import Any

import pytest

from projections.comparison import NO_VOTES
from services.web.http.assets import STATIC
from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem, pointers


def slugs(site: Site, **parameters: Any) -> list[str]:
    """List tools."""
    answer = site.anyone.get("/v1/tools", **parameters)
    assert answer.status_code == 200, answer.text
    return [tool["slug"] for tool in answer.json()["items"]]


def test_a_tool_is_shown_as_the_contract_says(site: Site) -> None:
    """A card has the catalog's words, the panel in its order, and a community without votes."""
    slug = site.add_tool(name="Shown", panel=[opinion(), opinion("Founder", verdict="skip", score=None)])
    card = site.anyone.get(f"/v1/tools/{slug}").json()
    assert (card["slug"], card["name"], card["pricing"]) == (slug, "Shown", {"tier": "free", "label": "Free"})
    panel = card["panel"]
    assert (panel["verdict"], panel["ship"], panel["skip"], panel["ship_percent"]) == ("mixed", 1, 1, 50)
    assert [review["persona"] for review in panel["reviews"]] == ["Builder", "Founder"]
    assert card["community"] == {
        "ship": 0, "skip": 0, "total": 0, "ship_percent": None, "verdict": None, "interval": None, "provisional": True,
        "flips_to_change": None, "settled": None, "settled_interval": None,
    }  # fmt: skip


def test_a_tools_etag_changes_with_it(site: Site, tool: str) -> None:
    """Known, a card is 304; after a vote it is sent, with its new position and ETag."""
    first = site.anyone.get(f"/v1/tools/{tool}")
    known = {"If-None-Match": first.headers["etag"]}
    assert site.anyone.get(f"/v1/tools/{tool}", known).status_code == 304
    assert site.anyone.get(f"/v1/tools/{tool}", {"If-None-Match": f'"x", {known["If-None-Match"][2:]}'}).status_code == 304
    position = site.visitor().vote(tool, "ship")
    changed = site.anyone.get(f"/v1/tools/{tool}", known, after=position)
    assert (changed.status_code, changed.json()["position"]) == (200, position)
    assert changed.headers["etag"] != first.headers["etag"]


def test_lists_sort_as_they_say(site: Site) -> None:
    """By name, by either lower bound with unvoted tools last, by the panel, and by the net votes of the week."""
    category = "Sorted"
    loved = site.add_tool(category=category, name="C loved", panel=[opinion(verdict="skip")])
    split = site.add_tool(category=category, name="B split", panel=[opinion(), opinion("Founder")])
    fresh = site.add_tool(category=category, name="A fresh", panel=[opinion()])
    for choice in ("ship", "ship", "ship"):
        site.visitor().vote(loved, choice)
    for choice in ("ship", "skip", "skip"):
        position = site.visitor().vote(split, choice)
    by = {
        sort: slugs(site, category=category, sort=sort, after=position)
        for sort in ("name", "community", "settled", "panel", "trending")
    }
    assert by == {
        "name": [fresh, split, loved],
        "community": [loved, split, fresh],
        "settled": [loved, split, fresh],
        "panel": [split, fresh, loved],
        "trending": [loved, fresh, split],
    }


def test_an_unlisted_tool_is_off_the_site(site: Site) -> None:
    """No page, no list, no comparison, no count of a category knows it, whatever was in memory before."""
    slug, other = site.add_tool(category="Off"), site.add_tool(category="Off")
    for _ in range(2):
        assert site.anyone.get(f"/v1/comparisons/{slug}-vs-{other}").status_code == 200
    site.add_tool(slug=slug, category="Off", listed=False)
    assert_problem(site.anyone.get(f"/v1/tools/{slug}"), 404)
    assert_problem(site.anyone.get(f"/v1/comparisons/{slug}-vs-{other}"), 404)
    assert slugs(site, category="Off") == [other]
    assert {"name": "Off", "tools": 1} in site.anyone.get("/v1/categories").json()["items"]


def test_reviewers_are_counted_and_listed(site: Site) -> None:
    """A persona has its counts by category, and its verdicts last changed first."""
    one = site.add_tool(category="Counted", panel=[opinion("Counter")])
    two = site.add_tool(category="Counted", panel=[opinion("Counter", verdict="skip")])
    site.add_tool(slug=one, category="Counted", panel=[opinion("Counter", take="Better.")])
    reviewers = {reviewer["persona"]: reviewer for reviewer in site.anyone.get("/v1/reviewers").json()["items"]}
    assert (reviewers["Counter"]["reviewed"], reviewers["Counter"]["shipped"]) == (2, 1)
    assert reviewers["Counter"]["categories"] == [{"category": "Counted", "reviewed": 2, "shipped": 1}]
    verdicts = site.anyone.get("/v1/reviewers/counter").json()
    assert (verdicts["persona"], [item["tool"] for item in verdicts["items"]]) == ("Counter", [one, two])
    page = site.anyone.get("/v1/reviewers/counter", limit=1, category="Counted")
    assert [item["tool"] for item in site.anyone.get(page.links["next"]["url"]).json()["items"]] == [two]
    assert_problem(site.anyone.get("/v1/reviewers/nobody-at-all"), 404)


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [({"sort": "random"}, "/sort"), ({"limit": "0"}, "/limit"), ({"limit": "101"}, "/limit"), ({"limit": "x"}, "/limit")],
)
def test_bad_parameters_are_named(site: Site, parameters: dict[str, str], pointer: str) -> None:
    """What doesn't fit a parameter is a 400 that points at it."""
    assert pointers(assert_problem(site.anyone.get("/v1/tools", **parameters), 400)) == [pointer]


def test_any_two_tools_compare(site: Site) -> None:
    """Two listed tools are put side by side, announced or not; a tool against itself is 404."""
    left = site.add_tool(panel=[opinion(), opinion("Founder")])
    right = site.add_tool(panel=[opinion("Founder", verdict="skip"), opinion("Skeptic")])
    comparison = site.anyone.get(f"/v1/comparisons/{left}-vs-{right}").json()
    assert (comparison["left"]["slug"], comparison["right"]["slug"]) == (left, right)
    assert [row["label"] for row in comparison["decision"]] == ["Panel verdict", "Community", "Pricing", "Best for", "Category"]
    assert [row["persona"] for row in comparison["scorecard"]] == ["Builder", "Founder", "Skeptic"]
    assert comparison["scorecard"][0]["right"] is None
    assert_problem(site.anyone.get(f"/v1/comparisons/{left}-vs-{left}"), 404)
    assert_problem(site.anyone.get(f"/v1/comparisons/{left}-vs-nobody"), 404)


def test_a_comparisons_etag_changes_with_either_side(site: Site) -> None:
    """A vote on either tool is a new version of the comparison; without one it is 304."""
    left, right = site.add_tool(), site.add_tool()
    path = f"/v1/comparisons/{left}-vs-{right}"
    for tool in (left, right):
        etag = site.anyone.get(path).headers["etag"]
        assert site.anyone.get(path, {"If-None-Match": etag}).status_code == 304
        position = site.visitor().vote(tool, "ship")
        changed = site.anyone.get(path, {"If-None-Match": etag}, after=position)
        assert changed.status_code == 200
    assert changed.json()["decision"][1]["right"] == "100% ship · 1 ship / 0 skip"


def test_a_slug_that_holds_vs_is_read_right(site: Site) -> None:
    """An announced pair wins where a slug holds `-vs-`, else the shortest left slug."""
    for slug in ("east", "west-vs-north", "east-vs-west", "north"):
        site.add_tool(slug=slug)
    path = "/v1/comparisons/east-vs-west-vs-north"
    assert site.anyone.get(path).json()["left"]["slug"] == "east"
    site.import_catalog({"tools": [], "comparisons": [{"left": "east-vs-west", "right": "north"}]})
    assert site.anyone.get(path).json()["left"]["slug"] == "east-vs-west"
    announced = site.anyone.get("/v1/comparisons").json()["items"][0]
    assert (announced["slug"], announced["left"], announced["right"]) == ("east-vs-west-vs-north", "east-vs-west", "north")


def test_a_visitor_is_who_the_token_says(site: Site) -> None:
    """A new visitor is 201 with a cookie that scripts can't read; with a valid token it is 200 and the same one."""
    new = site.anyone.post("/v1/visitors")
    assert new.status_code == 201
    cookie = new.headers["set-cookie"]
    assert cookie.startswith(f"ballotpress_visitor={new.json()['token']};")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    me = site.visitor()
    again = me.post("/v1/visitors")
    assert (again.status_code, again.json()["visitor"]) == (200, me.visitor)
    assert new.json()["visitor"] != me.visitor


def test_the_live_script_says_what_the_server_says_without_votes() -> None:
    """A line that the script counts live begins as the page wrote it."""
    assert f'"{NO_VOTES}"' in (STATIC / "site.js").read_text()


def test_the_longest_category_of_a_catalog_has_its_lists(site: Site) -> None:
    """A category may be as long in an address as in the catalog file."""
    longest = "Ü" * 200
    slug = site.add_tool(category=longest)
    assert slugs(site, category=longest) == [slug]
    assert site.anyone.get("/tools", {"Accept": "text/html"}, category=longest).status_code == 200
    assert_problem(site.anyone.get("/v1/tools", category=longest + "x"), 400)
