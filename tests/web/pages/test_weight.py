"""What a page costs and what it asks for."""

import re

import pytest
from playwright.sync_api import Request

from tests.support import calling
from tests.support.browser import Windows


def test_a_compare_page_is_at_most_40_kb_in_4_requests(window: Windows, base: str) -> None:
    """HTML, style and script come packed, in at most four requests with the stream of tallies, and nothing from elsewhere."""
    page = window()
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.goto(f"{base}/compare/ollama-vs-llama-cpp", wait_until="load")
    page.get_by_text("Live", exact=True).wait_for()
    loaded = [request.url for request in asked if not request.url.startswith("data:")]
    assert len(loaded) <= 4
    assert all(url.startswith(base) for url in loaded)
    sizes = [_size(url) for url in loaded if "/live" not in url]
    assert sum(sizes) <= 40_000, sizes


def _size(url: str) -> int:
    with calling.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        return sum(len(chunk) for chunk in answer.iter_raw())


def test_static_files_are_kept_for_ever_under_names_that_change(base: str) -> None:
    """A page names its style and script by their content, and they are immutable; an unknown name is 404."""
    names = re.findall(r'"(/static/[^"]+)"', calling.get(base).text)
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"/static/\w+\.[0-9a-f]{12}\.(css|js)", name)
        assert "immutable" in calling.get(base + name).headers["cache-control"]
    assert calling.get(f"{base}/static/site.000000000000.css").status_code == 404


@pytest.mark.parametrize("path", ["/compare/ollama-vs-llama-cpp", "/tools/ollama", "/"])
def test_a_page_that_is_there_already_is_not_sent_again(base: str, path: str) -> None:
    """A page carries an ETag and answers 304, whoever asks: a visitor's cookie changes nothing of it."""
    first = calling.get(base + path)
    assert first.headers["cache-control"].startswith("public")
    assert calling.get(base + path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    token = calling.post(f"{base}/v1/visitors").json()["token"]
    own = calling.get(base + path, headers={"Cookie": f"ballotpress_visitor={token}"})
    assert (own.headers["etag"], own.headers["vary"]) == (first.headers["etag"], first.headers["vary"])
    assert "Cookie" not in first.headers["vary"]
