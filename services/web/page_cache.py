"""Rendered pages in memory: made anew only when what they are made of is another object. Bounded, the least used goes first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from services.web.http.answers import Content
from services.web.http.pages import HTML

_MOST: Final = 256


class PageCache:
    """Pages by key, each with the objects it was made of; cards in memory stay the same objects until they change."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._pages: OrderedDict[Hashable, tuple[tuple[object, ...], Content]] = OrderedDict()

    def page(self, key: Hashable, made_of: tuple[object, ...], make: Callable[[], bytes]) -> Content:
        """Give the page under a key, made of these very objects."""
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
