"""Drawn pictures: each is drawn once, beside the event loop, and kept by all that it shows.

One thread draws, so however many pictures are asked for, they take one core at most. Few wait for it, and of one network fewer:
whoever asks for pictures that nobody has asked for before is refused before others wait long.
"""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.web.faces import Face
from services.web.http.answers import FOR_EVER, Versioned
from services.web.http.networks import Network, Places
from services.web.http.problems import Refusal
from services.web.http.shared import tagged

PNG: Final = b"image/png"
MOST_WAITING: Final = 24
"""Pictures under way at once: the last of them is drawn within a second."""
NETWORK_WAITING: Final = 6
MOST_KEPT: Final = 400
"""Some 12 MB."""
FIVE_MINUTES: Final = ((b"cache-control", b"public, max-age=300, stale-while-revalidate=86400"),)


class TooManyDrawings(Refusal):
    """As many pictures are being drawn as there is time for."""


class Picture:
    """A picture as it is answered: for ever where its address names a position that is signed, else for a few minutes."""

    __slots__ = ("passing", "standing")

    def __init__(self, png: bytes, *tools: str) -> None:
        self.standing = Versioned(png, cache=FOR_EVER, media=PNG)
        self.passing = Versioned(png, cache=(*FIVE_MINUTES, *tagged(*tools)), media=PNG)


class Drawings:
    """The pictures of one process; the least recently used goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Face, Picture] = OrderedDict()
        self._under_way: dict[Face, asyncio.Task[Picture]] = {}
        self._places = Places(MOST_WAITING, NETWORK_WAITING)
        self._thread = ThreadPoolExecutor(1, "drawing")

    async def picture(self, face: Face, network: Network) -> Picture:
        """Return the picture of a face, drawn now if nobody has asked for an equal one. Raises TooManyDrawings."""
        known = self._kept.get(face)
        if known is not None:
            self._kept.move_to_end(face)
            return known
        task = self._under_way.get(face)
        if task is None:
            if not self._places.take(network):
                raise TooManyDrawings("Too many pictures are being drawn; try again in a moment.")
            task = self._under_way[face] = asyncio.create_task(self._draw(face, network))
        return await asyncio.shield(task)  # others may wait for it too, and it is kept in any case

    async def _draw(self, face: Face, network: Network) -> Picture:
        try:
            png = await asyncio.get_running_loop().run_in_executor(self._thread, _draw, face)
        finally:
            self._places.leave(network)
            del self._under_way[face]
        self._kept[face] = picture = Picture(png, *(tool.slug for tool in face.subjects))
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return picture


def _draw(face: Face) -> bytes:
    from services.web.card_drawing import draw  # it loads slowly, with its fonts

    return draw(face)
