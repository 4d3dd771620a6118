"""The public log in one file: an entry a line, and a last line that says what they are, with the note that signs them."""

import base64
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import msgspec
from asyncpg import Connection

from projections import merkle, proof
from services.proof import published, store

AT_ONCE: Final = 8192


class NothingPublished(Exception):
    """The log has no published checkpoint that covers the size; the message says so."""


class Manifest(msgspec.Struct, frozen=True):
    """The last line: the log's origin and keys, the size and root of what stands above, and a note that signs it or a part."""

    origin: str
    size: int
    root: str
    note: str
    vkeys: list[str]


async def export(
    connection: "Connection[Any]", out: BinaryIO, advance: Callable[[int, int], None], to: int | None = None
) -> Manifest:
    """Write the entries up to a size, by default the published one, and the manifest. Raises NothingPublished.

    Every entry is hashed as it is written: the root is that of the file, whatever the tiles say.
    """
    log = (await store.read(connection)).log
    newest = await published.newest(connection)
    if log is None or newest is None:
        raise NothingPublished("No checkpoint of the log has been published yet")
    size = newest.size if to is None else to
    if size > newest.size:
        raise NothingPublished(f"The published checkpoint covers {newest.size} positions, not {size}")
    note = newest.note if size == newest.size else await _note_within(connection, log.number, size)
    tree = Frontier()
    for after in range(0, size, AT_ONCE):
        entries = await proof.entries(connection, after, min(after + AT_ONCE, size))
        for entry in entries:
            tree.add(merkle.leaf_hash(entry))
        out.write(b"".join(entry + b"\n" for entry in entries))
        advance(tree.size, size)
    manifest = Manifest(newest.origin, size, base64.b64encode(tree.root()).decode(), note, list(log.vkeys))
    out.write(msgspec.json.encode({"manifest": manifest}) + b"\n")
    return manifest


async def _note_within(connection: "Connection[Any]", log: int, size: int) -> str:
    """Return the note of the last checkpoint that covers no more than a size. Raises NothingPublished."""
    sizes = [one for one, _ in await store.roots(connection, log)]
    place = bisect_right(sizes, size)
    found = await store.read_at(connection, log, sizes[place - 1]) if place else None
    if found is None:
        raise NothingPublished(f"The log's first checkpoint covers {sizes[0]:,} positions: export that many, or more")
    return found.note


class Frontier:
    """The full subtrees of a growing tree, which is all that its root needs."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Put a leaf's hash at the end."""
        hash_, rest = leaf, self.size
        while rest & 1:
            hash_, rest = merkle.node_hash(self._subtrees.pop(), hash_), rest >> 1
        self._subtrees.append(hash_)
        self.size += 1

    def root(self) -> bytes:
        """Return the root now."""
        if not self._subtrees:
            return merkle.EMPTY_ROOT
        *rest, found = self._subtrees
        while rest:
            found = merkle.node_hash(rest.pop(), found)
        return found
