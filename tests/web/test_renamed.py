"""A tool that took another slug: every address of before leads on, and every write counts."""

import itertools
from typing import Any

import httpx
import pytest

from tests.support.catalogs import opinion, tool
from tests.support.http import Caller, Site, assert_problem, pointers
from tests.support.streams import streaming

_numbers = itertools.count(1)
ID = "AaIBaD4Jdt2r0cFH3ftnxQ"


def rename(site: Site, former: str, slug: str, **changes: Any) -> None:
    """Give a tool another slug."""
    assert site.import_catalog({"tools": [tool(slug, name=former.title(), former_slugs=[former], **changes)]}) == 1


@pytest.fixture
def names(site: Site) -> tuple[str, str]:
    """A tool's former slug and its present one."""
    number = next(_numbers)
    before, now = f"before-{number}", f"now-{number}"
    site.add_tool(slug=before)
    rename(site, before, now)
    return before, now


def location(who: Caller, path: str, status: int = 301) -> str:
    """Give where an old address leads; nobody may keep the answer unasked."""
    answer = who.get(path, {"Accept": "text/html, application/json"})
    assert answer.status_code == status, answer.text
    assert "max-age=0" in answer.headers["cache-control"] or "no-cache" in answer.headers["cache-control"]
    return str(answer.headers["location"])


def test_every_address_of_a_tool_leads_on(site: Site, names: tuple[str, str]) -> None:
    """Pages and JSON below a former slug are 301 to the present one, the rest of the address and the query kept."""
    before, now = names
    for path in (
        "/v1/tools/{}",
        "/v1/tools/{}?after=1",
        "/v1/tools/{}/tally?corrected=true",
        "/v1/tools/{}/tally/history?every=hour",
        "/v1/tools/{}/reviews?limit=2",
        "/tools/{}",
        "/tools/{}?said=voted&position=2",
        "/tools/{}/mine",
        f"/tools/{{}}/reviews/{ID}/report",
        "/card/{}.png",
        "/badge/{}.svg",
    ):
        assert location(site.anyone, path.format(before)) == path.format(now)
    assert site.anyone.call("HEAD", f"/v1/tools/{before}").status_code == 301
    assert site.anyone.get(f"/v1/tools/{now}").json()["slug"] == now


def test_a_pair_leads_on_by_either_side(site: Site, names: tuple[str, str]) -> None:
    """A comparison by a former slug on the left, on the right or on both is 301; of a tool with itself, 404."""
    (before, now), other = names, site.add_tool()
    rename(site, other, f"{other}-now")
    for path in ("/v1/comparisons/{}-vs-{}", "/compare/{}-vs-{}?said=voted", "/card/{}-vs-{}.png"):
        for left, right in ((before, f"{other}-now"), (f"{other}-now", before), (before, other)):
            right_now = {before: now, other: f"{other}-now"}
            wanted = path.format(right_now.get(left, left), right_now.get(right, right))
            assert location(site.anyone, path.format(left, right)) == wanted
    assert_problem(site.anyone.get(f"/v1/comparisons/{before}-vs-{now}"), 404)


def test_a_slug_in_a_path_is_replaced_where_it_is_the_tools(site: Site) -> None:
    """A former slug that is a word of our paths, too, changes in its own place alone."""
    for word in ("v1", "tally", "tools", "card"):
        site.add_tool(slug=word)
        rename(site, word, f"{word}-renamed")
        assert location(site.anyone, f"/v1/tools/{word}/tally") == f"/v1/tools/{word}-renamed/tally"
        assert location(site.anyone, f"/tools/{word}") == f"/tools/{word}-renamed"


def test_votes_bookmarks_and_reviews_stay_and_count(site: Site) -> None:
    """What was written before a rename stays the tool's, and writes by the former slug count for it."""
    before = site.add_tool(slug="written-before", panel=[opinion()])
    early, late = site.visitor(), site.visitor()
    early.vote(before, "ship")
    early.put(f"/v1/bookmarks/{before}")
    body = {"verdict": "skip", "body": "It does what it says, and no more than that."}
    review = early.post(f"/v1/tools/{before}/reviews", body).json()["id"]
    rename(site, before, "written-now")

    voted = late.put(f"/v1/tools/{before}/vote", {"choice": "ship"}).json()
    assert (voted["tool"], voted["community"]["ship"]) == ("written-now", 2)
    assert late.put(f"/v1/bookmarks/{before}").json()["tool"] == "written-now"
    assert late.post(f"/v1/tools/{before}/reviews", body).status_code == 202
    card = site.anyone.get("/v1/tools/written-now", after=late.vote(before, "skip")).json()
    assert (card["community"]["ship"], card["community"]["skip"], card["panel"]["ship"]) == (1, 1, 1)
    assert [kept["slug"] for kept in early.get("/v1/bookmarks").json()["items"]] == ["written-now"]
    assert early.get(f"/v1/reviews/{review}").json()["tool"] == "written-now"
    assert early.get("/v1/tools/written-now/vote").json()["choice"] == "ship"
    assert location(early, f"/v1/tools/{before}/vote") == "/v1/tools/written-now/vote"
    assert early.delete(f"/v1/tools/{before}/vote").json()["community"]["ship"] == 0


def test_forms_of_pages_that_are_open_count(site: Site, names: tuple[str, str]) -> None:
    """A form that was loaded before the rename counts, and leads to the present page."""
    before, now = names
    visitor = site.visitor()
    sent = {"Cookie": f"ballotpress_visitor={visitor.token}", "Sec-Fetch-Site": "same-origin"}
    answer = site.client.post(f"/tools/{before}/vote", data={"choice": "ship"}, headers=sent)
    site.client.cookies.clear()
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"/tools/{now}?")
    assert visitor.get(f"/v1/tools/{now}/vote").json()["choice"] == "ship"


def test_a_page_that_is_open_goes_on_hearing(site: Site, names: tuple[str, str]) -> None:
    """Who watches by a former slug is told under it, by the present one under that, and by both under each."""
    before, now = names
    base = str(site.client.base_url).rstrip("/")
    with streaming(base, before) as old, streaming(base, now) as new, streaming(base, before, now) as both:
        assert (old.next().data["tool"], new.next().data["tool"]) == (before, now)
        assert {both.next().data["tool"] for _ in range(2)} == {before, now}
        site.visitor().vote(now, "ship")
        told = old.next().data, new.next().data
        assert [(one["tool"], one["ship"]) for one in told] == [(before, 1), (now, 1)]
        assert {(one["tool"], one["ship"]) for one in (both.next().data, both.next().data)} == {(before, 1), (now, 1)}
    voter = site.visitor()
    voter.vote(now, "skip")
    states = voter.call("GET", f"/v1/visitors/me/tools?tool={before}&tool={now}").json()
    assert [(state["tool"], state["choice"]) for state in states["items"]] == [(before, "skip"), (now, "skip")]


def test_a_slug_that_is_taken_back_is_served_again(site: Site, names: tuple[str, str]) -> None:
    """After a rename back the first slug is served and the other one leads to it: no answer sends round in a circle."""
    before, now = names
    assert location(site.anyone, f"/tools/{before}") == f"/tools/{now}"
    site.import_catalog({"tools": [tool(before, former_slugs=[now])]})
    assert site.anyone.get(f"/tools/{before}", {"Accept": "text/html"}).status_code == 200
    assert location(site.anyone, f"/tools/{now}") == f"/tools/{before}"


def test_a_slug_of_elsewhere_leads_on(site: Site) -> None:
    """A former slug that was never served here leads to the tool too; off the site, each of its slugs is 404."""
    slug = site.add_tool(former_slugs=["of-elsewhere"])
    assert location(site.anyone, "/v1/tools/of-elsewhere") == f"/v1/tools/{slug}"
    site.import_catalog({"tools": [tool(slug, listed=False)]})
    for name in (slug, "of-elsewhere"):
        assert_problem(site.anyone.get(f"/v1/tools/{name}"), 404)
        assert_problem(site.visitor().put(f"/v1/tools/{name}/vote", {"choice": "ship"}), 404)


def test_old_paths_lead_on(site: Site, names: tuple[str, str]) -> None:
    """/tool/ and /reviewer/ are other spellings of /tools/ and /reviewers/, the query kept; these never change back."""
    for path, wanted in (
        (f"/tool/{names[1]}?said=voted", f"/tools/{names[1]}?said=voted"),
        ("/reviewer/builder?category=Developer%20Tools", "/reviewers/builder?category=Developer%20Tools"),
        ("/reviewer/d%C3%A9j%C3%A0", "/reviewers/d%C3%A9j%C3%A0"),
        ("/tool/x?a=//evil.example", "/tools/x?a=//evil.example"),
    ):
        answer = site.anyone.get(path)
        assert (answer.status_code, answer.headers["location"]) == (301, wanted)
        assert answer.headers["cache-control"] == "public, max-age=86400"
    for query in (b"a\\b", b"a=\\\\evil.example"):  # as a browser would not send it
        asked = httpx.URL(site.client.base_url).copy_with(raw_path=b"/tool/x?" + query)
        assert site.client.get(asked).headers["location"] == "/tools/x"
    assert site.client.get(f"/tool/{names[0]}", follow_redirects=True).url.path == f"/tools/{names[1]}"


def test_a_rename_of_a_successor_shows_on_the_card_before_it(site: Site) -> None:
    """A card names its successor by the slug that it has now, and by none while that is off the site."""
    later = site.add_tool(slug="later-one")
    earlier = site.add_tool(successor=later, reviewed="2026-04-21", disclosure="We use it.")
    card = site.anyone.get(f"/v1/tools/{earlier}").json()
    assert (card["successor"], card["reviewed"], card["disclosure"]) == (later, "2026-04-21", "We use it.")
    rename(site, later, "later-renamed")
    renamed = site.anyone.get(f"/v1/tools/{earlier}").json()
    assert renamed["successor"] == "later-renamed"
    assert renamed["position"] > card["position"]
    site.import_catalog({"tools": [tool("later-renamed", name="Later-One", listed=False)]})
    assert site.anyone.get(f"/v1/tools/{earlier}").json()["successor"] is None


def test_every_fault_of_a_catalog_is_told_at_its_place(site: Site, names: tuple[str, str]) -> None:
    """A file with faulty slugs, successors and personas is refused whole, each fault at its JSON pointer."""
    faulty = [tool("free", former_slugs=[names[0]]), tool(names[1], successor=names[0], disclosure="a\nb")]
    answer = site.operator.post("/v1/ops/catalog", {"tools": faulty, "personas": [{"persona": "A/B", "phrase": "a\x7fb"}]})
    assert pointers(assert_problem(answer, 400)) == [
        "/tools/1/disclosure", "/personas/0/persona", "/personas/0/phrase", "/tools/0/former_slugs/0", "/tools/1/successor",
    ]  # fmt: skip
    assert_problem(site.anyone.get("/v1/tools/free"), 404)


def test_a_persona_is_shown_as_it_is_described(site: Site) -> None:
    """A persona's profile stands in the list and above its verdicts, also of one that judged nothing yet; others have none."""
    profile = {"role": "Developer", "phrase": "p", "profile": "q", "excited_by": ["a", "b"], "tired_of": ["c"]}
    personas = [{"persona": "Tinkerer", **profile}, {"persona": "Newcomer"}]
    site.import_catalog({"tools": [tool("judged-by", panel=[opinion("Tinkerer"), opinion("Stranger")])], "personas": personas})
    listed = {one["persona"]: one for one in site.anyone.get("/v1/reviewers").json()["items"]}
    assert listed["Tinkerer"].items() >= {**profile, "reviewed": 1, "shipped": 1}.items()
    nothing = {"role": None, "phrase": None, "profile": None, "excited_by": [], "tired_of": []}
    assert listed["Newcomer"] == {**nothing, "persona": "Newcomer", "reviewed": 0, "shipped": 0, "categories": []}
    assert listed["Stranger"].items() >= nothing.items()
    assert site.anyone.get("/v1/reviewers/tinkerer").json().items() >= profile.items()
    assert site.anyone.get("/v1/reviewers/newcomer").json() == {**nothing, "persona": "Newcomer", "items": [], "next": None}
    for name in ("tinkerer", "newcomer", "stranger", "Tinkerer", "NEWCOMER"):
        assert site.anyone.get(f"/reviewers/{name}", {"Accept": "text/html"}).status_code == 200


def test_a_persona_is_found_by_capitals_of_any_script(site: Site) -> None:
    """The links of a persona lead to it, whatever letters its name has; its verdicts are narrowed by category there too."""
    site.import_catalog(
        {"tools": [tool("judged-abroad", panel=[opinion("Élan Ωmega")])], "personas": [{"persona": "Élan Ωmega", "role": "r"}]}
    )
    page = site.anyone.get("/reviewers", {"Accept": "text/html"}).text
    path = "/reviewers/%C3%A9lan%20%CF%89mega"
    assert f'href="{path}"' in page
    for either in (path, "/reviewers/%C3%89LAN%20%CE%A9mega"):
        assert site.anyone.get(either, {"Accept": "text/html"}).status_code == 200
    told = site.anyone.get(f"/v1{path}?category=Tools").json()
    assert (told["persona"], told["role"], [one["tool"] for one in told["items"]]) == ("Élan Ωmega", "r", ["judged-abroad"])
