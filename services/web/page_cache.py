"""What pages rest on, kept in memory: rendered pages until an object that they show is another one, answers for a while."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Final, Generic, TypeVar

from services.web.http.answers import Content
from services.web.http.pages import HTML

_MOST: Final = 256

T = TypeVar("T")


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


class Kept(Generic[T]):
    """Answers by key, asked for again when they are so many seconds old; the least recently used goes first.

    While one caller asks again, all others are given what was known.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._answers: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    async def of(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return the answer under a key; `read` gets it if need be."""
        known = self._answers.get(key)
        if known is None or monotonic() - known[0] > self._seconds:
            if known is not None:
                self._answers[key] = (monotonic(), known[1])
            known = self._answers[key] = (monotonic(), await read())
            if len(self._answers) > self._most:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        return known[1]
