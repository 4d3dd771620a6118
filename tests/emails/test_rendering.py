"""Rendered mails: complete, escaped, styled inline, small enough."""

import re
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from jinja2 import UndefinedError

from emails.message import prepare
from emails.rendering import HTML_BUDGET, TEMPLATES, Mail, MailTooLarge, render_own, render_shared
from services.newsletter.digest import SECTIONS
from tests.support.mails import (
    BOOKMARKED,
    BOOKMARKS,
    CONTENT,
    LIST_ID,
    MANAGE,
    PERSONAL,
    QUIET,
    READER,
    SENDER,
    SINGLE_MAILS,
    SITE,
    UNSUBSCRIBE,
    rendered,
    tool,
)

DIGEST = {**CONTENT, **PERSONAL}
LITTLE = {"newly_settled": [], "movers": CONTENT["movers"][:1]}  # no settled verdict, and one mover of a single vote
EVERY_MAIL: list[tuple[Any, dict[str, Any]]] = [*SINGLE_MAILS.items(), ("digest", DIGEST), ("digest", {**QUIET, **PERSONAL})]


class Outline(HTMLParser):
    """The tags of a document, its links, and whether each tag is closed where it should be."""

    VOID = frozenset({"meta", "br", "img", "link", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]


@pytest.mark.parametrize("mail, values", EVERY_MAIL)
def test_a_mail_is_whole(mail: str, values: dict[str, Any]) -> None:
    """Each mail has a one-line subject, a text and a well-formed HTML page with inline styles, and nothing left unrendered."""
    subject, text, html = rendered(mail, values)
    assert subject and "\n" not in subject and text.strip()
    outline = Outline(html)
    assert outline.open == [] and html.startswith("<!DOCTYPE html>")
    assert not re.search(r"\{[{%#]|[%#}]\}", subject + text + re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    assert all("style" in attributes for tag, attributes in outline.tags if tag in {"p", "h1", "h2", "a"})
    assert "@media (prefers-color-scheme: dark)" in html.partition("</head>")[0]


@pytest.mark.parametrize("mail, values", EVERY_MAIL)
def test_every_link_of_the_html_is_in_the_text(mail: str, values: dict[str, Any]) -> None:
    """A reader of the text alone can follow every link."""
    _, text, html = rendered(mail, values)
    links = Outline(html).links
    assert links, "a mail links to what its reader can do about it"
    assert [link for link in links if not link or link not in text] == []
    assert not re.search(r"\S(?<!<)https?://", text), "an address that sticks to a word can't be followed"


@pytest.mark.parametrize("mail, values", EVERY_MAIL)
def test_no_picture_goes_unnamed_and_none_is_fetched(mail: str, values: dict[str, Any]) -> None:
    """Drawings say in words what they show, and opening a mail asks no server for anything."""
    outline = Outline(rendered(mail, values).html)
    assert all(attributes.get("aria-label") for _, attributes in outline.tags if attributes.get("role") == "img")
    assert all(attributes.get("alt") for tag, attributes in outline.tags if tag == "img")
    assert not [attributes for _, attributes in outline.tags if "src" in attributes or "background" in attributes]


def test_every_mail_is_tried_here() -> None:
    """No mail is left out of these tests."""
    folders = {folder.name for folder in TEMPLATES.iterdir() if folder.is_dir()}
    assert folders == {*get_args(Mail), "digest"}, "name each folder of emails/templates in `Mail` of emails/rendering.py"
    assert {mail for mail, _ in EVERY_MAIL} == folders, "give each mail's values in SINGLE_MAILS of tests/support/mails.py"


@pytest.mark.parametrize("mail, values", EVERY_MAIL)
def test_a_missing_value_is_an_error(mail: str, values: dict[str, Any]) -> None:
    """A mail with a hole in it is never rendered."""
    for name in values:
        with pytest.raises((UndefinedError, KeyError)):
            rendered(mail, {key: value for key, value in values.items() if key != name})


def test_values_are_escaped_in_html_alone() -> None:
    """Markup in a name or a review is shown, not followed; the text part shows it as it was written."""
    evil = '<script>alert("1")</script>'
    movers = [{**CONTENT["movers"][1], "name": evil}]
    values = {**DIGEST, "newly_settled": [], "movers": movers, "bookmarked": [{**BOOKMARKED[0], "line": evil}]}
    subject, text, html = rendered("digest", values)
    assert "<script" not in html and html.count("&lt;script&gt;") == 3  # headline, row, bookmark
    assert text.count(evil) == 2 and subject.startswith("<script>")


def test_a_digest_shows_what_it_was_given() -> None:
    """Each section appears with its numbers, and none appears that has nothing to say."""
    _, text, html = rendered("digest", DIGEST)
    for said in ("48%", "63%", "+15", "−13", "1,320 votes", "1 vote", "43.9", "Panel: Skip", "Ana M.", "84 of 100"):
        assert said in html
    for said in ("Windsurf", "71% of 212 votes", "Ship, settled", "Too early to call"):
        assert said in html
    for said in ("16 to 22 November 2026", "Très Tool", "On tools you bookmarked".upper(), "1,320 votes", UNSUBSCRIBE, MANAGE):
        assert said in text
    _, text, html = rendered("digest", {**QUIET, **PERSONAL, "bookmarked": []})
    assert "quiet week" in text and html.count("<h2") == 0 and html.count("<h1") == 1


def test_the_footer_says_from_where_it_comes() -> None:
    """The postal address is in both bodies where the site has one, and nothing is in its place where it has none."""
    _, text, html = rendered("digest", DIGEST)
    assert text.endswith(f"{UNSUBSCRIBE}\n\nVerdicts & Sons, 1 Main Street, Springfield\n")
    assert "<br>Verdicts &amp; Sons, 1 Main Street, Springfield</td>" in html
    _, text, html = rendered("digest", {**DIGEST, "postal_address": None})
    assert text.endswith(f"{UNSUBSCRIBE}\n") and "Unsubscribe</a></td>" in html


@pytest.mark.parametrize(
    "values, subject",
    [
        ({}, "Windsurf is settled: ship (71% say ship)"),
        ({"newly_settled": []}, "Mistral 3 Small (24B) went from 48% to 63% ship"),
        (LITTLE, "Readers and the panel disagree on Devin"),
        ({**LITTLE, "disagreements": []}, "Too close to call: Codex CLI"),
        ({**LITTLE, "disagreements": [], "closest": []}, "New: Mistral 3 Small (24B) vs OpenRouter Model Fusion"),
        ({"quiet": True, "edition": "monthly"}, "A quiet month for AI tools"),
    ],
)
def test_the_subject_says_the_most_telling_thing(values: dict[str, Any], subject: str) -> None:
    """The subject names this issue's news, not the newsletter."""
    assert rendered("digest", {**DIGEST, **values}).subject == subject


def test_filling_a_shared_digest_gives_the_rendered_one() -> None:
    """A preview and a sent mail are the same."""
    prepared = prepare(render_shared(CONTENT), SENDER, LIST_ID)
    assert prepared.rendered(READER._replace(own=render_own(BOOKMARKED, BOOKMARKS))) == rendered("digest", DIGEST)
    assert prepared.rendered(READER) == rendered("digest", {**DIGEST, "bookmarked": []})


def test_many_bookmarks_stay_short() -> None:
    """A reader of a hundred bookmarks sees twelve of them and how many more there are."""
    own = render_own([{**tool(f"Tool {n}"), "line": "changed"} for n in range(100)], BOOKMARKS)
    assert own.html.count('class="name"') == 12 and re.search(f'<a [^>]*href="{BOOKMARKS}"[^>]*>And 88 more</a>', own.html)
    assert f"And 88 more:\n{BOOKMARKS}\n" in own.text


def test_a_mail_over_its_budget_is_refused() -> None:
    """Nothing is rendered that a mail client would cut off."""
    rows = [{"title": "x" * 600, "url": "https://example.com", "line": ""}] * 200
    with pytest.raises(MailTooLarge):
        render_shared({**CONTENT, "new_comparisons": rows})
    own = render_own([{**BOOKMARKED[0], "line": "é" * (HTML_BUDGET // 2)}], BOOKMARKS)
    with pytest.raises(MailTooLarge):
        prepare(render_shared(CONTENT), SENDER, LIST_ID).rendered(READER._replace(own=own))


def test_a_full_digest_is_well_under_its_budget() -> None:
    """As many rows as any section shows, of tools with long names and addresses, leave room to spare."""
    most = {name: shown for name, (shown, _) in SECTIONS.items()} | {"bookmarked": 12}
    long = {"name": "A Tool Whose Makers Are Proud of Its Very Long Name", "url": f"{SITE}/tools/{'slug-' * 16}x"}
    rows = {
        name: [{**DIGEST[name][0], **long} if "name" in DIGEST[name][0] else DIGEST[name][0]] * n for name, n in most.items()
    }
    assert len(rendered("digest", {**DIGEST, **rows}).html.encode()) < HTML_BUDGET * 0.7


def test_each_tool_has_links_that_vote_on_it_and_name_no_reader() -> None:
    """Beside every tool of every section, in both parts, are its two choices; all readers' links are the same."""
    _, text, html = rendered("digest", DIGEST)
    sections = ("newly_settled", "movers", "closest", "disagreements", "new_tools", "bookmarked")
    tools = [one["url"] for name in sections for one in DIGEST[name]]
    for choice in ("ship", "skip"):
        for url in tools:
            assert html.count(f'href="{url}/vote?choice={choice}"') == tools.count(url)
            assert text.count(f"{url}/vote?choice={choice}\n") == tools.count(url)
    assert html.count("/vote?choice=") == 2 * len(tools)


@pytest.mark.parametrize(
    "period, words",
    [
        ({"from": "2026-11-16", "to": "2026-11-22"}, "16 to 22 November 2026"),
        ({"from": "2026-11-30", "to": "2026-12-06"}, "30 November to 6 December 2026"),
        ({"from": "2026-12-28", "to": "2027-01-03"}, "28 December 2026 to 3 January 2027"),
        ({"from": "2026-11-25", "to": "2026-11-25"}, "25 November 2026"),
    ],
)
def test_a_period_says_nothing_twice(period: dict[str, str], words: str) -> None:
    """The head of a digest names the first and the last day, or the only one, and a month or year that they share once."""
    _, text, html = rendered("digest", {**DIGEST, "period": period})
    assert f"Issue 12, {words}\n" in text and f"Issue 12 · {words}</p>" in html


def test_a_list_that_was_cut_says_so() -> None:
    """A reader learns how many entries are not in the mail, and comes to where they are."""
    _, text, html = rendered("digest", {**DIGEST, "more": {**CONTENT["more"], "new_comparisons": "3 more"}})
    for more, list_ in (("3 more", "comparisons"), ("at least 42 more", "tools")):
        assert f"And {more}:\n{SITE}/{list_}\n" in text
        assert re.search(rf'<a [^>]*href="{SITE}/{list_}"[^>]*>And {more}</a>', html)
