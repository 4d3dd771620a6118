"""Markdown: what names and texts say stays text, whatever they say."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.web.markdown import plain
from tests.support.catalogs import opinion
from tests.support.http import Site

HOSTILE = "# [x](javascript:a) <img src=x onerror=y> ![i](http://e) | `c` *e* www.evil.example @"
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
MARKUP = {
    "html_block", "html_inline", "image", "code_inline", "code_block", "fence", "em_open", "strong_open", "hr", "s_open"
}  # fmt: skip
OWN = re.compile(r"http://127\.0\.0\.1:|http://site\.test|https://a\.example/\(x\)$")
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def tokens(text: str) -> list[Token]:
    """Parse a text; give all tokens, those within lines too."""
    return [token for block in PARSER.parse(text) for token in (block, *(block.children or ()))]


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.text("#*_`[]()<>!~|\\&;:/@.-+=1 \n\twx", max_size=40))
@example(HOSTILE)
@example("a\n# b")
@example("1. a")
@example("&lt;b&gt;")
@example("\u200b \u200b \u200b \u200b code")
@example("\u200b ---")
@example("\u202e 1. x")
def test_any_text_stays_text(text: str) -> None:
    """In a heading, a paragraph, a list, a quotation and a link it shows the same words and is nothing but text."""
    for before, after, block in (
        ("# ", "", ("heading",)),
        ("", " end", ("paragraph",)),
        ("- word ", "", ("bullet_list", "list_item", "paragraph")),
        ("> word ", "", ("blockquote", "paragraph")),
        ("- [", "](https://ours.example/x)", ("bullet_list", "list_item", "paragraph", "link")),
    ):
        kinds = {f"{name}_{end}" for name in block for end in ("open", "close")}
        found = tokens(f"{before}{plain(text)}{after}")
        assert {token.type for token in found} <= kinds | {"inline", "text", "text_special"}, text
        assert len({token.attrGet("href") for token in found if token.type == "link_open"}) <= 1
    shown = "".join(token.content for token in tokens(f"x{plain(text)}x") if token.type in ("text", "text_special"))
    words = " ".join(UNSEEN.sub("", " ".join(text.split())).split())
    assert shown == f"x{words}x"


def test_nothing_that_programs_link_by_themselves_is_left() -> None:
    """Beyond CommonMark, bare addresses become links: of sites with a scheme or www, and of mailboxes."""
    assert not re.search(r"https?://|www\.|[^\\]@", plain("see http://a.example www.b.example WWW.c.example d@e.example"))


@pytest.fixture(scope="module")
def hostile(site: Site) -> tuple[str, str]:
    """Two tools whose every text attacks."""
    review = opinion("Bui<b>lder", take=f"{HOSTILE}\n\n## Take\n- x")
    texts = {
        "tagline": HOSTILE, "description": f"{HOSTILE}\n\n# More\n<script>x</script>", "best_for": HOSTILE,
        "category": "Ca|te](g)ory", "url": "https://a.example/(x)", "panel": [review],
    }  # fmt: skip
    made = [site.add_tool(name=f"{HOSTILE[:90]} {n}", disclosure=HOSTILE, **texts) for n in range(2)]
    persona = {"role": HOSTILE, "phrase": HOSTILE, "profile": HOSTILE, "excited_by": [HOSTILE], "tired_of": [HOSTILE]}
    site.import_catalog({"tools": [], "personas": [{"persona": "Bui<b>lder", **persona}]})
    return made[0], made[1]


def read(site: Site, path: str) -> list[Token]:
    """Read a page as markdown; give its tokens, once it is sound."""
    answer = site.anyone.get(path, {"Accept": "text/markdown"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/markdown; charset=utf-8")
    assert "Accept" in answer.headers["vary"]
    found = tokens(answer.text)
    assert not {token.type for token in found} & MARKUP
    assert all(OWN.match(str(token.attrGet("href"))) for token in found if token.type == "link_open")
    return found


def headings(found: list[Token]) -> list[str]:
    """Give the texts of all headings."""
    return [after.content for token, after in pairwise(found) if token.type == "heading_open"]


def test_hostile_pages_have_our_headings_and_links_alone(site: Site, hostile: tuple[str, str]) -> None:
    """A tool, a comparison and a persona: one title, our sections, links to this site and to the tool's own."""
    one, other = hostile
    tool = headings(read(site, f"/tools/{one}"))
    assert len(tool) == 5 and tool[1].startswith("Panel:") and tool[3].startswith("Community:") and tool[4] == "Addresses"
    compared = headings(read(site, f"/compare/{one}-vs-{other}"))
    assert len(compared) == 6 and compared[-1] == "Addresses"
    assert len(headings(read(site, "/reviewers/bui%3Cb%3Elder"))) == 4


def test_the_page_stays_the_default(site: Site, tool: str) -> None:
    """Browsers, and who takes anything, get the page."""
    for accept in ("*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"):
        answer = site.anyone.get(f"/tools/{tool}", {"Accept": accept})
        assert answer.headers["content-type"].startswith("text/html")


def test_markdown_is_conditional(site: Site, tool: str) -> None:
    """Known, it is 304; the page has another ETag; a vote makes a new one."""
    asked = {"Accept": "text/markdown"}
    first = site.anyone.get(f"/tools/{tool}", asked)
    known = {**asked, "If-None-Match": first.headers["etag"]}
    assert site.anyone.get(f"/tools/{tool}", known).status_code == 304
    assert site.anyone.get(f"/tools/{tool}").headers["etag"] != first.headers["etag"]
    position = site.visitor().vote(tool, "ship")
    assert site.anyone.get(f"/tools/{tool}", known, after=position).status_code == 200
