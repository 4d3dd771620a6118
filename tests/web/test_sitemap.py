"""The sitemap and the feeds of verdicts: all that is public, with true times, whatever names say."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import asyncpg
import feedparser
import pytest
from lxml import etree

from projections import verdicts
from services.web.sitemap import NAMESPACE, PART
from tests.support import npm, servers
from tests.support.catalogs import opinion
from tests.support.feeds import every, read
from tests.support.http import Site, assert_problem

HOSTILE = "]]> <b>&amp; \u202e\"'"


def paths(site: Site, path: str) -> dict[str, datetime | None]:
    """Read a document of the sitemap: its addresses, each with the time of its last change."""
    answer = site.anyone.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/xml; charset=utf-8", answer.text
    root = ElementTree.fromstring(answer.content)
    found: dict[str, datetime | None] = {}
    for entry in root:
        assert [child.tag for child in entry][:1] == [f"{{{NAMESPACE}}}loc"] and len(entry) <= 2
        at = entry.findtext(f"{{{NAMESPACE}}}lastmod")
        found[re.sub("^https?://[^/]+", "", entry[0].text or "")] = at and datetime.fromisoformat(at)  # type: ignore[assignment]
    assert 0 < len(root) <= PART and len(found) == len(root)
    return found


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """The schema of sitemaps.org, as a library for sitemaps carries it."""
    binaries = npm.tools(Path(__file__).parent / "publishing", "no sitemap is held to its schema")
    return etree.XMLSchema(etree.parse(binaries.parent / "sitemap" / "schema" / "sitemap.xsd"))


def test_the_sitemap_is_valid(site: Site, schema: etree.XMLSchema) -> None:
    """Each part is, by the schema that the protocol publishes, with names and categories that attack."""
    one, other = (site.add_tool(name=HOSTILE, category=f"Valid {HOSTILE}", panel=[opinion("A&B <c>")]) for _ in range(2))
    site.import_catalog({"tools": [], "comparisons": [{"left": one, "right": other}]})
    for part in paths(site, "/sitemap.xml"):
        schema.assertValid(etree.fromstring(site.anyone.get(part).content))


def all_paths(site: Site) -> dict[str, datetime | None]:
    """Read all parts that the index names."""
    return {path: at for part in paths(site, "/sitemap.xml") for path, at in paths(site, part).items()}


def test_the_sitemap_names_what_is_public(site: Site) -> None:
    """Tools, announced pairs, personas and categories; no unlisted tool, and no pair that nobody put together."""
    one, other, gone = (site.add_tool(category=HOSTILE, panel=[opinion("Map & Maker")]) for _ in range(3))
    site.import_catalog({"tools": [], "comparisons": [{"left": one, "right": other}, {"left": one, "right": gone}]})
    site.add_tool(slug=gone, category=HOSTILE, listed=False)
    found = all_paths(site)
    assert {
        f"/tools/{one}",
        f"/tools/{other}",
        f"/compare/{one}-vs-{other}",
        "/",
        "/agents",
        "/reviewers/map%20%26%20maker",
    } <= found.keys()
    assert not {path for path in found if gone in path} and f"/compare/{other}-vs-{one}" not in found
    assert any(path.startswith("/categories/b-amp-") for path in found)


def test_the_time_of_the_last_change_is_true(site: Site) -> None:
    """It is that of the tool's last event, a vote as well, for the tool and for its pairs."""
    one, other = site.add_tool(), site.add_tool()
    site.import_catalog({"tools": [], "comparisons": [{"left": one, "right": other}]})
    before = all_paths(site)
    position = site.visitor().vote(one, "ship")
    at = datetime.fromisoformat(site.anyone.get(f"/v1/tools/{one}", position=position, after=position).json()["as_of"])
    after = all_paths(site)
    whole = at.replace(microsecond=0)
    assert after[f"/tools/{one}"] == after[f"/compare/{one}-vs-{other}"] == whole
    assert after[f"/tools/{other}"] == before[f"/tools/{other}"]
    assert datetime.now(UTC) - timedelta(minutes=5) < whole <= datetime.now(UTC)


def test_pairs_that_readers_put_together_are_named(site: Site, postgres: servers.Postgres) -> None:
    """Two tools on which five voted, or which five keep; four are too few, so nothing tells what one reader did."""
    voted, kept, few = ((site.add_tool(), site.add_tool()) for _ in range(3))
    for n in range(5):
        voter, keeper = site.visitor(), site.visitor()
        for slug in voted if n == 4 else (*voted, *few):
            position = voter.vote(slug, "ship")
        for slug in kept:
            assert keeper.put(f"/v1/bookmarks/{slug}").status_code == 200
    assert site.anyone.get(f"/v1/tools/{voted[0]}", after=position).status_code == 200
    named = asyncio.run(together(postgres.dsn("site")))  # pages show it after some minutes
    assert ["-vs-".join(sorted(pair)) in named for pair in (voted, kept, few)] == [True, True, False]


async def together(dsn: str) -> list[str]:
    """Read the pairs that readers put together."""
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch(verdicts.TOGETHER, 20_000, 20, 5, 5_000)
    await connection.close()
    return [row["name"] for row in rows]


@pytest.mark.parametrize("part", ["tools-{amid}.xml", "pairs-999999.xml", "tools-0.xml", "none.xml", "tools-1", "pages.xml.gz"])
def test_a_part_that_the_index_does_not_name_is_not_there(site: Site, tool: str, part: str) -> None:
    """It is 404, so nobody can make the site write parts without end."""
    named = re.findall(r"/sitemap/tools-(\d+)\.xml", site.anyone.get("/sitemap.xml").text)
    assert_problem(site.anyone.get(f"/sitemap/{part.format(amid=int(named[-1]) + 1)}"), 404)


def test_verdicts_have_feeds(site: Site) -> None:
    """An entry each time a panel or settled verdict came or changed: valid, with ids that stay, of all or of one category."""
    category = f"Fed {HOSTILE}"
    tool = site.add_tool(name=f"Fed {HOSTILE}", category=category, panel=[opinion()])
    for _ in range(8):
        position = site.visitor().vote(tool, "ship")
    first = site.anyone.get("/tools.xml", category=category, after=position)
    assert first.headers["content-type"] == "application/atom+xml; charset=utf-8"
    titles = [every(entry, "title")[0].text for entry in every(read(first.content), "entry")]
    assert titles == [f"Fed {HOSTILE}: ship is settled", f"Fed {HOSTILE}: the panel says ship"]
    site.add_tool(slug=tool, name="Renamed", category=category, panel=[opinion(verdict="skip")])
    again = read(site.anyone.get("/tools.xml", category=category).content)
    ids = [every(entry, "id")[0].text for entry in every(again, "entry")]
    assert ids[1:] == [every(entry, "id")[0].text for entry in every(read(first.content), "entry")]
    assert every(every(again, "entry")[0], "title")[0].text == "Renamed: the panel says skip, it was ship"
    assert every(again, "updated")[0].text == every(every(again, "entry")[0], "updated")[0].text
    link = every(every(again, "entry")[1], "link")[0].get("href") or ""
    assert link.endswith(f"/tools/{tool}?position={position}")
    everything = read(site.anyone.get("/tools.xml").content)
    assert ids[0] in [every(entry, "id")[0].text for entry in every(everything, "entry")]
    assert all(id_ and id_.startswith("tag:127.0.0.1,20") for id_ in ids)


def test_feed_readers_take_the_feeds(site: Site, tool: str) -> None:
    """A widespread parser finds nothing to mend, and every entry has what it shows; unchanged, it is 304."""
    answer = site.anyone.get("/tools.xml")
    parsed = feedparser.parse(answer.content)
    assert not parsed.bozo and parsed.version == "atom10"
    assert all(entry.title and entry.link and entry.id and entry.updated_parsed for entry in parsed.entries)
    known = {"If-None-Match": answer.headers["etag"]}
    assert site.anyone.get("/tools.xml", known).status_code == 304
    assert every(read(site.anyone.get("/tools.xml", category="none").content), "entry") == []


def test_pages_lead_to_their_feeds(site: Site) -> None:
    """Feed readers find those of all verdicts and of the category from a tool's page and from a list."""
    tool = site.add_tool(category="Led & on")
    for path in (f"/tools/{tool}", "/tools?category=Led+%26+on"):
        page = site.anyone.get(path).text
        assert 'href="/tools.xml"' in page and 'href="/tools.xml?category=Led%20%26%20on"' in page
