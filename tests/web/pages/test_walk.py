"""A person's way through the site, in a real browser."""

import os
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import calling
from tests.support.accessibility import VIEWS, faults_of
from tests.support.browser import Windows, refusing_cookies, sign_in
from tests.support.processes import PATIENCE, Instance, wait_for

PAIR = "/compare/ollama-vs-llama-cpp"


def tally(page: Page, tool: str) -> str:
    """Read how many votes a page shows for a tool."""
    return page.locator(f'[data-tally="{tool}"] [data-part="count"]').inner_text()


def ballot(page: Page, tool: str, choice: str) -> None:
    """Press a button of a tool's ballot."""
    page.locator(f'#vote-{tool} button[value="{choice}"]').click()


def test_a_reader_votes_changes_and_retracts_and_a_second_window_counts_along(window: Windows, base: str) -> None:
    """A vote counts at once in its own window, soon in another one, and can be changed and taken back."""
    reader, watcher = window(), window()
    watcher.goto(base + PAIR)
    expect(watcher.locator("[data-live]")).to_have_text("Live")
    reader.goto(base + PAIR)
    before = reader.locator("#vote-ollama").evaluate("place => place.getBoundingClientRect().height")
    ballot(reader, "ollama", "ship")
    expect(reader.locator("#vote-ollama [role=status]")).to_have_text("Your vote is counted: ship.")
    assert tally(reader, "ollama") == "1 vote"
    count = watcher.locator('[data-tally="ollama"] [data-part="count"]')
    expect(count).to_have_text("1 vote")
    expect(watcher.locator('[data-line="ollama"]')).to_have_text("100% ship · 1 ship / 0 skip")
    ballot(reader, "ollama", "skip")
    expect(watcher.locator('[data-line="ollama"]')).to_have_text("0% ship · 0 ship / 1 skip")
    assert reader.locator("#vote-ollama").evaluate("place => place.getBoundingClientRect().height") == before
    ballot(reader, "ollama", "none")
    expect(count).to_have_text("0 votes")
    expect(watcher.locator('[data-line="ollama"]')).to_have_text("No community votes yet")


def test_what_the_script_shows_is_what_the_server_renders(window: Windows, base: str) -> None:
    """After live votes, each number and sentence is the same once the page is loaded anew."""
    page = window()
    page.goto(f"{base}/tools/comfyui")
    for choice in ("ship", "skip"):
        ballot(page, "comfyui", choice)
        expect(page.locator("#vote-comfyui [role=status]")).to_contain_text(choice)
        live = page.locator('.tally[data-tally="comfyui"]').evaluate(_PARTS)
        counts = {"ship": 0, "skip": 0, choice: 1}
        wait_for(partial(_is_counted, base, "comfyui", counts))
        page.reload()
        assert page.locator('.tally[data-tally="comfyui"]').evaluate(_PARTS) == live
    ballot(page, "comfyui", "none")
    expect(page.locator("#vote-comfyui [role=status]")).to_contain_text("taken back")


def _is_counted(base: str, tool: str, counts: dict[str, int]) -> bool:
    community = calling.get(f"{base}/v1/tools/{tool}").json()["community"]
    return {name: community[name] for name in counts} == counts


_PARTS = """tally => [...tally.querySelectorAll("[data-part]")].map(part => [
  part.dataset.part, part.textContent, part.getAttribute("class"),
  Number(part.getAttribute("x")), Number(part.getAttribute("width")),
])"""


def test_without_javascript_everything_is_done_by_forms(window: Windows, base: str) -> None:
    """With scripts off a reader votes, changes, retracts and bookmarks, is told so, and sees it on a page of their own."""
    page = window(java_script_enabled=False)
    page.goto(f"{base}/compare/whisper-cpp-vs-scribewren")
    ballot(page, "whisper-cpp", "ship")
    expect(page.locator(".flash")).to_contain_text("Your vote is counted")
    assert tally(page, "whisper-cpp") == "1 vote"
    ballot(page, "whisper-cpp", "skip")
    assert page.locator('[data-line="whisper-cpp"]').inner_text() == "0% ship · 0 ship / 1 skip"
    page.get_by_role("link", name="Your vote on whisper.cpp").click()
    expect(page.locator('#vote-whisper-cpp button[value="skip"]')).to_have_attribute("aria-pressed", "true")
    ballot(page, "whisper-cpp", "none")
    expect(page).to_have_url(re.compile("/tools/whisper-cpp/mine[?]"))
    expect(page.locator(".flash")).to_contain_text("taken back")
    assert tally(page, "whisper-cpp") == "0 votes"
    page.locator("#vote-whisper-cpp button[name=keep]").click()
    expect(page.locator(".flash")).to_contain_text("Saved to your bookmarks")
    expect(page.locator("#vote-whisper-cpp button[name=keep]")).to_have_text(re.compile("Bookmarked"))
    page.goto(f"{base}/bookmarks")
    expect(page.get_by_role("link", name="whisper.cpp")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No bookmarks yet")).to_be_visible()
    expect(page.get_by_text("Bookmark tools to save them for later.")).to_be_visible()


def test_bookmarks_are_kept_and_let_go(window: Windows, base: str) -> None:
    """A bookmark made on a tool's page stands on /bookmarks until it is removed there, without the page being left."""
    page = window()
    page.goto(f"{base}/tools/n8n")
    page.get_by_role("button", name="Bookmark n8n").click()
    expect(page.locator('[data-part="keep"]')).to_have_text("Bookmarked")
    wait_for(lambda: page.goto(f"{base}/bookmarks") and page.get_by_role("link", name="n8n").count() > 0)
    page.get_by_role("button", name="Remove n8n").click()
    expect(page.get_by_text("No bookmarks yet")).to_be_visible()


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_browser_that_refuses_cookies_is_told_why_nothing_counts(
    browser: Browser, tmp_path: Path, base: str, own_tool: str, has_scripts: bool
) -> None:
    """Without cookies no vote is counted, with scripts or without, and the page says why."""
    with refusing_cookies(browser, tmp_path, java_script_enabled=has_scripts) as page:
        page.goto(f"{base}/tools/{own_tool}")
        ballot(page, own_tool, "ship")
        place = page.locator(f"#vote-{own_tool} [role=status]" if has_scripts else "h1")
        expect(place).to_contain_text("Your browser refused our cookie")
    assert calling.get(f"{base}/v1/tools/{own_tool}").json()["community"]["total"] == 0


def test_double_clicks_and_going_back_count_once(window: Windows, base: str, own_tool: str) -> None:
    """A double click is one vote; going back and forward shows the reader's choice as it is."""
    page = window()
    page.goto(f"{base}/tools/{own_tool}")
    page.locator(f'#vote-{own_tool} button[value="ship"]').dblclick()
    expect(page.locator(f"#vote-{own_tool} [role=status]")).to_contain_text("counted")
    assert tally(page, own_tool) == "1 vote"
    page.goto(f"{base}/tools")
    page.go_back()
    expect(page.locator(f'#vote-{own_tool} button[value="ship"]')).to_have_attribute("aria-pressed", "true")
    plain = window(java_script_enabled=False)
    plain.goto(f"{base}/tools/{own_tool}")
    plain.locator(f'#vote-{own_tool} button[value="skip"]').dblclick()
    expect(plain.locator(".flash")).to_contain_text("counted")
    plain.get_by_role("link", name="Your vote").click()
    expect(plain.locator(f'#vote-{own_tool} button[value="skip"]')).to_have_attribute("aria-pressed", "true")
    assert calling.get(f"{base}/v1/tools/{own_tool}").json()["community"]["total"] == 2


def test_a_review_is_written_moderated_by_keys_and_shown_as_text(window: Windows, base: str, token: str) -> None:
    """What a reader writes waits for a moderator, and is shown as text, whatever markup it holds."""
    page, ops = window(), window()
    page.goto(f"{base}/tools/aider")
    nodes = page.evaluate("() => document.querySelectorAll('script, img, b, iframe').length")
    page.get_by_role("link", name="Write a review").click()
    page.get_by_label("Ship", exact=True).check()
    page.get_by_label("Your review").fill("<script>document.title='x'</script><img src=x onerror=alert(1)><b>no</b>")
    page.get_by_label("Name to show").fill("Ada <b>L</b>")
    page.get_by_role("button", name="Send my review").click()
    expect(page.locator(".flash")).to_contain_text("A moderator reads your review")
    expect(page.locator("#own-review")).to_contain_text("Waiting for a moderator; only you see it")
    page.goto(f"{base}/tools/aider")
    expect(page.get_by_role("link", name="Your review: waiting for a moderator")).to_be_visible()
    stranger = window()
    stranger.goto(f"{base}/tools/aider")
    expect(stranger.get_by_role("link", name="Write a review")).to_be_visible()
    expect(stranger.locator("#reviews blockquote", has_text="<script>")).to_have_count(0)
    sign_in(ops, base, token)
    ops.goto(f"{base}/ops/reviews")
    expect(ops.locator("[data-review]", has_text="<script>").locator("blockquote")).to_be_visible()
    for _ in range(ops.locator("[data-review]").count()):
        ops.keyboard.press("j")
        if "<script>" in ops.evaluate("() => document.activeElement.textContent"):
            break
    ops.keyboard.press("a")
    expect(ops.locator(".flash")).to_have_text("Approved.")
    page.goto(f"{base}/tools/aider")
    expect(page.locator("#reviews blockquote")).to_contain_text("<img src=x onerror=alert(1)><b>no</b>")
    assert page.evaluate("() => document.querySelectorAll('script, img, b, iframe').length") == nodes
    assert "Aider" in page.title()
    page.get_by_role("link", name="Your review: approved").click()
    page.get_by_role("button", name="Withdraw my review").click()
    expect(page.locator(".flash")).to_contain_text("withdrawn")
    page.goto(f"{base}/tools/aider")
    expect(page.get_by_text("No readers' reviews yet")).to_be_visible()


def test_a_voter_is_disqualified_with_a_preview_and_the_correction_is_public(window: Windows, base: str, token: str) -> None:
    """An operator sees the tallies before and after, does it, and the reason stands on /corrections without the voter."""
    reader, ops = window(), window()
    reader.goto(f"{base}/tools/draftkeel")
    ballot(reader, "draftkeel", "ship")
    expect(reader.locator("#vote-draftkeel [role=status]")).to_contain_text("counted")
    cookie = next(c for c in reader.context.cookies() if c.get("name") == "ballotpress_visitor")
    visitor = cookie["value"].partition(".")[0]
    sign_in(ops, base, token)
    ops.goto(f"{base}/ops/voters")
    ops.get_by_label("Visitors' ids").fill(visitor)
    ops.get_by_label("Reason").fill("One person, many browsers")
    ops.get_by_role("button", name="Show what it would do").click()
    expect(ops.locator("table")).to_contain_text("100% ship · 1 ship / 0 skip")
    expect(ops.locator("table")).to_contain_text("No votes")
    ops.get_by_role("button", name="Do it").click()
    expect(ops.locator(".flash")).to_contain_text("Done")
    reader.goto(f"{base}/corrections")
    expect(reader.locator("article", has_text="One person, many browsers")).to_be_visible()
    assert visitor not in reader.content()
    reader.goto(f"{base}/tools/draftkeel")
    ballot(reader, "draftkeel", "ship")
    expect(reader.locator("#vote-draftkeel [role=status]")).to_contain_text("disqualified")
    ops.goto(f"{base}/ops/log/story?stream={visitor}")
    expect(ops.locator("ol")).to_contain_text("The voter was disqualified with 1 ballot")


def test_the_newsletter_from_sign_up_to_unsubscribing(window: Windows, base: str, instance: Instance) -> None:
    """A reader signs up, finds the mail in the outbox, confirms by a button, gets the digest, and unsubscribes."""
    page = window()
    page.goto(base)
    page.get_by_label("Email address").fill("ada@example.org")
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator("h1")).to_have_text("Check your inbox")
    link = _link_in_outbox(page, base, "/newsletter/confirm")
    page.goto(link)
    page.get_by_role("button").click()
    expect(page.locator("h1")).to_contain_text("subscribed")
    sent = instance.command("digest", "send", "--now")
    assert sent.returncode == 0, sent.stderr
    page.goto(f"{base}/issues")
    page.get_by_role("link", name=re.compile("Issue 1")).click()
    expect(page).to_have_url(f"{base}/issues/1")
    page.goto(_link_in_outbox(page, base, "/newsletter/unsubscribe"))
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.locator("h1")).to_contain_text("unsubscribed")
    assert faults_of(page, VIEWS) == []
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("h1")).to_have_text("You are subscribed again")


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_mails_link_waits_for_the_readers_own_click(window: Windows, base: str, own_tool: str, has_scripts: bool) -> None:
    """Its page has the choice made; the button casts it, with scripts or without, and it can be changed before."""
    page = window(java_script_enabled=has_scripts)
    page.goto(f"{base}/tools/{own_tool}/vote?choice=skip")
    expect(page.get_by_label("Skip")).to_be_checked()
    page.get_by_label("Ship").check()
    page.get_by_role("button", name="Count my vote").click()
    expect(page.locator(".flash")).to_contain_text("Your vote is counted")
    assert tally(page, own_tool) == "1 vote"


def _link_in_outbox(page: Page, base: str, path: str) -> str:
    """Find a link to a path in the mails of the outbox."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        page.goto(f"{base}/outbox")
        for href in page.locator('main a[href^="/outbox/"]').evaluate_all("links => links.map(link => link.href)"):
            text = calling.get(href).text.replace("=\r\n", "").replace("=\n", "").replace("=3D", "=")
            if found := re.search(rf"https?://[^\s<>\"]+{path}\?token=[\w.~-]+", text):
                return base + found[0][found[0].index(path) :]
        time.sleep(0.5)
    raise AssertionError(f"no mail with {path}")


def test_counters_resume_after_the_server_was_away(
    window: Windows, base: str, instance: Instance, votes: Callable[..., None]
) -> None:
    """A page that stays open counts on after the API was killed and came back."""
    page = window()
    page.goto(f"{base}/tools/languagetool")
    expect(page.locator("[data-live]")).to_have_text("Live")

    os.kill(instance.pid("api"), signal.SIGKILL)
    expect(page.locator("[data-live]")).to_have_text("Reconnecting…")
    instance.ready()
    votes("languagetool", "ship", 2)
    expect(page.locator('[data-tally="languagetool"] [data-part="count"]')).to_have_text("2 votes")
