"""Markup, scripts and direction tricks in what others write: rendered as text, so that the page gains no node."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support import calling
from tests.support.processes import Instance

TRICKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title></textarea><b>bold",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eesrever\u2066",
    "&lt;i&gt; &amp; <!-- x",
    "javascript:alert(1)",
)


def catalog(slug: str, text: str) -> dict[str, Any]:
    """Write a catalog of two tools that say a text in every field that takes one."""
    shared = {
        "name": text, "tagline": text, "description": text, "category": f"Cat {slug} {text}", "best_for": text,
        "url": "https://example.com/" + text.replace(" ", ""),
        "pricing": {"tier": "free", "label": text},
        "panel": [{"persona": "Builder", "score": 50, "verdict": "ship", "take": text}],
    }  # fmt: skip
    pair = {"left": f"{slug}-a", "right": f"{slug}-b"}
    return {"tools": [{**shared, "slug": f"{slug}-a"}, {**shared, "slug": f"{slug}-b"}], "comparisons": [pair]}


@pytest.mark.parametrize("number", range(len(TRICKS)))
def test_catalog_fields_are_text(base: str, instance: Instance, number: int) -> None:
    """Pages of tools with tricks in every field have the same elements and attributes as those of plain ones."""
    token = (Path(instance.home) / "operator.token").read_text().strip()
    for slug, text in ((f"plain-{number}", "plain words"), (f"tricky-{number}", TRICKS[number])):
        answer = calling.post(
            f"{base}/v1/ops/catalog", json=catalog(slug, text), headers={"Authorization": f"Bearer {token}"}, timeout=20
        )
        assert answer.status_code == 200, answer.text
        head = calling.get(f"{base}/v1/ops/status", headers={"Authorization": f"Bearer {token}"}).json()["head"]["position"]
        calling.get(f"{base}/v1/tools?after={head}")
    for path in ("/tools/{}-a", "/compare/{0}-a-vs-{0}-b"):
        plain = _skeleton(calling.get(base + path.format(f"plain-{number}")).text)
        tricky = _skeleton(calling.get(base + path.format(f"tricky-{number}")).text)
        assert tricky == plain


def _skeleton(html: str) -> list[tuple[str, list[str]]]:
    """Give a page's elements and the names of their attributes, in order; links that a text may make or not are left out."""
    found: list[tuple[str, list[str]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, sorted(name for name, _ in attrs)))
            for name, value in attrs:
                assert not (name == "href" and (value or "").startswith("javascript:"))

    Reader().feed(html)
    return found
