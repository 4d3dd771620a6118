"""Badges: what they show, that they are plain pictures whatever a tool is called, and what is counted of them."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from services.web.badge_hosts import MOST_HOSTS, host_of
from services.web.badges import Badge, svg
from services.web.faces import Stand
from tests.support import npm
from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem
from tests.support.processes import wait_for

SVG = "{http://www.w3.org/2000/svg}"
PLAIN = {f"{SVG}{name}" for name in ("svg", "title", "clipPath", "g", "rect", "text")}
HOSTILE = ["</title><script>alert(1)</script>", "]]><!-- &amp; &#0;", "\x00\x1b\ud800\ufffe\u202e", "<![CDATA[x", "a\nb", ""]
PUBLISHING = Path(__file__).parent / "publishing"


def badge(name: str) -> Badge:
    """Return a badge of a tool with this name."""
    stands = (
        Stand("Panel", "ship", "Ship", "3 ship / 1 skip"),
        Stand("Community, settled", "skip", "Skip", "9% ship of 30+ votes"),
    )
    return Badge("some-tool", name, name, stands)


def test_a_badge_says_both_verdicts(site: Site) -> None:
    """A badge is an SVG with the panel's verdict and the community's, for a few minutes, and 304 for who has it already."""
    tool = site.add_tool(name="Badged", panel=[opinion(), opinion("Founder", verdict="skip")])
    for _ in range(8):
        position = site.visitor().vote(tool, "ship")
    site.anyone.get("/v1/tools", after=position)
    answer = site.anyone.get(f"/badge/{tool}.svg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["cache-control"].startswith("public, max-age=300")
    assert f"tool-{tool}" in answer.headers["cache-tag"]
    texts = [text.text for text in ElementTree.fromstring(answer.text).iter(f"{SVG}text")]
    assert texts == ["Panel", "Mixed · 1 ship / 1 skip", "Community", "Ship, settled · 8 of 8 ship"]
    again = site.anyone.get(f"/badge/{tool}.svg", {"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_other_sites_may_show_a_badge(site: Site, tool: str) -> None:
    """A page of any other site may show it: nothing keeps it to ours."""
    assert "cross-origin-resource-policy" not in site.anyone.get(f"/badge/{tool}.svg").headers
    assert "cross-origin-resource-policy" not in site.anyone.get(f"/card/{tool}.png").headers


@pytest.mark.parametrize("name", HOSTILE)
def test_a_badge_is_plain_whatever_a_tool_is_called(name: str) -> None:
    """It is well-formed, of shapes and words alone: no script, no style, no link, no handler."""
    tree = ElementTree.fromstring(svg(badge(name)))
    assert {element.tag for element in tree.iter()} == PLAIN
    names = {attribute for element in tree.iter() for attribute in element.attrib}
    assert not [one for one in names if one.startswith("on") or one in ("style", "href", "class")]
    title = tree.find(f"{SVG}title")
    assert title is not None and title.text is not None and title.text.startswith(name[:1] if name.isprintable() else "")


@pytest.mark.server
def test_a_public_linter_finds_nothing(tmp_path: Path) -> None:
    """SVGLint takes badges for valid: of a plain name and of hostile ones."""
    binaries = npm.tools(PUBLISHING, "badges aren't shown to SVGLint")
    for number, name in enumerate(["Cursor", *HOSTILE]):
        (tmp_path / f"{number}.svg").write_bytes(svg(badge(name)))
    (tmp_path / ".svglintrc.js").write_text("export default { rules: { valid: true, elm: { script: false, style: false } } };")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    npm.run(binaries / "svglint", "--ci", *(f"{number}.svg" for number in range(len(HOSTILE) + 1)), folder=tmp_path)


def test_what_is_no_tool_has_no_badge(site: Site, tool: str) -> None:
    """A slug that no listed tool has, and another ending, are not found."""
    for name in ("no-such-tool.svg", f"{tool}.png", tool, f"{tool}.SVG", "%2e%2e.svg"):
        assert_problem(site.anyone.get(f"/badge/{name}"), 404)


@pytest.mark.parametrize(
    ("referrer", "host"),
    [
        (None, "unknown"),
        (b"https://blog.example/a/secret?token=1", "blog.example"),
        (b"https://user:pass@Blog.Example:8443/", "blog.example"),
        (b"https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"https://192.0.2.7/", "other"),
        (b"https://[2001:db8::1]/", "other"),
        (b"https://[", "other"),
        (b"http://localhost/", "other"),
        (b"https://a_b.example/", "other"),
        (b"https://" + b"a." * 60 + b"example", "other"),
        (b"\xff\xfe", "other"),
        (b"", "other"),
        (b"javascript:alert(1)", "other"),
        (b"https://<script>.example/", "other"),
    ],
)
def test_only_a_public_name_is_counted(referrer: bytes | None, host: str) -> None:
    """Of a Referer the host alone is taken, and only a public name: no path, no query, no user, no address."""
    assert host_of(referrer) == host


def shown(site: Site) -> dict[str, int]:
    """Return what was counted."""
    return {one["host"]: one["shown"] for one in site.operator.get("/v1/ops/badges").json()["items"]}


def test_hosts_are_counted_by_day(site: Site, tool: str) -> None:
    """Each badge that a page shows counts for its host, on the operators' overview too; the page itself is kept nowhere."""
    for _ in range(3):
        site.anyone.get(f"/badge/{tool}.svg", {"Referer": "https://counted.example/private/path?q=1"})
    assert wait_for(lambda: shown(site).get("counted.example") == 3)


def test_a_flood_of_hosts_is_folded(site: Site, tool: str) -> None:
    """However many hosts somebody makes up, a day has a limited number; the rest are counted as others."""
    for number in range(MOST_HOSTS + 30):
        site.anyone.get(f"/badge/{tool}.svg", {"Referer": f"https://junk-{number}.example/"})
    assert wait_for(lambda: shown(site).get("other", 0) >= 30)
    assert len(shown(site)) <= MOST_HOSTS + 2
