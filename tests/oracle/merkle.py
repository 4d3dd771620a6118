"""Merkle trees by the recursive definitions of RFC 6962, 2.1, over a list of leaf hashes; and their tiles, level by level."""

from collections.abc import Sequence
from hashlib import sha256

from projections.merkle import Coordinates


def root(leaves: Sequence[bytes]) -> bytes:
    """Return MTH of RFC 6962, 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    k = _largest_power(len(leaves))
    return _node(root(leaves[:k]), root(leaves[k:]))


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


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
