"""Finding in a browser: the picker offers tools as a name is typed, to eyes and screen readers, and works without script."""

import re

from playwright.sync_api import expect

from tests.support.accessibility import faults_of
from tests.support.browser import Windows


def test_a_name_is_picked_by_the_keyboard(window: Windows, base: str) -> None:
    """Letters open a list, arrows go through it, Enter takes a tool, Escape closes it; the form leads to the comparison."""
    page = window()
    page.goto(f"{base}/compare")
    left, right = page.get_by_label("First tool"), page.get_by_label("Second tool")
    left.press_sequentially("swatc")
    options = page.get_by_role("option")
    expect(options.first).to_contain_text("Swatchmoor")
    expect(left).to_have_attribute("aria-expanded", "true")
    left.press("ArrowDown")
    expect(left).to_have_attribute("aria-activedescendant", "left-0")
    assert faults_of(page, [(1280, "light", {})]) == []
    left.press("Enter")
    expect(left).to_have_value(re.compile("Swatchmoor"))
    expect(left).to_have_attribute("aria-expanded", "false")
    right.press_sequentially("assay")
    expect(options.first).to_be_visible()
    right.press("Escape")
    expect(options).to_have_count(0)
    right.press("ArrowDown")
    options.first.click()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(f"{base}/compare/swatchmoor-vs-assay-bench")


def test_a_name_is_picked_without_script(window: Windows, base: str) -> None:
    """Words of several tools are answered with a choice, and the choice leads to the comparison."""
    page = window(java_script_enabled=False)
    page.goto(f"{base}/compare")
    page.get_by_label("First tool").fill("swatchmoor")
    page.get_by_label("Second tool").fill("a")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile(r"/compare/swatchmoor-vs-"))


def test_the_search_of_every_page_finds_a_tool(window: Windows, base: str) -> None:
    """A name with a slip, typed at the top of any page, leads to the tool."""
    page = window()
    page.goto(f"{base}/settled")
    page.get_by_role("search").get_by_role("searchbox").fill("swatchmoro")
    page.keyboard.press("Enter")
    page.locator("main").get_by_role("link", name=re.compile("Swatchmoor")).first.click()
    page.wait_for_url(f"{base}/tools/swatchmoor")
