"""Search, categories and the picker over HTTP and as pages: what is typed leads somewhere, or the page says why not."""

import re

import pytest

from projections.registry import named
from services.web.category_paths import category_path, category_slug
from tests.support import servers
from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem, pointers

PAGE = {"Accept": "text/html"}


def test_a_name_and_its_misspelling_find_the_tool(site: Site) -> None:
    """JSON and page alike show the tool, as its card."""
    slug = site.add_tool(name="Quillfeather Draft", tagline="Writes with you")
    for text in ("quillfeather", "QUILL", "quilfleather", "draft quillfeather", "writes"):
        found = site.anyone.get("/v1/search", q=text)
        assert slug in [card["slug"] for card in found.json()["items"]], text
        assert f'href="/tools/{slug}"' in site.anyone.get("/search", PAGE, q=text).text
    assert site.anyone.get("/v1/search", q="quillfeather").json()["items"] == [site.anyone.get(f"/v1/tools/{slug}").json()]


def test_a_search_for_nothing_is_refused_and_a_strange_one_finds_nothing(site: Site) -> None:
    """Nothing to look for, and what is too long to be looked for, are 400; any other text is 200. The page shows its form."""
    for query in ("", "?q=", "?q=%20%20", "?q=" + "+" * 10_000, "?q=%00", f"?q={'x' * 501}"):
        assert pointers(assert_problem(site.anyone.call("GET", f"/v1/search{query}"), 400)) == ["/q"]
    for text in ("'\"%_\\ zzqx", "zzqx & !x | (y:*)", "🚀🚀🚀", "搜索不到", "‮zzqx", "%", "zqx" * 166, "zz " * 160):
        assert site.anyone.get("/v1/search", q=text).json() == {
            "items": [], "next": None, "categories": [], "reviewers": [], "comparisons": []
        }, text  # fmt: skip
        assert "No tool has all of these words" in site.anyone.get("/search", PAGE, q=text).text
    assert 'name="q"' in site.anyone.get("/search", PAGE).text


def test_a_list_of_results_goes_on(site: Site) -> None:
    """Pages follow each other by their cursors, which belong to one text."""
    slugs = {site.add_tool(name=f"Zephyrine {n}") for n in range(5)}
    first = site.anyone.get("/v1/search", q="zephyrine", limit=2)
    assert 'rel="next"' in first.headers["link"] and "q=zephyrine" in first.headers["link"]
    seen, cursor = [card["slug"] for card in first.json()["items"]], first.json()["next"]
    while cursor:
        page = site.anyone.get("/v1/search", q="zephyrine", limit=2, cursor=cursor).json()
        seen, cursor = seen + [card["slug"] for card in page["items"]], page["next"]
    assert len(seen) == 5 and set(seen) == slugs
    assert_problem(site.anyone.get("/v1/search", q="other", cursor=first.json()["next"]), 400)


def test_categories_reviewers_and_comparisons_are_found_too(site: Site) -> None:
    """A text that names a category, a persona or two tools side by side leads there."""
    left = site.add_tool(name="Ostrava", category="Voice & Speech", panel=[opinion("Wordsmith")])
    right = site.add_tool(name="Pardubice")
    assert site.anyone.get("/v1/search", q="speech").json()["categories"] == [{"name": "Voice & Speech", "tools": 1}]
    assert site.anyone.get("/v1/search", q="wordsm").json()["reviewers"] == ["Wordsmith"]
    (pair,) = site.anyone.get("/v1/search", q="Ostrava vs Pardubice").json()["comparisons"]
    assert pair == {"slug": f"{left}-vs-{right}", "title": "Ostrava vs Pardubice", "left": left, "right": right}
    page = site.anyone.get("/search", PAGE, q="speech").text
    assert f'href="{category_path("Voice & Speech")}"' in page


def test_hostile_text_stays_text(site: Site) -> None:
    """What is searched for is shown as it was typed, and nothing of it is markup."""
    page = site.anyone.get("/search", PAGE, q="\"><script>alert(1)</script> ' onload=x").text
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    page = site.anyone.get("/compare", PAGE, left='"><script>alert(1)</script>', right="x").text
    assert "<script>alert" not in page


def test_an_address_of_a_category_is_its_own(site: Site) -> None:
    """Plain names are their address; where words say less than the name, two names still have two."""
    assert category_slug("Developer Tools") == "developer-tools"
    names = ["C", "C++", "C#", "c/c++", "工具", "道具", "Voice & Speech", "Voice Speech", "x" * 200, "x" * 199, "-", "--", "Ü"]
    assert len({category_slug(name) for name in names}) == len(names)
    for name in ("Zyx", "Zyx++", "甲乙工具"):  # of no other test on this site: an address is the largest's of its spellings
        site.add_tool(name=f"Of {name}", category=name)
        page = site.anyone.get(category_path(name), PAGE)
        assert page.status_code == 200 and f"Of {name}" in page.text, name
        assert f'href="{category_path(name)}"' in site.anyone.get("/categories", PAGE).text
    assert "Of Zyx++" not in site.anyone.get("/categories/zyx", PAGE).text


def test_a_category_that_is_gone_says_so(site: Site) -> None:
    """Renamed or emptied, its page is 404 and says what may have happened; one of nobody's is 404 too."""
    slug = site.add_tool(category="Ephemera")
    assert site.anyone.get("/categories/ephemera", PAGE).status_code == 200
    site.add_tool(slug=slug, category="Lasting")
    gone = site.anyone.get("/categories/ephemera", PAGE)
    assert gone.status_code == 404 and "renamed or emptied" in gone.text
    assert site.anyone.get("/categories/lasting", PAGE).status_code == 200
    assert site.anyone.get("/categories/no-such", PAGE).status_code == 404


@pytest.mark.parametrize("way", ["slug", "name"])
def test_two_tools_lead_to_their_comparison(site: Site, way: str) -> None:
    """By slugs and by names alike, the picker leads on."""
    names = (f"Leftward {way}", f"Rightward {way}")
    slugs = [site.add_tool(name=name) for name in names]
    asked = dict(zip(("left", "right"), slugs if way == "slug" else names, strict=True))
    answer = site.anyone.get("/compare", PAGE, **asked)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/compare/{slugs[0]}-vs-{slugs[1]}")


def test_what_is_not_two_tools_is_helped_on(site: Site) -> None:
    """Nothing yet, one tool alone, the same twice, words of several, words of none: a page that says what to do."""
    one, two = site.add_tool(name="Brno Alpha"), site.add_tool(name="Brno Beta")

    def asked(**sides: str) -> str:
        answer = site.anyone.get("/compare", PAGE, **sides)
        assert answer.status_code == 200
        return answer.text

    assert 'name="left"' in asked() and 'name="right"' in asked()
    assert f'value="{one}"' in asked(left=one)
    assert "same tool twice" in asked(left=one, right="brno alpha")
    choices = asked(left="brno", right=one)
    assert all(f'type="radio" name="left" value="{slug}"' in choices for slug in (one, two))
    assert "No tool has all of these words" in asked(left="zzqx", right=one)


def test_the_leaderboard_shows_who_leads(site: Site) -> None:
    """Tools with votes by their settled bound, ranked, in JSON and as a page; of a category alone, and page by page."""
    first, second, unvoted = (site.add_tool(name=f"Board {n}", category="Boards & Co") for n in range(3))
    for tool, ships in ((first, 4), (second, 2)):
        for _ in range(ships):
            position = site.visitor().vote(tool, "ship")
    board = site.anyone.get("/v1/leaderboard", category="Boards & Co", after=position).json()
    assert [(one["rank"], one["rank_before"], one["tool"]["slug"]) for one in board["items"]] == [
        (1, None, first),
        (2, None, second),
    ]
    page = site.anyone.get("/v1/leaderboard", category="Boards & Co", limit=1)
    more = site.anyone.get("/v1/leaderboard", category="Boards & Co", limit=1, cursor=page.json()["next"]).json()
    assert [(one["rank"], one["tool"]["slug"]) for one in more["items"]] == [(2, second)]
    shown = site.anyone.get("/leaderboard", PAGE, category="Boards & Co").text
    assert shown.index("Board 0") < shown.index("Board 1") and unvoted not in shown
    assert "Nobody leads yet" in site.anyone.get("/leaderboard", PAGE, category="none").text


def test_the_first_page_shows_the_first_of_the_leaderboard(site: Site) -> None:
    """Its leaders are the leaderboard's, in their order; a tool that nobody voted on is none."""
    site.add_tool(name="Unvoted")
    position = site.visitor().vote(site.add_tool(name="Voted"), "ship")
    board = [one["tool"]["slug"] for one in site.anyone.get("/v1/leaderboard", after=position, limit=5).json()["items"]]
    shown = site.anyone.get("/", PAGE).text.partition('<h2 id="leaders">')[2].partition("</section>")[0]
    assert re.findall(r'href="/tools/([^"]+)"', shown) == board


def test_a_tool_and_a_comparison_lead_to_others(site: Site) -> None:
    """A comparison has other comparisons with its tools; a tool has those near it in its category, and a way to compare it."""
    one, two, three, elsewhere = (site.add_tool(name=f"Near {n}", category="Nearby" if n < 3 else "Far off") for n in range(4))
    site.import_catalog({"tools": [], "comparisons": [{"left": one, "right": two}, {"left": two, "right": three}]})
    page = site.anyone.get(f"/compare/{one}-vs-{two}", PAGE).text
    assert f'href="/compare/{two}-vs-{three}"' in page
    page = site.anyone.get(f"/tools/{one}", PAGE).text
    assert f'href="/compare?left={one}"' in page and f'href="/compare/{one}-vs-{three}"' in page
    assert f"/compare/{one}-vs-{elsewhere}" not in page


def test_a_former_slug_is_picked_as_the_tool_that_it_is_now(site: Site) -> None:
    """Who picks by an address of before is led to the comparison of now."""
    other = site.add_tool()
    site.add_tool(slug="of-now", former_slugs=["of-before"])
    answer = site.anyone.get("/compare", PAGE, left="of-before", right=other)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/compare/of-now-vs-{other}")


async def test_a_slug_is_picked_without_a_search(site: Site, postgres: servers.Postgres) -> None:
    """The empty picker, and one with tools by their slugs, cost no search: they are answered while nobody can search."""
    one, two = site.add_tool(), site.add_tool()
    async with servers.locked(postgres.dsn("site"), named("lock table {search}.words in access exclusive mode")):
        assert 'name="left"' in site.anyone.get("/compare", PAGE).text
        assert f'value="{one}"' in site.anyone.get("/compare", PAGE, left=one).text
        assert site.anyone.get("/compare", PAGE, left=one, right=two).status_code == 303


def test_a_long_text_names_a_category_as_a_short_one_does(site: Site) -> None:
    """Each word of a text begins a word of the name, whatever its case and accents; with another word it names none."""
    site.add_tool(category="Éclair Baking")
    for text, names in (("eclair", True), ("BAK ecl", True), ("éclair " * 60, True), ("eclair zzqx", False), ("air", False)):
        found = site.anyone.get("/v1/search", q=text).json()["categories"]
        assert ({"name": "Éclair Baking", "tools": 1} in found) is names, text
