"""What pages tell of tools and personas: each fact of the catalog, and the code that other sites paste."""

from html import unescape

from tests.support.catalogs import opinion, tool
from tests.support.http import Site
from tests.support.processes import wait_for

PERSONA = {
    "persona": "Tester",
    "role": "Second Look",
    "phrase": "Show me the log.",
    "profile": "Reads a tool from its failures.",
    "excited_by": ["An error that says what to do"],
    "tired_of": ["A demo that can't fail"],
}


def shown(site: Site, path: str, **query: str) -> str:
    """Read a page as a browser shows it, with its markup."""
    return unescape(site.anyone.get(path, {"Accept": "text/html"}, after=site.head(), **query).text)


def test_a_tool_tells_when_it_was_reviewed_and_what_came_after_it(site: Site) -> None:
    """Review date, disclosure, successor, the panel in numbers, roles, and a way out that names its host."""
    panel = [opinion("Tester"), opinion("Doubter", verdict="skip", score=None)]
    newer = site.add_tool(name="Newer One")
    slug = site.add_tool(
        reviewed="2026-04-21",
        disclosure="We got a licence for free.",
        successor=newer,
        url="https://www.tools.example/start?x=1",
        panel=panel,
    )
    site.import_catalog({"tools": [], "personas": [PERSONA]})
    role = "The Tester – Second Look"
    wait_for(lambda: role in shown(site, f"/tools/{slug}"))  # a process keeps roles for a moment
    page = shown(site, f"/tools/{slug}")
    for fact in (
        'Reviewed <time datetime="2026-04-21">21 April 2026</time>',
        "</strong> <bdi>We got a licence for free.</bdi>",
        f'There is a newer one: <a href="/tools/{newer}"><bdi>Newer One</bdi></a>',
        "Verdict: Mixed · 1 Ship 1 Skip",
        'rel="nofollow noopener external">Visit tools.example</a>',
        "The Panel's Take",
        role,
        '<a href="/reviewers/doubter">Doubter</a>',
        "Share this verdict",
        "Embed this verdict",
        "Get the next verdict in your inbox",
    ):
        assert fact in page, fact
    bare = shown(site, f"/tools/{newer}")
    assert not any(word in bare for word in ("Disclosure", "Reviewed <time", "There is a newer one", "Visit "))
    assert "The Tester – Second Look" in shown(site, f"/compare/{slug}-vs-{newer}")


def test_a_persona_says_who_it_is_and_quotes_itself(site: Site) -> None:
    """Role, phrase, profile, both lists, verdicts by category with their count, each tool's tagline and the quote."""
    site.add_tool(name="Pulse", category="Health", tagline="Counts beats", panel=[opinion("Tester", take="It counts.")])
    site.import_catalog({"tools": [], "personas": [PERSONA]})
    page = shown(site, "/reviewers/tester", category="Health")
    for fact in (
        "The <bdi>Tester</bdi>", "Second Look", "Show me the log.", "Reads a tool from its failures.", "Gets excited about",
        "An error that says what to do", "Tired of", "A demo that can't fail", "verdicts <span", "(1 tool, 1 shipped)",
        "Counts beats", "It counts.", "Browse the full panel",
    ):  # fmt: skip
        assert fact in page, fact


def test_what_others_paste_holds_no_markup_of_a_name(site: Site) -> None:
    """A name with markup stays one attribute's text in the badge's code; an address that names no host is no way out."""
    name = "\"><script>alert(1)</script> & 'co'"
    slug = site.add_tool(name=name)
    page = shown(site, f"/tools/{slug}")
    assert 'alt="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x27;co&#x27;: ship or skip?"' in page
    assert f'<div data-ballotpress="{slug}"></div>' in page
    strange = tool("strange-address", url="http://[x")
    site.import_catalog({"tools": [strange]})
    assert "Visit" not in shown(site, "/tools/strange-address")
