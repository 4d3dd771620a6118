"""Atom feeds as their readers read them."""

import re
from xml.etree import ElementTree

from emails.feed import NAMESPACE

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def read(feed: bytes) -> ElementTree.Element:
    """Parse a feed and check what RFC 4287 requires of every feed and entry."""
    root = ElementTree.fromstring(feed)
    assert root.tag == f"{{{NAMESPACE}}}feed" and feed.startswith(b"<?xml")
    for element in (root, *every(root, "entry")):
        assert [len(every(element, name)) for name in ("id", "title", "updated")] == [1, 1, 1]  # 4.1.1, 4.1.2
        assert every(element, "id")[0].text
        assert RFC_3339.fullmatch(every(element, "updated")[0].text or "")
    assert len(every(root, "author")) == 1 and every(every(root, "author")[0], "name")[0].text
    assert [link.get("rel") for link in every(root, "link")] == ["self", "alternate"]
    assert all(every(each, "link")[0].get("rel") == "alternate" for each in every(root, "entry"))
    ids = [every(each, "id")[0].text for each in every(root, "entry")]
    assert len(ids) == len(set(ids))
    return root


def every(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the direct children of this name."""
    return element.findall(f"{{{NAMESPACE}}}{name}")
