"""Chromium as the browser tests use it, and a running site for it to look at."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.processes import PATIENCE, Instance, free_port

# Without the background flags Chromium looks for its maker's hosts at every start; with one renderer at a time it doesn't start
# a spare one for each window.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",
]
WIDTHS = (320, 1600)
SCHEMES = ("light", "dark")

Windows = Callable[..., Page]


class Other:
    """Another site on another origin: what its one page says is set by the test."""

    def __init__(self) -> None:
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.html = ""
        self.policy = ""


def shell() -> str:
    """Find Chromium without what is around the page, which costs half as much, or else all of it."""
    return shutil.which("chromium-headless-shell") or chromium()


def chromium() -> str:
    """Find Chromium; where there is none tests are skipped, but never in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have Chromium: apt-get install chromium")
    if found is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run Chromium for a while."""
    program = shell()
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serving(*options: str, **environ: str) -> Iterator[Instance]:
    """Run a whole `ballotpress up` for a while, with limits out of the way."""
    folder = Path(tempfile.mkdtemp(prefix="bp-pages-"))
    folder.chmod(0o755)
    limits = {"BALLOTPRESS_SIGNUPS_PER_HOUR": "1000", "BALLOTPRESS_NEW_VISITORS_PER_HOUR": "100000"}
    instance = Instance(folder / "home", *options, **{**limits, **environ})
    try:
        yield instance.start().ready()
    finally:
        instance.stop()
        shutil.rmtree(folder, ignore_errors=True)


def sign_in(page: Page, base: str, token: str) -> None:
    """Sign an operator in."""
    page.goto(f"{base}/ops/sign-in")
    page.get_by_label("Operator token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{base}/ops")


@contextmanager
def refusing_cookies(browser: Browser, folder: Path, **options: Any) -> Iterator[Page]:
    """Open a window of a Chromium whose settings refuse all cookies."""
    (folder / "Default").mkdir()
    (folder / "Default" / "Preferences").write_text('{"profile": {"default_content_setting_values": {"cookies": 2}}}')
    context = browser.browser_type.launch_persistent_context(folder, executable_path=chromium(), args=FLAGS, **options)
    try:
        yield context.pages[0]
    finally:
        context.close()
