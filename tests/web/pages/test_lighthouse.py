"""Lighthouse looks at the pages that people arrive at, as a phone does: 95 or more of 100 for each of its four headings."""

import json
import os
from pathlib import Path

import pytest

from tests.support import npm
from tests.support.browser import FLAGS, shell

FOLDER = Path(__file__).parent / "lighthouse"
GOAL = 0.95
QUIET = "BALLOTPRESS_QUIET" in os.environ
"""Whether nothing else runs here: beside other tests this machine is slower than any phone, so speed is judged then alone."""
HEADINGS = ("accessibility", "best-practices", "seo", *(("performance",) if QUIET else ()))


@pytest.mark.parametrize("path", ["/", "/tools/ollama", "/compare/ollama-vs-llama-cpp"])
def test_a_page_is_fast_accessible_sound_and_found(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Accessibility, best practices and what search engines ask, each at least 95; what is missing is named.

    So is performance, where BALLOTPRESS_QUIET says that nothing else runs.
    """
    monkeypatch.setenv("CHROME_PATH", shell())
    program = npm.tools(FOLDER, "nothing looks at the pages as Lighthouse does") / "lighthouse"
    told = tmp_path / "told.json"
    npm.run(
        program, base + path, "--quiet", "--no-enable-error-reporting", "--disable-full-page-screenshot",
        f"--only-categories={','.join(HEADINGS)}", "--output=json", f"--output-path={told}",
        f"--chrome-flags={' '.join(['--headless=new', *FLAGS])}", folder=FOLDER,
    )  # fmt: skip
    found = json.loads(told.read_text())
    scores = {name: category["score"] for name, category in found["categories"].items()}
    assert sorted(scores) == sorted(HEADINGS)
    assert min(scores.values()) >= GOAL, (scores, os.getloadavg(), _missed(found))


def _missed(found: dict[str, object]) -> list[str]:
    audits: dict[str, dict[str, object]] = found["audits"]  # type: ignore[assignment]
    return [f"{name}: {one.get('displayValue', one['title'])}" for name, one in audits.items() if one["score"] not in (None, 1)]
