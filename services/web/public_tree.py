"""What this process knows of the public log: the published checkpoints, kept in step with the signer, and tiles read before."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, TypeAlias

import msgspec

from events.log import postgres
from events.log.reads import Reads
from projections import merkle, proof
from projections.merkle import Coordinates
from services.proof import published
from services.proof.checkpoint import Checkpoint
from services.proof.published import Published
from services.web.http.answers import FOR_EVER, Answer, Content, Headers, Versioned
from services.web.http.networks import Network, Places
from services.web.http.problems import NotFound, Refusal

TEXT: Final = b"text/plain; charset=utf-8"
BYTES: Final = b"application/octet-stream"
FOR_NOBODY: Final = ((b"cache-control", b"no-store"),)
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


class Served(msgspec.Struct, frozen=True):
    """A tile that can be answered with, who may keep it, and its size in bytes."""

    content: Versioned | Content
    cache: Headers
    bytes: int


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


def _histories(found: Sequence[Published]) -> list[tuple[int, int]]:
    """Return what tells logs whose tiles may differ: their numbers, and how often the site's log went back."""
    return [(one.log, one.rewinds) for one in found]


class PublicTree:
    """The published logs of a site; the last is the present one."""

    def __init__(self, database: Reads) -> None:
        self._database = database
        self._logs: Mapping[str, Incarnation] = {}
        self._found: Sequence[Published] = ()
        self._wake = asyncio.Event()
        self._grown = asyncio.Event()
        self._places = Places(MOST_WAITERS, NETWORK_WAITERS)
        self._kept: OrderedDict[Tile, Served] = OrderedDict()
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
        if _histories(found) != _histories(self._found):  # it may hold other entries
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

    async def tile(self, asked: Tile) -> Served:
        """Return a tile as it is served, which the caller knows to be published. Raises TileAway.

        One that doesn't lead to the signed root is shown too, as evidence, but may be kept by nobody: it may be mended.
        """
        if (known := self._kept.get(asked)) is not None:
            self._kept.move_to_end(asked)
            return known
        body, hashes = await self._read(asked)
        cache = FOR_EVER if await self._is_signed(asked, hashes) else FOR_NOBODY
        made = Served(
            Versioned(body, cache=cache, media=BYTES) if asked[0] is not None else Content(body, BYTES), cache, len(body)
        )
        if cache is FOR_EVER and asked not in self._kept:
            self._kept[asked] = made
            self._kept_bytes += made.bytes
        while self._kept_bytes > MOST_KEPT:
            self._kept_bytes -= self._kept.popitem(last=False)[1].bytes
        return made

    async def _read(self, asked: Tile) -> tuple[bytes, bytes]:
        """Return what is served of a tile, and its hashes."""
        level, n, width = asked
        if level is not None:
            tile = (await proof.tiles(self._database, [(level, n)])).get((level, n), b"")[: width * merkle.HASH_SIZE]
            if len(tile) != width * merkle.HASH_SIZE:
                raise TileAway("The tree is being made anew; try again.")
            return tile, tile
        entries = await proof.entries(self._database, n * merkle.WIDTH, n * merkle.WIDTH + width)
        if len(entries) != width:
            raise TileAway("The log lacks entries that were published; see /health/ready.")
        body = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        return body, b"".join(merkle.leaf_hash(entry) for entry in entries)

    async def _is_signed(self, asked: Tile, hashes: bytes) -> bool:
        """Return whether a tile leads to the signed root: the proof of its first leaf is folded from all that it holds."""
        level, n, _ = asked
        try:
            await self.inclusion(n * merkle.WIDTH ** ((level or 0) + 1), self.newest.size)
        except TileAway:
            return False
        return self._tiles.get((level or 0, n), b"").startswith(hashes)

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that a leaf is in a published tree. Raises TileAway, also if it doesn't lead to the signed root."""
        root = await self._root(size)
        tiles = await self._read_tiles(merkle.tiles_for_inclusion(index, size), size)
        hashes = merkle.inclusion(index, size, tiles)
        n, place = divmod(index, merkle.WIDTH)
        leaf = (await self._read_tiles([(0, n)], size))[0, n][place * merkle.HASH_SIZE : (place + 1) * merkle.HASH_SIZE]
        self._must_hold(merkle.verify_inclusion(index, size, leaf, hashes, root))
        return hashes

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that a published tree begins with an older one. Raises TileAway as above."""
        root = await self._root(new)
        tiles = await self._read_tiles(merkle.tiles_for_consistency(old, new), new)
        hashes = merkle.consistency(old, new, tiles)
        older = merkle.root(old, await self._read_tiles(merkle.tiles_for_root(old), old))
        self._must_hold(merkle.verify_consistency(old, new, hashes, older, root))
        return hashes

    async def _root(self, size: int) -> bytes:
        """Return the root of a published size, which leads to the signed one. Raises TileAway."""
        newest = self.newest
        if size == newest.size:
            return newest.root
        await self.consistency(size, newest.size)
        return merkle.root(size, await self._read_tiles(merkle.tiles_for_root(size), size))

    def _must_hold(self, holds: bool) -> None:
        """Forget every tile if a proof from them is wrong: the database may hold better ones by now. Raises TileAway."""
        if not holds:
            self._tiles.clear()
            raise TileAway("The tree doesn't lead to the signed root; see /health/ready, and try again.")

    async def entry(self, position: int) -> bytes:
        """Return the entry at a published position. Raises TileAway."""
        entries = await proof.entries(self._database, position - 1, position)
        if not entries:
            raise TileAway("The log lacks an entry that was published; see /health/ready.")
        return entries[0]

    async def _read_tiles(self, wanted: Sequence[Coordinates], size: int) -> Mapping[Coordinates, bytes]:
        """Return the tiles that a published tree needs, from memory if they are long enough: hashes are put behind others."""
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
