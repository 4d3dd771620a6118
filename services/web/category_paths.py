"""Addresses of categories' pages: a function of the name alone, so that an address stays as long as its name does.

A name of plain words is its own address (`Developer Tools`: developer-tools). Where words say less than the name does (`C++`, a
name of another script, a long one), a digest of the name follows them: `C` and `C++` never share an address. Names that differ
in case alone do.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

MOST_WORDS: Final = 60
"""Characters of a name's words in an address."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")
_GAPS: Final = re.compile(r"[^a-z0-9]+")


@lru_cache(4096)
def category_slug(name: str) -> str:
    """Return the last step of the address of a category's page."""
    words = _GAPS.sub("-", name.lower()).strip("-")
    if _PLAIN.fullmatch(name) and len(words) <= MOST_WORDS:
        return words
    digest = blake2b(name.encode("utf-8"), digest_size=4).hexdigest()
    return f"{words[:MOST_WORDS].strip('-')}-{digest}".lstrip("-")


def category_path(name: str) -> str:
    """Return the path of a category's page."""
    return f"/categories/{category_slug(name)}"
