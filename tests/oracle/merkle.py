"""Merkle trees by the recursive definitions of RFC 6962, 2.1, over a list of leaf hashes; and their tiles, level by level."""

from collections.abc import Sequence
from hashlib import sha256
from typing import overload

from projections.merkle import Coordinates


class Leaves(Sequence[bytes]):
    """The leaf hashes from one place to another of a list, all of whose stretches remember the roots that were asked for."""

    def __init__(self, hashes: Sequence[bytes], start: int = 0, stop: int | None = None, roots: "Roots | None" = None) -> None:
        self._hashes, self._start = hashes, start
        self._stop = len(hashes) if stop is None else stop
        self._roots: Roots = {} if roots is None else roots

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> "Leaves": ...
    def __getitem__(self, at: int | slice) -> "bytes | Leaves":
        places = range(self._start, self._stop)[at]
        if isinstance(places, int):
            return self._hashes[places]
        return Leaves(self._hashes, places.start, places.stop, self._roots)

    def root(self) -> bytes:
        """Return MTH of RFC 6962, 2.1."""
        place = self._start, self._stop
        if place not in self._roots:
            self._roots[place] = self._by_definition()
        return self._roots[place]

    def _by_definition(self) -> bytes:
        if len(self) < 2:
            return self[0] if len(self) else sha256(b"").digest()
        k = _largest_power(len(self))
        return sha256(b"\x01" + self[:k].root() + self[k:].root()).digest()


Roots = dict[tuple[int, int], bytes]


def root(leaves: Sequence[bytes]) -> bytes:
    """Return MTH of RFC 6962, 2.1."""
    return (leaves if isinstance(leaves, Leaves) else Leaves(leaves)).root()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """Return PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = _largest_power(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), root(leaves[k:])]
    return [*path(m - k, leaves[k:]), root(leaves[:k])]


def proof(m: int, leaves: Sequence[bytes], complete: bool = True) -> list[bytes]:
    """Return PROOF of RFC 6962, 2.1.2; `complete` is the b of SUBPROOF."""
    if m == len(leaves):
        return [] if complete else [root(leaves)]
    k = _largest_power(len(leaves))
    if m <= k:
        return [*proof(m, leaves[:k], complete), root(leaves[k:])]
    return [*proof(m - k, leaves[k:], False), root(leaves[:k])]


def tiles(leaves: Sequence[bytes]) -> dict[Coordinates, bytes]:
    """Return all tiles of a tree: each level is cut into rows of 256, and each full row's root goes up."""
    built, level, hashes = {}, 0, list(leaves)
    while hashes:
        rows = [hashes[at : at + 256] for at in range(0, len(hashes), 256)]
        built.update({(level, n): b"".join(row) for n, row in enumerate(rows)})
        hashes = [root(row) for row in rows if len(row) == 256]
        level += 1
    return built


def _largest_power(n: int) -> int:
    """Return the largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k
