"""Rendered pages in memory, rendered again only when an object that they show is another one."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from services.web.http.answers import Content
from services.web.http.pages import HTML

_MOST: Final = 256


class PageCache:
    """Pages by key, each with the objects it shows: a cached card is the same object until it changes.

    The cache is bounded: the least recently used page goes first.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._pages: OrderedDict[Hashable, tuple[tuple[object, ...], Content]] = OrderedDict()

    def page(self, key: Hashable, made_of: tuple[object, ...], make: Callable[[], bytes]) -> Content:
        """Return the page under a key that shows these very objects; `make` renders it if need be."""
        known = self._pages.get(key)
        if known is not None and all(ours is theirs for ours, theirs in zip(known[0], made_of, strict=True)):
            self._pages.move_to_end(key)
            return known[1]
        page = Content(make(), HTML)
        self._pages[key] = (made_of, page)
        self._pages.move_to_end(key)
        if len(self._pages) > self._most:
            self._pages.popitem(last=False)
        return page
