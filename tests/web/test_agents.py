"""What crawlers and agents are told: robots.txt, llms.txt, the agents' page, and the facts of every tool."""

import re
from pathlib import Path

from markdown_it import MarkdownIt

from tests.support import servers
from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem, serving
from tests.support.routes import all_routes


def test_the_facts_are_every_tools_with_an_address_that_stays_true(site: Site) -> None:
    """A tool's facts are its card's; the address gives the same numbers after more votes."""
    tool = site.add_tool(name="Aardvark Facts", panel=[opinion()])
    position = site.visitor().vote(tool, "ship")
    answer = site.anyone.get("/tools/facts", after=position)
    facts = next(item for item in answer.json()["items"] if item["slug"] == tool)
    card = site.anyone.get(f"/v1/tools/{tool}").json()
    assert facts["community"] == card["community"] and facts["position"] == card["position"] == position
    assert facts["panel"] == {name: card["panel"][name] for name in ("verdict", "ship", "skip", "ship_percent")}
    site.visitor().vote(tool, "skip")
    path = re.sub("https?://[^/]+", "", facts["as_of"])
    assert site.anyone.get(path).json()["community"] == facts["community"]


def test_the_facts_are_paged_and_conditional(site: Site) -> None:
    """Pages lead on by a link until every tool was named once; a page that is known is 304."""
    wanted = {site.add_tool() for _ in range(3)}
    answer, seen = site.anyone.get("/tools/facts", limit=2), list[str]()
    known = {"If-None-Match": answer.headers["etag"]}
    assert site.anyone.get("/tools/facts", known, limit=2).status_code == 304
    while True:
        seen += [item["slug"] for item in answer.json()["items"]]
        if answer.json()["next"] is None:
            break
        answer = site.anyone.get(answer.links["next"]["url"])
    assert wanted <= set(seen) and len(seen) == len(set(seen))
    assert_problem(site.anyone.get("/tools/facts", limit=101), 400)


def blocked(robots: str, path: str) -> bool:
    """Tell by the longest rule that fits, as RFC 9309 (2.2.2) says, whether everybody is kept out of a path."""
    fits = [("", True)]
    for allow, rule in re.findall(r"^(Allow|Disallow): (\S+)$", robots, re.MULTILINE):
        pattern = re.escape(rule).replace(r"\*", ".*").replace(r"\$", "$")
        if re.match(pattern, path):
            fits.append((rule, allow == "Allow"))
    return not max(fits, key=lambda fit: (len(fit[0]), fit[1]))[1]


def test_crawlers_are_led_to_what_is_public_alone(site: Site) -> None:
    """What is public may be read; operators' and readers' own pages, and the same again, may not."""
    answer = site.anyone.get("/robots.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.search(r"^Sitemap: https?://\S+/sitemap\.xml$", answer.text, re.MULTILINE)
    public = ["/", "/tools", "/tools/a", "/tools/a?position=3", "/compare/a-vs-b", "/reviewers/b", "/llms.txt", "/tools.xml",
              "/tools/facts", "/tools/facts?limit=5&cursor=x", "/v1/tools/a", "/issues/1", "/proof", "/log/1/checkpoint",
              "/static/site.css"]  # fmt: skip
    private = ["/ops", "/ops/reviews", "/preferences", "/tools/a/mine", "/bookmarks", "/tools?cursor=x", "/v1/ops/events",
               "/tools/a?said=voted", "/search?q=x", "/tools/a/reviews/b/report", "/?after=7", "/outbox",
               "/v1/visitors/me", "/v1/tallies/live?tool=a"]  # fmt: skip
    assert [path for path in public if blocked(answer.text, path)] == []
    assert [path for path in private if not blocked(answer.text, path)] == []
    assert all(blocked(answer.text, route.address()) for route in all_routes() if route.path.startswith(("/ops", "/v1/ops")))


def test_a_staging_site_keeps_everybody_out(postgres: servers.Postgres, valkey_url: str, site: Site, tmp_path: Path) -> None:
    """Where the setting says so, nothing may be crawled, and every answer says that it is not to be listed."""
    with serving(postgres.dsn("site"), valkey_url, tmp_path / "output", BALLOTPRESS_CRAWLERS="none") as staging:
        assert staging.anyone.get("/robots.txt").text == "User-agent: *\nDisallow: /\n"
        assert staging.anyone.get("/").headers["x-robots-tag"] == "noindex, nofollow"
    assert "x-robots-tag" not in site.anyone.get("/").headers


def test_llms_text_has_its_form(site: Site) -> None:
    """One title, a summary, notes, then sections of lists of links (llmstxt.org), whatever is called what."""
    site.add_tool(category="]( # <b>x", panel=[opinion("Evil](x) #")])
    answer = site.anyone.get("/llms.txt")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    blocks = [token for token in MarkdownIt("commonmark").parse(answer.text) if token.level == 0 and token.nesting >= 0]
    kinds = [f"{token.type} {token.tag}" for token in blocks]
    assert kinds[:3] == ["heading_open h1", "blockquote_open blockquote", "bullet_list_open ul"]
    assert kinds[3:] == ["heading_open h2", "bullet_list_open ul"] * (len(kinds[3:]) // 2)
    lines = [line for line in answer.text.partition("\n## ")[2].splitlines() if line.startswith("- ")]
    assert len(lines) > 10 and all(re.match(r"- \[(?:[^\[\]\\]|\\.)+\]\(https?://[^\s()]+\): ", line) for line in lines)
    for line in lines:
        path = re.search(r"\]\(https?://[^/]+(/[^)]*)\)", line)
        assert path and site.anyone.get(path[1]).status_code == 200, line


def test_the_agents_page_says_how_to_quote(site: Site) -> None:
    """It leads to facts, feeds, document and log, and shows an address that stays true."""
    page = site.anyone.get("/agents").text
    for path in ("/tools/facts", "/llms.txt", "/tools.xml", "/feed.xml", "/schema/openapi.json", "/sitemap.xml", "/proof"):
        assert f'href="{path}"' in page
    assert "?position=" in page and "text/markdown" in page
