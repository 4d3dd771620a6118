"""Bookmarks beside the page: opened from any page, read and removed there, by hand and by keyboard."""

from playwright.sync_api import Page, expect

from tests.support.accessibility import faults_of
from tests.support.browser import Windows


def opened(page: Page) -> None:
    """Open the drawer by its link."""
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Bookmarks").click()
    expect(page.get_by_role("dialog", name="Bookmarks")).to_be_visible()


def test_bookmarks_open_beside_the_page_and_are_removed_there(window: Windows, base: str) -> None:
    """A bookmark set on the page is in the drawer at once; removed there, the page's button knows. Reopened it is empty."""
    page = window()
    page.goto(f"{base}/tools/whisper-cpp")
    page.route("**/v1/bookmarks?*", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.get_by_role("button", name="Bookmark whisper.cpp").click()
    expect(page.locator('[data-part="keep"]')).to_have_text("Bookmarked")
    opened(page)
    drawer = page.get_by_role("dialog", name="Bookmarks")
    expect(drawer.get_by_role("status")).to_have_text("Loading bookmarks…")
    expect(drawer.get_by_role("link", name="whisper.cpp")).to_have_attribute("href", "/tools/whisper-cpp")
    assert faults_of(page) == []
    drawer.get_by_role("button", name="Remove whisper.cpp").click()
    expect(drawer.get_by_role("status")).to_have_text("No bookmarks yetBookmark tools to save them for later.")
    assert page.evaluate("() => document.activeElement.textContent") == "Close"
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "/bookmarks"
    expect(page.locator('[data-part="keep"]')).to_have_text("Bookmark")


def test_whoever_is_no_visitor_sees_no_bookmarks_without_a_request(window: Windows, base: str) -> None:
    """A first-time reader's drawer asks the server for nothing; on the bookmarks' own page the link stays a link."""
    page = window()
    page.goto(f"{base}/settled")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page)
    expect(page.get_by_role("dialog").get_by_role("status")).to_contain_text("No bookmarks yet")
    assert asked == []
    page.get_by_role("link", name="All bookmarks").click()
    expect(page).to_have_url(f"{base}/bookmarks")
    page.get_by_role("navigation", name="Site").get_by_role("link", name="Bookmarks").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_first_time_reader_asks_for_nothing_of_their_own(window: Windows, base: str, own_tool: str) -> None:
    """Only once a visitor was made does a page ask what it did; in another tab too, where the choice is shown."""
    page = window()
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto(f"{base}/tools/{own_tool}")
    expect(page.locator("[data-live]").first).to_have_text("Live")
    expect(page.locator(f'#vote-{own_tool} button[value="ship"]')).to_have_attribute("aria-pressed", "false")
    assert not [url for url in asked if "/v1/visitors" in url]
    page.locator(f'#vote-{own_tool} button[value="ship"]').click()
    expect(page.locator(f"#vote-{own_tool} [role=status]")).to_contain_text("counted")
    other = page.context.new_page()
    other.goto(f"{base}/tools/{own_tool}")
    expect(other.locator(f'#vote-{own_tool} button[value="ship"]')).to_have_attribute("aria-pressed", "true")
    assert len([url for url in asked if "/v1/visitors/me/tools" in url]) == 1
