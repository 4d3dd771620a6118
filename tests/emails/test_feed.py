"""The feed: all that RFC 4287 requires, and text that stays text."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emails.feed import Entry, atom
from tests.support.feeds import every, read

SITE = "https://verdicts.example.com"
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def entry(number: int, title: str = "Title", html: str | None = None) -> Entry:
    """Return an issue's entry."""
    at = MONDAY + timedelta(weeks=number)
    return Entry(f"{SITE}/issues/{number}", title, "What is in it", at, at + timedelta(hours=1), html)


def test_a_feed_has_what_readers_need() -> None:
    """Entries are there in order, dated in UTC, and the feed is as new as its newest entry."""
    root = read(atom("Weekly AI Tool Verdicts", SITE, [entry(2, html="<p>Hi</p>"), entry(1)], began=MONDAY))
    assert [every(each, "id")[0].text for each in every(root, "entry")] == [f"{SITE}/issues/2", f"{SITE}/issues/1"]
    assert every(root, "updated")[0].text == "2026-12-07T10:00:00Z"
    assert every(every(root, "entry")[0], "content")[0].get("type") == "html"


def test_an_empty_feed_is_valid() -> None:
    """Before the first issue there is a feed to subscribe to."""
    root = read(atom("Weekly AI Tool Verdicts", SITE, [], began=MONDAY))
    assert every(root, "updated")[0].text == "2026-11-23T09:00:00Z"


@given(st.text())
def test_any_text_keeps_the_feed_well_formed(text: str) -> None:
    """Markup in a title or page is shown as text; what XML can't hold is left out."""
    root = read(atom(f"T{text}", SITE, [entry(1, f"T{text}", text)], began=MONDAY))
    allowed = re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    as_parsed = re.sub("\r\n?", "\n", allowed)
    assert re.sub("\r\n?", "\n", every(every(root, "entry")[0], "title")[0].text or "") == f"T{as_parsed}"


def test_times_are_told_in_utc() -> None:
    """A time from another zone is converted; one without a zone is refused."""
    elsewhere = datetime(2026, 11, 23, 11, 0, tzinfo=timezone(timedelta(hours=2)))
    assert every(read(atom("T", SITE, [], began=elsewhere)), "updated")[0].text == "2026-11-23T09:00:00Z"
    with pytest.raises(ValueError):
        atom("T", SITE, [], began=elsewhere.replace(tzinfo=None))
