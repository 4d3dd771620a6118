"""Who gets markdown: those who name it, and want it no less than a page (RFC 9110, 12.5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.web.http.negotiation import asks_for

CHROMIUM = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (b"text/markdown", True),
        (b"Text/Markdown", True),
        (b"text/markdown, text/html, */*", True),
        (b"text/markdown;q=0.9, text/html;q=0.8", True),
        (b"text/html;q=0.8, text/markdown;q=0.9", True),
        (b"text/markdown ; q=0.5", True),
        (b"text/markdown;variant=GFM", True),
        (b"text/markdown;q=0.5, */*;q=0.1", True),
        (b"text/*;q=0.1, text/markdown;q=0.5, */*", True),
        (b"text/markdown;q=0.5, text/html", False),
        (b"text/markdown;q=0.5, */*", False),
        (b"text/markdown;q=0", False),
        (b"text/markdown;q=2", False),
        (b"text/markdown;q=a", False),
        (b"text/*", False),
        (b"*/*", False),
        (b"", False),
        (None, False),
        (CHROMIUM, False),
        (b"x-text/markdown", False),
    ],
)
def test_markdown_is_for_who_asks(accept: bytes | None, wanted: bool) -> None:
    """Named with a weight that is no lower than that of a page; a range alone, and a browser, get the page."""
    assert asks_for("text/markdown", accept) is wanted


@given(st.binary(max_size=200))
def test_any_header_has_an_answer(noise: bytes) -> None:
    """Whatever is sent, it is one or the other."""
    assert asks_for("text/markdown", b"text/markdown," + noise) in (True, False)
