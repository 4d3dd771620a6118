"""`make screenshots`: a picture of each page at both widths and in both schemes, and those that the README shows.

The site is a fresh `ballotpress up` with the demo catalog, on which readers have voted and reviewed.
"""

import random
from collections.abc import Sequence
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from tests.support import calling
from tests.support.browser import SCHEMES, WIDTHS, browsing, serving, sign_in
from tests.support.processes import Instance

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
PAGES = {
    "home": "/",
    "comparisons": "/comparisons",
    "compare": "/compare/citeheron-vs-latticebrief-autonomous-research-reports-beta",
    "compare-settled": "/compare/dovecrate-vs-n8n",
    "tools": "/tools?sort=community",
    "tool": "/tools/aider",
    "vote": "/tools/aider/vote?choice=ship",
    "reviewers": "/reviewers",
    "reviewer": "/reviewers/builder",
    "bookmarks": "/bookmarks",
    "newsletter": "/newsletter",
    "issues": "/issues",
    "corrections": "/corrections",
    "settled": "/settled",
    "how-we-check": "/integrity",
    "your-data": "/your-data",
    "your-data-mine": "/your-data/mine",
    "proof": "/proof",
    "proof-mine": "/proof/mine",
    "ops": "/ops",
    "moderation": "/ops/reviews",
    "voters": "/ops/voters",
    "puzzles": "/ops/puzzles",
    "webhooks": "/ops/webhooks",
    "quarantine": "/ops/quarantine",
    "mail": "/ops/mail",
    "suppressions": "/ops/suppressions",
    "holds": "/ops/holds",
    "log": "/ops/log",
    "actions": "/ops/actions",
    "sessions": "/ops/sessions",
}
# Name, page, window and scheme of what the README shows.
SHOWN: Sequence[tuple[str, str, int, int, str]] = (
    ("shown-compare", "compare-settled", 1280, 800, "light"),
    ("shown-home", "home", 1280, 900, "light"),
    ("shown-phone", "compare-settled", 390, 800, "dark"),
    ("shown-moderation", "moderation", 1200, 620, "light"),
)
READERS = 60
REVIEWS = (
    ("ship", 84, "I moved a small team onto it in a week. The defaults are sane, and the docs answer what you ask.", "Ada"),
    ("skip", 35, "It lost its place in our largest repository twice. Support was kind but had no answer yet.", "R. Okafor"),
    ("ship", None, "Does one thing, shows its work, and gets out of the way. I have stopped reaching for the others.", None),
    (
        "ship",
        78,
        "The diff-per-change habit alone is worth it: review takes minutes now, and undo is one command.",
        "M. Lindqvist",
    ),
)


def main() -> None:
    """Make the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    limits = {"BALLOTPRESS_NETWORK_WRITES_PER_MINUTE": "100000"}
    with browsing() as browser, serving(**limits) as instance:
        base = f"http://127.0.0.1:{instance.port}"
        token = (instance.home / "operator.token").read_text().strip()
        _fill(base, token)
        for scheme in SCHEMES:
            for width in WIDTHS:
                _shoot(browser, base, token, width, scheme)
        for name, page, width, height, scheme in SHOWN:
            _show(browser, instance, token, PAGES[page], name, (width, height), scheme)


def _fill(base: str, token: str) -> None:
    """Have readers vote, each tool liked as a fixed draw says, and review; most reviews are approved."""
    draw = random.Random(11)
    operator = {"Authorization": f"Bearer {token}"}
    with calling.Client(base_url=base, timeout=30) as client:
        tools = [card["slug"] for card in client.get("/v1/tools?limit=100").json()["items"]]
        readers = [_reader(client) for _ in range(READERS)]
        for tool in tools:
            liked = draw.betavariate(2.2, 1.6)
            for headers in draw.sample(readers, draw.randint(3, READERS)):
                choice = "ship" if draw.random() < liked else "skip"
                client.put(f"/v1/tools/{tool}/vote", json={"choice": choice}, headers=headers).raise_for_status()
        for headers, (verdict, score, body, name) in zip(readers, REVIEWS * 2, strict=False):
            tool = "aider" if headers in readers[:4] else "n8n"
            review = {"verdict": verdict, "score": score, "body": body, "display_name": name}
            client.post(f"/v1/tools/{tool}/reviews", json=review, headers=headers).raise_for_status()
        client.get(f"/v1/tools?after={_head(client, operator)}")
        for review in client.get("/v1/ops/reviews", headers=operator).json()["items"][:5]:
            client.post(f"/v1/ops/reviews/{review['id']}/decision", json={"decision": "approve"}, headers=operator)
        client.get(f"/v1/tools?after={_head(client, operator)}")


def _reader(client: httpx.Client) -> dict[str, str]:
    client.cookies.clear()
    token = client.post("/v1/visitors").json()["token"]
    client.cookies.clear()
    return {"Authorization": f"Bearer {token}"}


def _head(client: httpx.Client, operator: dict[str, str]) -> int:
    position: int = client.get("/v1/ops/status", headers=operator).json()["head"]["position"]
    return position


def _shoot(browser: Browser, base: str, token: str, width: int, scheme: str) -> None:
    page = _window(browser, base, token, (width, 900), scheme)
    for name, path in PAGES.items():
        page.goto(base + path)
        page.wait_for_timeout(2_500 if name == "ops" else 250)
        page.screenshot(path=FOLDER / f"{name}-{width}-{scheme}.png", full_page=True)
    page.context.close()


def _show(browser: Browser, instance: Instance, token: str, path: str, name: str, size: tuple[int, int], scheme: str) -> None:
    page = _window(browser, f"http://127.0.0.1:{instance.port}", token, size, scheme)
    page.goto(f"http://127.0.0.1:{instance.port}{path}")
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / f"{name}.png")
    page.context.close()


def _window(browser: Browser, base: str, token: str, size: tuple[int, int], scheme: str) -> Page:
    viewport = {"width": size[0], "height": size[1]}
    page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    sign_in(page, base, token)
    page.goto(f"{base}/tools/aider")
    page.locator('#vote-aider button[value="ship"]').click()
    page.get_by_text("Your vote is counted: ship.").wait_for()
    page.get_by_role("button", name="Bookmark Aider").click()
    page.get_by_text("Saved to your bookmarks.").wait_for()
    return page


if __name__ == "__main__":
    main()
