"""Packs: 65,536 entries of the public log in one file, for whoever wants all of it. Made once, on disk; they can be made again.

A file is named by the root of its entries, so one of another history is never taken for this one's.
"""

import asyncio
import gzip
from pathlib import Path
from typing import Final

from events.log.reads import Reads
from projections import merkle, proof
from services.private_files import replacing

ENTRIES: Final = merkle.WIDTH**2
_AT_ONCE: Final = 4096
_LEVEL: Final = 6  # of gzip


class PackBroken(Exception):
    """The entries aren't those that the tiles were made from: `ballotpress verify proof` says which."""


class PackUnwritable(Exception):
    """The folder of packs can't be written."""


class Packs:
    """The packs of a site, in a folder. One is made at a time."""

    def __init__(self, database: Reads, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._making = asyncio.Lock()

    async def read(self, number: int) -> bytes:
        """Return a pack of which every entry is in the tree; make it if it isn't there.

        Raises PackBroken, PackUnwritable.
        """
        tile = (await proof.tiles(self._database, [(1, number)]))[1, number]
        path = self._folder / f"{number}-{_fold(tile).hex()}.jsonl.gz"
        if (found := await asyncio.to_thread(_read, path)) is not None:
            return found
        async with self._making:
            if (found := await asyncio.to_thread(_read, path)) is not None:
                return found
            made = await self._make(number, tile)
            await asyncio.to_thread(_write, path, made)
        return made

    async def _make(self, number: int, tile: bytes) -> bytes:
        lines = bytearray()
        for after in range(number * ENTRIES, (number + 1) * ENTRIES, _AT_ONCE):
            entries = await proof.entries(self._database, after, after + _AT_ONCE)
            first = (after - number * ENTRIES) // merkle.WIDTH
            await asyncio.to_thread(_check, entries, tile, first)
            lines += b"\n".join(entries) + b"\n"
        return await asyncio.to_thread(gzip.compress, lines, _LEVEL, mtime=0)


def _check(entries: list[bytes], tile: bytes, first: int) -> None:
    """Check that entries hash to the hashes of a tile of level 1 from its `first` on. Raises PackBroken."""
    hashes = [merkle.leaf_hash(entry) for entry in entries]
    if len(hashes) != _AT_ONCE:
        raise PackBroken
    for at in range(0, len(hashes), merkle.WIDTH):
        place = (first + at // merkle.WIDTH) * merkle.HASH_SIZE
        if _fold(b"".join(hashes[at : at + merkle.WIDTH])) != tile[place : place + merkle.HASH_SIZE]:
            raise PackBroken


def _fold(tile: bytes) -> bytes:
    """Return the root of a full tile, which is one hash of the level above."""
    hashes = [tile[at : at + merkle.HASH_SIZE] for at in range(0, len(tile), merkle.HASH_SIZE)]
    while len(hashes) > 1:
        hashes = [merkle.node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, pack: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(pack)
    except OSError as error:
        raise PackUnwritable(f"{path.parent} can't be written ({error.strerror}): set BALLOTPRESS_PACK_DIR") from None
