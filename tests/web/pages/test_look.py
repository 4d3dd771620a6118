"""How pages look and behave where a picture would tell: sizes of words, places of cards, and what keys lead to."""

from collections.abc import Callable
from functools import partial

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support import calling
from tests.support.browser import Other, Windows, sign_in
from tests.support.catalogs import opinion, tool
from tests.support.processes import PATIENCE, Instance, wait_for

FRESH = "dovecrate"
HEIGHT = "path => path.getBBox().height"
DASHES = "path => getComputedStyle(path).strokeDasharray"


def test_charts_are_legible_on_a_phone(window: Windows, base: str, votes: Callable[..., None]) -> None:
    """At 360 pixels every word of a chart is drawn at 11 pixels or more, inside the window."""
    votes("errandloom", "ship", 2)
    wait_for(lambda: "<figure" in calling.get(f"{base}/tools/errandloom").text)
    page = window(viewport={"width": 360, "height": 800})
    page.goto(f"{base}/tools/errandloom")
    words = page.locator("svg.chart text").evaluate_all(
        """texts => texts.map(text => { const box = text.getBoundingClientRect(); const scale = text.getScreenCTM().a;
        return [text.textContent, parseFloat(getComputedStyle(text).fontSize) * scale, box.left, box.right]; })"""
    )
    assert len(words) >= 9
    assert [word for word in words if word[1] < 11 or word[2] < 0 or word[3] > 360] == []


def test_a_first_vote_is_refused_nowhere(window: Windows, base: str) -> None:
    """A new reader's first vote makes the visitor first; a second window that was open before votes as the same one."""
    page, before = window(), total(base, "plinthcast")
    answers: list[tuple[str, int]] = []
    page.context.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
    page.goto(f"{base}/tools/plinthcast")
    second = page.context.new_page()
    second.goto(f"{base}/tools/plinthcast")
    for window_ in (page, second):
        window_.locator('#vote-plinthcast button[value="ship"]').click()
        expect(window_.locator("#vote-plinthcast [role=status]")).to_contain_text("counted")
    assert [answer for answer in answers if answer[1] >= 400] == []
    assert sum(method == "POST" for method, _ in answers) == 1
    assert total(base, "plinthcast") == before + 1


def total(base: str, tool: str) -> int:
    """Return how many votes a tool has; other tests vote on the same site."""
    votes: int = calling.get(f"{base}/v1/tools/{tool}").json()["community"]["total"]
    return votes


def test_nothing_of_a_view_lies_over_the_next_cell(window: Windows, base: str, token: str) -> None:
    """On a phone the overview's small charts, and the words below them, stay inside their own cells."""
    page = window(viewport={"width": 360, "height": 800})
    sign_in(page, base, token)
    over = """parts => { const right = one => one.getBoundingClientRect().right;
        return parts.filter(part => right(part) > right(part.closest('td'))).map(part => part.textContent); }"""
    assert page.locator(".spark, .spark-scale").count() >= 2
    assert page.locator(".spark, .spark-scale").evaluate_all(over) == []


def test_a_badge_breaks_its_words_before_it_leaves_its_column(window: Windows, base: str) -> None:
    """With letters of twice the size, a verdict's words go on in the next line, and the page stays as wide as the window."""
    page = window()
    page.goto(f"{base}/tools")
    over = """facts => { facts.style.width = '5rem'; const right = facts.getBoundingClientRect().right + 1;
        return [...facts.querySelectorAll('.badge')].filter(
            part => part.getBoundingClientRect().right > right || part.scrollWidth > part.clientWidth + 1
        ).map(part => part.textContent); }"""
    badges = page.locator(".facts:has(.badge)")
    assert badges.count() and badges.first.evaluate(over) == []


def test_a_page_that_cant_be_shown_leads_on(window: Windows, base: str) -> None:
    """No such tool leads to all tools, another address to all comparisons, and a mail's link that is too old to a new one."""
    page = window()
    for path, label in (
        ("/tools/no-such-tool", "All tools"),
        ("/no-such-page", "All comparisons"),
        ("/newsletter/preferences?token=old", "Sign up again"),
    ):
        page.goto(base + path)
        expect(page.locator("main").get_by_role("link", name=label)).to_be_visible()


def test_no_votes_is_said_once(window: Windows, base: str) -> None:
    """A tool without votes says so in one sentence; a provisional figure is smaller than one that stands."""
    page = window()
    tools = calling.get(f"{base}/v1/tools?limit=100").json()["items"]
    page.goto(f"{base}/tools/{next(tool['slug'] for tool in tools if tool['community']['total'] == 0)}")
    shown = page.locator(".tally").inner_text()
    assert shown.count("No votes yet") == 1
    assert not any(words in shown for words in ("Too early", "No interval", "first vote decides", "–"))
    assert page.locator(".tally .percent").evaluate("place => parseFloat(getComputedStyle(place).fontSize)") < 30


def test_a_verdict_says_whether_it_is_settled(window: Windows, base: str, votes: Callable[..., None]) -> None:
    """Four votes alike are a ship so far, eight a settled one: live, on the page, in lists, with one link to why."""
    page = window()
    page.goto(f"{base}/tools/{FRESH}")
    badge = page.locator("[data-part=verdict]")
    for count, words in ((4, "Ship, so far"), (4, "Ship, settled")):
        votes(FRESH, "ship", count)
        expect(badge).to_have_text(words)
        expect(badge).to_have_class("badge ship")
    wait_for(lambda: "Ship, settled" in calling.get(f"{base}/tools/{FRESH}").text)
    page.goto(f"{base}/tools?sort=settled")
    expect(page.locator("li", has=page.locator(f'a[href="/tools/{FRESH}"]'))).to_contain_text("Readers: Ship, settled")
    page.get_by_role("link", name="What “so far” and “settled” mean").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("So far, and settled")
    expect(page.get_by_role("row", name="1,000 52.4% 3.6%")).to_be_visible()


def test_a_chart_draws_both_bands_apart(window: Windows, base: str, votes: Callable[..., None]) -> None:
    """The settled band lies around the other and has an outline of its own, so no colour need tell them apart."""
    votes("framewick", "ship", 10)
    wait_for(lambda: "<figure" in calling.get(f"{base}/tools/framewick").text)
    page = window(viewport={"width": 360, "height": 800})
    page.goto(f"{base}/tools/framewick")
    settled, single = page.locator("svg path.settled"), page.locator("svg path.band")
    assert settled.evaluate(HEIGHT) > single.evaluate(HEIGHT) > 0
    assert settled.evaluate(DASHES) != single.evaluate(DASHES) == "none"


PAIR = ("citeheron", "latticebrief-autonomous-research-reports-beta")


def test_compared_cards_stand_level(window: Windows, base: str, votes: Callable[..., None]) -> None:
    """At 800 pixels the shares, counts, prices and buttons of two tools are at the same heights, whatever their badges say."""
    votes("citeheron", "ship", 1)
    page = window(viewport={"width": 800, "height": 900})
    page.goto(f"{base}/compare/{'-vs-'.join(PAIR)}")
    for place, part in (
        ("tally", ".percent"),
        ("tally", "strong[data-part=count]"),
        ("vote", ".price"),
        ("vote", "button[value=ship]"),
        ("vote", "[data-bookmark] button"),
    ):
        tops = page.locator(", ".join(f"#{place}-{tool} {part}" for tool in PAIR)).evaluate_all(
            "places => places.map(place => Math.round(place.getBoundingClientRect().top))"
        )
        assert len(tops) == 2 and tops[0] == tops[1], part


FIRST = (".tile", "h3", ".calls .badge", "[data-part=standing]", ".price")
LONGEST = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft " * 3
"""As a name of 200 characters it is the longest that a catalog may hold, in words that no window is wide enough for."""


@pytest.fixture(scope="module")
def longest(instance: Instance, base: str) -> tuple[str, str]:
    """Two tools whose every line is as long as it may be."""
    both = [
        {**tool(f"longest-{side}", name=LONGEST[:200], tagline=LONGEST * 2, category=LONGEST[:100]),
         "pricing": {"tier": "freemium", "label": LONGEST[:200]}, "panel": [opinion()]}
        for side in ("left", "right")
    ]  # fmt: skip
    operator = {"Authorization": f"Bearer {(instance.home / 'operator.token').read_text().strip()}"}
    calling.post(f"{base}/v1/ops/catalog", json={"tools": both}, headers=operator, timeout=PATIENCE).raise_for_status()
    wait_for(lambda: calling.get(f"{base}/v1/tools/longest-right").is_success)
    return "longest-left", "longest-right"


@pytest.mark.parametrize(("width", "height"), [(390, 800), (1280, 800)])
@pytest.mark.parametrize("named", ["as usual", "at length"])
def test_a_comparison_answers_in_its_first_window(
    window: Windows, base: str, longest: tuple[str, str], width: int, height: int, named: str
) -> None:
    """Both tools' verdicts, tallies and vote buttons lie in the first window, on a phone and at a desk, whatever the names."""
    pair, page = longest if named == "at length" else PAIR, window(viewport={"width": width, "height": height})
    page.goto(f"{base}/compare/{'-vs-'.join(pair)}")
    for slug in pair:
        for part in (*FIRST, "button[value=ship]", "button[value=skip]"):
            box = page.locator(f"#vote-{slug} {part}").first.bounding_box()
            assert box is not None, part
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, part
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, part
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["/compare/dovecrate-vs-n8n", "/tools/aider", "/integrity", "/settled", "/", "/tools"])
def test_letters_of_twice_the_size_fit_a_phone(window: Windows, base: str, path: str) -> None:
    """At 360 pixels with text of 200 % nothing makes the page wider than the window."""
    page = window(viewport={"width": 360, "height": 800})
    page.goto(base + path)
    page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_no_table_of_operators_is_cut_on_a_phone(window: Windows, base: str, token: str) -> None:
    """At 360 pixels each cell of the views' table lies inside the window and says what it is of."""
    page = window(viewport={"width": 360, "height": 800})
    sign_in(page, base, token)
    cells = page.locator("table.plain tbody td").evaluate_all(
        """cells => cells.map(cell => { const box = cell.getBoundingClientRect();
        return [box.left, box.right, getComputedStyle(cell, '::before').content]; })"""
    )
    assert len(cells) >= 4
    assert [cell for cell in cells if cell[0] < 0 or cell[1] > 360 or cell[2] in ("none", '""')] == []


def test_a_wrong_slug_silences_no_other_widget(window: Windows, base: str, other: Other, votes: Callable[..., None]) -> None:
    """Beside a widget whose tool isn't known, the others count live; a page that has one scheme gets it."""
    other.policy = ""
    other.html = (
        '<!doctype html><html lang="en"><title>Demo</title><div data-ballotpress="no-such-tool"></div>'
        '<div data-ballotpress="stackwarden-pull-request-reviewer" data-theme="light"></div>'
        f'<script src="{base}/embed.js" defer></script>'
    )
    page = window(color_scheme="dark")
    page.goto(other.origin)
    expect(page.get_by_text("There is no tool “no-such-tool” here.")).to_be_visible()
    votes("stackwarden-pull-request-reviewer", "ship", 1)
    expect(page.get_by_text("1 vote · 1 ship / 0 skip")).to_be_visible()
    light = page.locator('[data-theme="light"]').evaluate(
        "place => getComputedStyle(place.shadowRoot.querySelector('section')).backgroundColor"
    )
    assert light == "rgb(255, 255, 255)"


def test_a_refused_site_finds_the_cause_in_the_console(window: Windows, base: str, other: Other) -> None:
    """Where the origin isn't allowed, the console names the setting."""
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        said.append(message.text)

    other.policy = "connect-src 'none'"
    other.html = (
        '<!doctype html><html lang="en"><title>Demo</title><div data-ballotpress="stackwarden-pull-request-reviewer"></div>'
        f'<script src="{base}/embed.js" defer></script>'
    )
    page = window()
    page.on("console", hear)
    page.goto(other.origin)
    expect(page.get_by_role("status")).to_have_text("No connection. Try again.")
    assert any("BALLOTPRESS_CORS_ORIGINS" in text and other.origin in text for text in said)


def test_the_operators_menu_fits_a_phone(window: Windows, base: str, token: str) -> None:
    """In a wide window its entries stand open; on a phone they are a menu to open, with all that waits counted on it."""
    page = window()
    sign_in(page, base, token)
    entry, menu = page.get_by_role("link", name="Webhooks"), page.get_by_text("Menu", exact=True)
    expect(entry).to_be_visible()
    expect(menu).to_be_hidden()
    page.set_viewport_size({"width": 360, "height": 800})
    expect(entry).to_be_hidden()
    menu.click()
    expect(entry).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_reviews_are_approved_key_by_key(window: Windows, base: str, token: str) -> None:
    """`a` goes to the first review, and each further one approves and goes on; approved ones offer only to be rejected."""
    for n in range(3):
        made = calling.post(f"{base}/v1/visitors").json()["token"]
        review = {"verdict": "ship", "body": f"A review that somebody must read, number {n}."}
        headers = {"Authorization": f"Bearer {made}"}
        calling.post(f"{base}/v1/tools/prompt-vs-prompt/reviews", json=review, headers=headers).raise_for_status()
    page = window()
    sign_in(page, base, token)
    wait_for(partial(_are_waiting, page, base))
    waiting = page.locator("[data-review]").count()
    expect(page.locator('nav a[href="/ops/reviews"] .badge')).to_contain_text(str(waiting))
    page.keyboard.press("a")
    for left in range(waiting - 1, -1, -1):
        page.keyboard.press("a")
        expect(page.locator("[data-review]")).to_have_count(left)
        expect(page.locator("[data-review]:focus")).to_have_count(min(left, 1))
    page.goto(f"{base}/ops/reviews?status=approved")
    first = page.locator("[data-review]", has_text="A review that somebody must read").first
    expect(first.locator('a[href="/tools/prompt-vs-prompt"]')).not_to_have_text("prompt-vs-prompt")
    expect(first.get_by_role("button", name="Reject")).to_be_visible()
    expect(first.get_by_role("button", name="Approve")).to_have_count(0)


def _are_waiting(page: Page, base: str) -> bool:
    page.goto(f"{base}/ops/reviews")
    return page.locator("[data-review]").count() >= 3
