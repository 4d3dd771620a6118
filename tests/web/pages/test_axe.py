"""Every page, at both widths and in both schemes: no violation that axe-core finds, nothing wider than the window."""

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import asyncpg
from playwright.sync_api import Page

from services.mail_check import store
from services.mail_check.lines import Line, Record, right, unknown, wrong
from services.web.app import PAGES
from tests.support import calling
from tests.support.accessibility import CONTRAST, EVERY_VIEW, VIEWS, faults_of
from tests.support.browser import SCHEMES, Windows, sign_in
from tests.support.processes import PATIENCE, Instance

READERS = (
    "/",
    "/comparisons",
    "/compare/ollama-vs-llama-cpp",
    "/tools",
    "/tools/ollama",
    "/search?q=model",
    "/categories",
    "/leaderboard",
    "/categories/developer-tools",
    "/compare?left=ollama&right=model",
    "/tools/ollama/mine",
    "/tools/ollama/vote?choice=ship",
    "/tools/aider?position=60",
    "/agents",
    "/reviewers",
    "/reviewers/builder",
    "/reviewers/builder?position=60",
    "/bookmarks",
    "/newsletter",
    "/newsletter/sent",
    "/issues",
    "/corrections",
    "/settled",
    "/integrity",
    "/your-data",
    "/proof",
    "/proof/mine",
    "/proof/entries/1",
    "/your-data/mine",
    "/outbox",
    "/ops/sign-in",
    "/no-such-page",
)
OPERATORS = (
    "/ops",
    "/ops/reviews",
    "/ops/integrity",
    "/ops/voters",
    "/ops/puzzles",
    "/ops/mail",
    "/ops/webhooks",
    "/ops/quarantine",
    "/ops/suppressions",
    "/ops/holds",
    "/ops/sessions",
    "/ops/actions",
    "/ops/log",
    "/ops/log?type=ToolAdded",
)
# What is no page, what refusals of their own lead to, what needs a stream of the log, a review (below), or a cohort, which
# test_cohorts.py looks at.
NOT_LOOKED_AT = {
    "/embed.js", "/puzzle.js", "/feed.xml", "/tools.xml", "/robots.txt", "/llms.txt", "/sitemap.xml", "/sitemap/{sitemap:str}",
    "/static/{name:str}", "/badge/{badge:str}", "/card/{card:str}", "/favicon.ico", "/favicon.svg", "/apple-touch-icon.png",
    "/icon-192.png", "/icon-512.png", "/manifest.webmanifest", "/ops/pulse", "/problems/{problem:str}", "/ops/log/story",
    "/tool/{tool:str}", "/reviewer/{persona:str}", "/.well-known/security.txt", "/proof/verify.py", "/proof/mine.json",
    "/ops/integrity/{id:str}", "/tools/{tool:str}/reviews/{review:str}/report", "/ops/actions/export", "/ops/sign-in/oidc",
    "/ops/sign-in/back",
}  # fmt: skip
# Pages whose layout is a kind of its own: contrast is looked at in every view of theirs.
OF_THEIR_OWN_KIND = ("/", "/tools/ollama", "/compare/ollama-vs-llama-cpp", "/leaderboard", "/settled", "/ops", "/ops/webhooks")


def test_every_page_is_looked_at() -> None:
    """No page is left out of these tests, but those named."""
    tried = [path.partition("?")[0] for path in (*READERS, *OPERATORS)]
    paths = {path for route in PAGES if "GET" in route.http_methods for path in route.paths} - NOT_LOOKED_AT
    left = [path for path in sorted(paths) if not any(re.fullmatch(re.sub(r"\{.*?\}", "[^/]+", path), one) for one in tried)]
    assert left == [], "name an address of each in READERS or OPERATORS"


def test_readers_pages_have_no_violation(window: Windows, base: str) -> None:
    """Readers' pages are accessible and fit the window."""
    page = window()
    faults = [fault for path in READERS for fault in _faults(page, base, path)]
    assert faults == []


def test_operators_pages_have_no_violation(window: Windows, base: str, token: str) -> None:
    """Operators' pages are accessible and fit the window."""
    page = window()
    hook = {"url": "https://hooks.example/" + "a-long-way/" * 20, "note": "the shop"}
    with calling.Client(headers={"Authorization": f"Bearer {token}"}) as operator:
        assert operator.post(f"{base}/v1/ops/webhooks", json=hook).status_code == 201
    sign_in(page, base, token)
    faults = [fault for path in OPERATORS for fault in _faults(page, base, path)]
    assert faults == []


def test_a_mail_check_with_red_lines_is_accessible(window: Windows, base: str, token: str, instance: Instance) -> None:
    """A long record fits the narrow window; red lines come first, and the form that lets the first issue go is there."""
    long = Record("s1._domainkey.verdicts.example", "TXT", f"v=DKIM1; k=rsa; p={'MIIBIjANBgkqhkiG9w0B' * 20}")
    found = [right("spf", "It is"), wrong("dkim", "It isn't there", "publish it", long), unknown("ptr", "Silence", "ask again")]
    _keep(instance, found)
    page = window()
    sign_in(page, base, token)
    assert _faults(page, base, "/ops/mail") == []
    assert page.locator("article h2").all_inner_texts() == ["DKIM", "Name of the address (PTR)", "SPF"]
    page.get_by_label("Reason").fill("A trial among friends")
    page.get_by_role("button", name="Let it go as it is").click()
    page.get_by_text("let the first issue go whatever the check says").wait_for()
    page.get_by_role("button", name="Let red lines hold it again").click()
    page.get_by_text("Red lines hold the first issue.").wait_for()
    _keep(instance, [right("dkim", "It is there")])


def _keep(instance: Instance, found: Sequence[Line]) -> None:
    """Keep the lines of a check."""

    async def keep() -> None:
        connection = await asyncpg.connect(instance.database_url())
        try:
            await store.keep(connection, found, gates=True)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as beside:  # a browser's loop runs in this thread
        beside.submit(asyncio.run, keep()).result()


def test_a_reported_review_is_accessible_on_each_of_its_pages(window: Windows, base: str, token: str) -> None:
    """A tool's page with a review, the form that reports it, and the moderators' list of reports."""
    page = window()
    review = _reported_review(base, token)
    faults = [fault for path in ("/tools/n8n", f"/tools/n8n/reviews/{review}/report") for fault in _faults(page, base, path)]
    sign_in(page, base, token)
    assert [*faults, *_faults(page, base, "/ops/reviews?status=reported")] == []
    assert page.locator("[data-review]", has_text="It reads like an advertisement.").is_visible()
    page.get_by_role("button", name="Take down").click()
    page.get_by_text("No report waits for you.").wait_for()


def _reported_review(base: str, token: str) -> str:
    with calling.Client(base_url=base, timeout=PATIENCE) as client:
        client.headers["Authorization"] = f"Bearer {client.post('/v1/visitors').json()['token']}"
        client.cookies.clear()
        body = {"verdict": "ship", "body": "A review that somebody reports.", "ties": "given", "display_name": "Ada"}
        review: str = client.post("/v1/tools/n8n/reviews", json=body).json()["id"]
        decision = {"json": {"decision": "approve"}, "headers": {"Authorization": f"Bearer {token}"}}
        client.post(f"/v1/ops/reviews/{review}/decision", **decision).raise_for_status()  # type: ignore[arg-type]
        report = {"ground": "advertising", "words": "It reads like an advertisement."}
        reported = client.post(f"/v1/tools/n8n/reviews/{review}/reports", json=report).raise_for_status()
        client.get("/v1/tools", params={"after": reported.json()["position"]}).raise_for_status()
    return review


def _faults(page: Page, base: str, path: str) -> list[str]:
    page.goto(base + path)
    return faults_of(page, EVERY_VIEW if path in OF_THEIR_OWN_KIND else VIEWS)


def test_the_keyboard_alone_votes(window: Windows, base: str) -> None:
    """Tab and Enter reach the content, and a ballot's button; the focus stays there."""
    page = window()
    page.goto(f"{base}/tools/swatchmoor")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.value") == "ship":
            break
    page.keyboard.press("Enter")
    page.get_by_text("Your vote is counted: ship.").wait_for()
    assert page.evaluate("() => document.activeElement.getAttribute('aria-pressed')") == "true"


def test_a_vote_just_cast_is_legible_under_the_pointer(window: Windows, base: str) -> None:
    """The button that was pressed stays readable while the pointer rests on it, in both schemes."""
    page = window()
    page.goto(f"{base}/tools/framewick")
    for choice in ("ship", "skip"):
        page.locator(f'.ballot button[value="{choice}"]').click()
        page.get_by_text(f"Your vote is counted: {choice}.").wait_for()
        assert faults_of(page, [(1280, scheme, CONTRAST) for scheme in SCHEMES]) == []
