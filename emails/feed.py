"""Atom feeds (RFC 4287): of the archive of issues, and of verdicts."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree import ElementTree

NAMESPACE = "http://www.w3.org/2005/Atom"

_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # all but XML 1.0 2.2, and quicker to compile


class Entry(NamedTuple):
    """An entry: its page, title, times, HTML without anything personal, its id if that isn't the page, and its category."""

    url: str
    title: str
    summary: str
    published: datetime
    updated: datetime
    html: str | None = None
    id: str | None = None
    category: str | None = None


def atom(
    title: str,
    base_url: str,
    entries: Sequence[Entry],
    *,
    began: datetime,
    feed_url: str | None = None,
    page_url: str | None = None,
) -> bytes:
    """Write a feed of a page; `began` dates it while it has no entries.

    Times must know their zone. Raises ValueError if one doesn't.
    """
    feed_url = feed_url or f"{base_url}/feed.xml"
    feed = ElementTree.Element("feed", {"xmlns": NAMESPACE, "xml:lang": "en"})
    _add(feed, "id", feed_url)
    _add(feed, "title", title)
    _add(feed, "updated", _time(max((entry.updated for entry in entries), default=began)))
    ElementTree.SubElement(feed, "link", {"rel": "self", "type": "application/atom+xml", "href": feed_url})
    ElementTree.SubElement(feed, "link", {"rel": "alternate", "type": "text/html", "href": page_url or f"{base_url}/"})
    _add(ElementTree.SubElement(feed, "author"), "name", title)
    for entry in entries:
        _add_entry(feed, entry)
    written: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add_entry(feed: ElementTree.Element, entry: Entry) -> None:
    element = ElementTree.SubElement(feed, "entry")
    _add(element, "id", entry.id or entry.url)
    _add(element, "title", entry.title)
    _add(element, "published", _time(entry.published))
    _add(element, "updated", _time(entry.updated))
    ElementTree.SubElement(element, "link", {"rel": "alternate", "type": "text/html", "href": entry.url})
    if entry.category is not None:
        ElementTree.SubElement(element, "category", {"term": _FORBIDDEN.sub("", entry.category)})
    _add(element, "summary", entry.summary)
    if entry.html is not None:
        _add(element, "content", entry.html, type="html")


def _add(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, name, attributes).text = _FORBIDDEN.sub("", text)


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a time in a feed knows its zone")
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
