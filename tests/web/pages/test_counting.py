"""Counters and votes when things aren't as they should be: no stream, a hidden tab, a refusing proxy; and how they print."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import Windows

Votes = Callable[[str, str, int], None]


def test_without_a_stream_counters_are_polled(window: Windows, base: str, votes: Votes) -> None:
    """A browser that has no event streams asks now and then."""
    page = window()
    page.add_init_script("delete window.EventSource")
    page.goto(f"{base}/tools/prompt-vs-prompt")
    expect(page.locator("[data-live]")).to_have_text("Updated every few seconds")
    votes("prompt-vs-prompt", "skip", 3)
    expect(_count(page, "prompt-vs-prompt")).to_have_text("3 votes")


def test_a_stream_that_is_refused_is_polled_instead(window: Windows, base: str, votes: Votes, own_tool: str) -> None:
    """When the server refuses the stream, the page asks now and then, and tries the stream again later."""
    page = window()
    page.clock.install()
    page.route("**/v1/tallies/live*", lambda route: route.fulfill(status=503))
    page.goto(f"{base}/tools/{own_tool}")
    expect(page.locator("[data-live]")).to_have_text("Updated every few seconds")
    votes(own_tool, "ship", 2)
    expect(_count(page, own_tool)).to_have_text("2 votes")
    page.unroute("**/v1/tallies/live*")
    page.clock.fast_forward("02:00")
    expect(page.locator("[data-live]")).to_have_text("Live")


def test_a_hidden_tab_does_not_count_and_catches_up_when_it_is_seen(window: Windows, base: str, votes: Votes) -> None:
    """A tab that nobody looks at holds no stream; looked at again, it shows the present."""
    page = window()
    page.goto(f"{base}/tools/llama-cpp")
    expect(page.locator("[data-live]")).to_have_text("Live")
    before = _count(page, "llama-cpp").inner_text()
    _hide(page, True)
    votes("llama-cpp", "ship", 2)
    page.wait_for_timeout(2_500)
    assert _count(page, "llama-cpp").inner_text() == before
    _hide(page, False)
    expect(_count(page, "llama-cpp")).not_to_have_text(before)


def test_what_a_proxy_refuses_as_too_much_is_said_so(window: Windows, base: str, own_tool: str) -> None:
    """A proxy's own page of a 429 holds no sentence of ours: who votes is told to wait, not to try at once."""
    page = window()
    page.route("**/v1/visitors", lambda route: route.fulfill(status=429, content_type="text/html", body="<h1>429</h1>"))
    page.goto(f"{base}/tools/{own_tool}")
    page.locator('button[value="ship"]').click()
    expect(page.locator(f'[data-said="{own_tool}"]')).to_have_text("That was a lot at once. Wait a little and try again.")


def test_a_page_prints_without_its_controls(window: Windows, base: str) -> None:
    """On paper there are the verdicts and numbers, and neither buttons nor navigation."""
    page = window()
    page.goto(f"{base}/compare/ollama-vs-llama-cpp")
    page.emulate_media(media="print")
    assert page.get_by_role("heading", name="Reviewer scorecard").is_visible()
    assert not page.locator("#vote-ollama button").first.is_visible()
    assert not page.get_by_role("navigation", name="Site").is_visible()
    assert page.locator('[data-tally="ollama"] [data-part="count"]').is_visible()


def _count(page: Page, tool: str) -> Locator:
    return page.locator(f'[data-tally="{tool}"] [data-part="count"]')


def _hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => { Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
        document.dispatchEvent(new Event("visibilitychange")); }""",
        hidden,
    )
