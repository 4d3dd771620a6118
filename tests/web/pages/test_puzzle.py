"""A vote that brings work along, in a real browser: on a page of ours, on another site, and without scripts."""

import pytest
from playwright.sync_api import expect

from tests.support import calling
from tests.support.browser import Other, Windows
from tests.support.processes import PATIENCE


@pytest.fixture
def puzzled(base: str, token: str, own_tool: str) -> str:
    """A tool of the test's own, whose votes bring work along."""
    with calling.Client(base_url=base, timeout=PATIENCE, headers={"Authorization": f"Bearer {token}"}) as operator:
        assert operator.put(f"/v1/ops/tools/{own_tool}/puzzle", json={}).status_code == 200
        head = operator.get("/v1/ops/status").json()["head"]["position"]
        assert operator.get(f"/v1/tools/{own_tool}?after={head}").status_code == 200
    return own_tool


def test_a_page_does_the_work_by_itself(window: Windows, base: str, puzzled: str) -> None:
    """One press is enough: the page says that it takes a moment, loads what it needs, works, and the vote counts."""
    page = window()
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{base}/tools/{puzzled}")
    assert f"{base}/puzzle.js" not in loaded
    page.evaluate(_FOLLOWED)
    page.locator('button[value="skip"]').click()
    expect(page.locator(f'[data-said="{puzzled}"]')).to_have_text("Your vote is counted: skip.")
    assert page.evaluate("() => window.said") == ["One moment…", "Your vote is counted: skip."]
    assert f"{base}/puzzle.js" in loaded
    page.reload()
    expect(page.locator('button[value="skip"]')).to_have_attribute("aria-pressed", "true")


_FOLLOWED = """() => {
  window.said = [];
  const place = document.querySelector("[data-said]");
  new MutationObserver(() => window.said.push(place.textContent)).observe(place, { childList: true });
}"""


def test_the_widget_does_the_work_by_itself(window: Windows, base: str, other: Other, puzzled: str) -> None:
    """On another site, under the policy that docs/embedding.md names, one press is enough too."""
    other.policy = f"default-src 'none'; script-src {base}; connect-src {base}"
    other.html = (
        f'<!doctype html><html lang="en"><title>Demo</title><h1>Elsewhere</h1><div data-ballotpress="{puzzled}"></div>'
        f'<script src="{base}/embed.js" defer></script>'
    )
    page = window()
    page.goto(other.origin)
    page.get_by_role("button", name="Ship").click()
    expect(page.get_by_role("status")).to_have_text("Your vote is counted: ship.")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_role("status")).to_have_text("Your vote is taken back.")


def test_a_reader_without_scripts_is_told_what_to_do(window: Windows, base: str, puzzled: str) -> None:
    """The form leads to a page that says why nothing was counted, and back to the tool."""
    page = window(java_script_enabled=False)
    page.goto(f"{base}/tools/{puzzled}")
    page.locator('button[value="ship"]').click()
    expect(page.get_by_role("heading", name="One moment, please")).to_be_visible()
    page.get_by_role("link", name="Back to the tool").click()
    expect(page.locator('button[value="ship"]')).not_to_have_attribute("aria-pressed", "true")
    page.get_by_role("link", name="Your vote").click()
    expect(page.locator('button[value="ship"]')).to_have_attribute("aria-pressed", "false")


def test_a_page_that_may_not_compute_says_so(window: Windows, base: str, puzzled: str) -> None:
    """On a page without https the browser has no WebCrypto: the reader is told, and nothing is counted."""
    page = window()
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
    page.goto(f"{base}/tools/{puzzled}")
    page.locator('button[value="ship"]').click()
    expect(page.locator(f'[data-said="{puzzled}"]')).to_contain_text("on https pages only")
