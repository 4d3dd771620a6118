"""The pages given: each of them is equalled, word for word, where they are at hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Windows, serving

GIVEN = Path(__file__).parents[4] / "shared" / "pages"
PAIRS = sorted(path for path in GIVEN.glob("*.json") if path.name != "catalog.json")


@pytest.fixture(scope="module")
def given_base() -> Iterator[str]:
    """A site with the catalog of the pages given."""
    if not PAIRS:
        pytest.skip("the pages given aren't here: no shared/pages beside the repository")
    with serving("--catalog", str(GIVEN / "catalog.json")) as instance:
        yield f"http://127.0.0.1:{instance.port}"


def test_each_page_says_what_the_given_one_says(window: Windows, given_base: str) -> None:
    """Title, question, decision table, scorecard and cards are those of the page given."""
    page = window(viewport={"width": 1600, "height": 900})
    for path in PAIRS:
        given = json.loads(path.read_text())
        page.goto(f"{given_base}/compare/{path.stem}")
        assert page.locator("h1").inner_text() == given["title"]
        assert page.locator(".lead").inner_text() == given["question"]
        assert _rows(page, "decision") == [[row["label"], row["left"], row["right"]] for row in given["decision"]]
        assert _rows(page, "scorecard") == [
            [row["persona"], _take(row["left"]), _take(row["right"])] for row in given["scorecard"]
        ]
        for card in given["cards"]:
            text = page.locator(f"#vote-{card['slug']}").text_content()
            for words in (card["name"], card["tagline"], card["category"], card["tier"], card["panel_verdict"].capitalize()):
                assert words in text
            assert f"{card['panel_ship_percent']}% Panel ship" in text
            about = page.locator("article.card", has=page.get_by_role("link", name=card["name"], exact=True))
            assert card["description"] in about.inner_text()


def _rows(page: Any, section: str) -> list[list[str]]:
    rows = page.locator(f'section[aria-labelledby="{section}"] tbody tr')
    return [[" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()] for row in rows.all()]


def _take(judged: dict[str, Any] | None) -> str:
    if judged is None:
        return "No panel take"
    head = judged["verdict"] if judged["score"] is None else f"{judged['score']}/100 · {judged['verdict']}"
    return " ".join(f"{head} {judged['take']}".split())
