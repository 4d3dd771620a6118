"""What this process knows of the public log: the published checkpoints, kept in step with the signer, and tiles read before."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeAlias

from asyncpg import Pool

from events.log import postgres
from projections import merkle, proof
from projections.merkle import Coordinates
from services.proof import published
from services.proof.checkpoint import Checkpoint
from services.proof.published import Published
from services.web.http.answers import Answer, Content, Versioned
from services.web.http.networks import Network, Places
from services.web.http.problems import NotFound, Refusal

TEXT: Final = b"text/plain; charset=utf-8"
BYTES: Final = b"application/octet-stream"
FOREVER: Final = ((b"cache-control", b"public, max-age=31536000, immutable"),)
A_MOMENT: Final = ((b"cache-control", b"public, max-age=2"),)
PATIENCE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0
EAGER_SECONDS: Final = 0.1
MOST_WAITERS: Final = 1000
NETWORK_WAITERS: Final = 100
MOST_TILES: Final = 1000
MOST_KEPT: Final = 16 * 2**20
"""Bytes of tiles."""

Tile: TypeAlias = tuple[int | None, int, int]
"""Level (None: entries), number, width."""


class NotSignedYet(Refusal):
    """No published checkpoint covers the position in time."""


class TooManyWaitForProof(Refusal):
    """As many wait for a checkpoint as there are places for."""


class TileAway(Refusal):
    """The view of the tree lacks what was published: it is being made anew."""


class Incarnation:
    """A published log: its checkpoint, its key, and how much of it can be served."""

    __slots__ = ("_answer", "checkpoint", "served", "vkey")

    def __init__(self, found: Published) -> None:
        self.checkpoint = found.checkpoint
        self.vkey = found.vkey
        self.served = found.checkpoint.size if found.common is None else min(found.common, found.checkpoint.size)
        self._answer = Versioned(found.checkpoint.note.encode(), cache=A_MOMENT, media=TEXT)

    def checkpoint_answer(self, if_none_match: bytes | None) -> Answer:
        """Answer a request for the checkpoint."""
        return self._answer.answer(if_none_match)


class PublicTree:
    """The published logs of a site; the last is the present one."""

    def __init__(self, database: "Pool[Any]") -> None:
        self._database = database
        self._logs: Mapping[str, Incarnation] = {}
        self._found: Sequence[Published] = ()
        self._wake = asyncio.Event()
        self._grown = asyncio.Event()
        self._places = Places(MOST_WAITERS, NETWORK_WAITERS)
        self._kept: OrderedDict[Tile, tuple[Versioned | Content, int]] = OrderedDict()
        self._kept_bytes = 0
        self._tiles: dict[Coordinates, bytes] = {}

    def wake(self) -> None:
        """Look for a new checkpoint: the signer has published one."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the published checkpoints in memory until cancelled."""
        while True:
            self._wake.clear()
            with suppress(*postgres.FAILED):  # what was known stays until the database answers again
                self._take(await published.read(self._database))
            with suppress(TimeoutError):
                async with asyncio.timeout(EAGER_SECONDS if self._places.taken else LOOK_SECONDS):
                    await self._wake.wait()

    def _take(self, found: Sequence[Published]) -> None:
        if found == self._found:
            return
        if [one.log for one in found] != [one.log for one in self._found]:  # a new log may hold other entries
            self._kept.clear()
            self._kept_bytes = 0
            self._tiles.clear()
        self._logs = {str(one.log): Incarnation(one) for one in found}
        self._found = found
        self._grown.set()
        self._grown = asyncio.Event()

    def incarnation(self, log: str) -> Incarnation:
        """Return a published log. Raises NotFound."""
        if (found := self._logs.get(log)) is None:
            raise NotFound("No checkpoint of such a log has been published.")
        return found

    @property
    def present(self) -> Incarnation:
        """The present log. Raises NotFound before its first checkpoint."""
        if not self._found:
            raise NotFound("No checkpoint of the log has been published yet.")
        return self._logs[str(self._found[-1].log)]

    @property
    def newest(self) -> Checkpoint:
        """The newest checkpoint of the present log. Raises NotFound before the first."""
        return self.present.checkpoint

    async def covering(self, position: int, network: Network) -> Checkpoint:
        """Return a published checkpoint that covers a position. Raises NotSignedYet after 2 s, TooManyWaitForProof."""
        if self._found and self._found[-1].checkpoint.size >= position:
            return self._found[-1].checkpoint
        if not self._places.take(network):
            raise TooManyWaitForProof("Too many wait for a checkpoint; try again.")
        try:
            return await self._wait_for(position)
        finally:
            self._places.leave(network)

    async def _wait_for(self, position: int) -> Checkpoint:
        deadline = monotonic() + PATIENCE_SECONDS
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while monotonic() < deadline:
                    await self._grown.wait()
                    if self.newest.size >= position:
                        return self.newest
        raise NotSignedYet("No published checkpoint covers this position yet; try again.")

    async def tile(self, asked: Tile) -> Versioned | Content:
        """Return a tile as it is served, which the caller knows to be published. Raises TileAway."""
        if (known := self._kept.get(asked)) is not None:
            self._kept.move_to_end(asked)
            return known[0]
        made, size = await self._read(asked)
        if asked not in self._kept:
            self._kept[asked] = made, size
            self._kept_bytes += size
        while self._kept_bytes > MOST_KEPT:
            _, (_, gone) = self._kept.popitem(last=False)
            self._kept_bytes -= gone
        return made

    async def _read(self, asked: Tile) -> tuple[Versioned | Content, int]:
        level, n, width = asked
        if level is not None:
            tile = (await proof.tiles(self._database, [(level, n)])).get((level, n), b"")[: width * merkle.HASH_SIZE]
            if len(tile) != width * merkle.HASH_SIZE:
                raise TileAway("The tree is being made anew; try again.")
            return Versioned(tile, cache=FOREVER, media=BYTES), len(tile)
        entries = await proof.entries(self._database, n * merkle.WIDTH, n * merkle.WIDTH + width)
        if len(entries) != width:
            raise TileAway("The log lacks entries that were published; see /health/ready.")
        body = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        return Content(body, BYTES), 2 * len(body)

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that a leaf is in a published tree. Raises TileAway."""
        return merkle.inclusion(index, size, await self._read_tiles(merkle.tiles_for_inclusion(index, size), size))

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that a published tree begins with an older one. Raises TileAway."""
        return merkle.consistency(old, new, await self._read_tiles(merkle.tiles_for_consistency(old, new), new))

    async def entry(self, position: int) -> bytes:
        """Return the entry at a published position. Raises TileAway."""
        entries = await proof.entries(self._database, position - 1, position)
        if not entries:
            raise TileAway("The log lacks an entry that was published; see /health/ready.")
        return entries[0]

    async def _read_tiles(self, wanted: Sequence[Coordinates], size: int) -> Mapping[Coordinates, bytes]:
        """Return the tiles that a published tree needs: hashes are only ever put behind others, so a kept tile stays right."""
        if lacking := [at for at in wanted if len(self._tiles.get(at, b"")) < _bytes_of(at, size)]:
            if len(self._tiles) > MOST_TILES:
                self._tiles.clear()
            self._tiles.update(await proof.tiles(self._database, lacking))
        found = {at: self._tiles.get(at, b"") for at in wanted}
        if any(len(tile) < _bytes_of(at, size) for at, tile in found.items()):
            raise TileAway("The tree is being made anew; try again.")
        return found


def _bytes_of(tile: Coordinates, size: int) -> int:
    """Return how many bytes of a tile the tree of a size has."""
    return merkle.HASH_SIZE * merkle.tile_width(*tile, size)
