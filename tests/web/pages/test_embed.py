"""The widget on another site: it shows and takes votes under a strict policy, and only where configuration admits the site."""

import gzip
from collections.abc import Callable

from playwright.sync_api import expect

from services.web.http.assets import STATIC
from tests.support import calling
from tests.support.browser import Other, Windows
from tests.support.processes import free_port


def demo(other: Other, base: str, tool: str) -> None:
    """Make the other site's page, with the policy that docs/embedding.md names."""
    other.policy = f"default-src 'none'; script-src {base}; connect-src {base}"
    other.html = (
        f'<!doctype html><html lang="en"><title>Demo</title><h1>Elsewhere</h1><div data-ballotpress="{tool}"></div>'
        f'<script src="{base}/embed.js" defer></script>'
    )


def test_the_widget_is_small() -> None:
    """It is at most 5 kB packed, and asks for nothing else."""
    assert len(gzip.compress((STATIC / "embed.js").read_bytes(), 9)) <= 5_000


def test_another_site_shows_takes_and_counts_votes(
    window: Windows, base: str, other: Other, votes: Callable[..., None]
) -> None:
    """On another origin, under a policy without inline code, votes are shown, cast, remembered, counted live and taken back."""
    demo(other, base, "marrowline")
    page = window()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(other.origin)
    expect(page.get_by_role("link", name="Marrowline")).to_be_visible()
    page.get_by_role("button", name="Ship").click()
    expect(page.get_by_role("status")).to_have_text("Your vote is counted: ship.")
    expect(page.get_by_text("1 vote · 1 ship / 0 skip")).to_be_visible()
    votes("marrowline", "skip", 1)
    expect(page.get_by_text("2 votes · 1 ship / 1 skip")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Ship")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("1 vote · 0 ship / 1 skip")).to_be_visible()
    assert refused == []
    assert page.context.cookies() == []


def test_a_site_that_is_not_admitted_gets_nothing(window: Windows, base: str, other: Other) -> None:
    """The browser keeps the answers from a site whose origin isn't configured."""
    answer = calling.get(f"{base}/v1/tools/ollama", headers={"Origin": f"http://127.0.0.1:{free_port()}"})
    assert "access-control-allow-origin" not in answer.headers


def test_the_script_stays_under_its_name_and_is_asked_for_again(base: str) -> None:
    """It may be kept for an hour; unchanged it is a 304."""
    answer = calling.get(f"{base}/embed.js")
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert calling.get(f"{base}/embed.js", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
