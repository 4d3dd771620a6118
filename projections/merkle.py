"""Merkle trees of RFC 6962 on tiles of C2SP tlog-tiles, of height 8: roots, proofs and their checks, without any I/O.

A tile is up to 256 hashes of 32 bytes, joined; `(level, n)` names it. Level 0 holds the leaves, and each hash of the next level
is the root of a full tile below. A tile may be handed in with more hashes than a size needs: a smaller tree's is its prefix.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

Coordinates: TypeAlias = tuple[int, int]
Tiles: TypeAlias = Mapping[Coordinates, bytes]
_Range: TypeAlias = tuple[int, int]  # the leaves [start, end): start is a multiple of the power of two that the range fits into

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
"""The most hashes that a tile holds."""
HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


class HashMissing(LookupError):
    """A tile that is needed was not handed in, or is too short."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, 2.1)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def tile_width(level: int, n: int, size: int) -> int:
    """Return how many hashes a tile of a tree of this size has; 0 if there is no such tile."""
    return max(0, min(WIDTH, (size >> HEIGHT * level) - WIDTH * n))


def tiles_for_root(size: int) -> list[Coordinates]:
    """Return the tiles that the root is made from."""
    return _tiles_of([(0, size)])


def tiles_for_inclusion(index: int, size: int) -> list[Coordinates]:
    """Return the tiles that the proof of a leaf is made from. Raises ValueError unless the leaf is in the tree."""
    return _tiles_of(_inclusion_ranges(index, size))


def tiles_for_consistency(old: int, new: int) -> list[Coordinates]:
    """Return the tiles that the proof of a prefix is made from. Raises ValueError unless 0 < old <= new."""
    return _tiles_of(_consistency_ranges(old, new))


def root(size: int, tiles: Tiles) -> bytes:
    """Return the root of the tree of the first `size` leaves. Raises HashMissing."""
    return _hash_of((0, size), tiles) if size else EMPTY_ROOT


def inclusion(index: int, size: int, tiles: Tiles) -> list[bytes]:
    """Return the proof that a leaf is in the tree (RFC 6962, 2.1.1), nearest first. Raises ValueError or HashMissing."""
    return [_hash_of(leaves, tiles) for leaves in _inclusion_ranges(index, size)]


def consistency(old: int, new: int, tiles: Tiles) -> list[bytes]:
    """Return the proof that the tree begins with the older one (RFC 6962, 2.1.2). Raises ValueError or HashMissing."""
    return [_hash_of(leaves, tiles) for leaves in _consistency_ranges(old, new)]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether a proof shows that the tree of this size and root has this leaf hash at this index (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last, found = index, size - 1, leaf
    for hash_ in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(hash_, found)
            place, last = _past_zeros(place, last)
        else:
            found = node_hash(found, hash_)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Return whether a proof shows that a tree begins with an older one, which isn't empty (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not proof:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    found_old = found_new = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            found_old, found_new = node_hash(hash_, found_old), node_hash(hash_, found_new)
            place, last = _past_zeros(place, last)
        else:
            found_new = node_hash(found_new, hash_)
        place, last = place >> 1, last >> 1
    return last == 0 and found_old == old_root and found_new == new_root


def _past_zeros(place: int, last: int) -> tuple[int, int]:
    """Return a node and the last of its level where the node is a right child first, or alone on its level."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _are_hashes(*hashes: bytes) -> bool:
    return all(len(hash_) == HASH_SIZE for hash_ in hashes)


def _split(start: int, end: int) -> int:
    """Return where a subtree of two leaves or more divides: after the largest power of two below its number of leaves."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _inclusion_ranges(index: int, size: int) -> list[_Range]:
    """Return the subtrees beside the way from a leaf to the root."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    ranges, start, end = [], 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_ranges(old: int, new: int) -> list[_Range]:
    """Return the subtrees that both roots are made from; the first is the last of the older tree, unless that is all of it."""
    if not 0 < old <= new:
        raise ValueError(f"no proof from {old} to {new}")
    ranges, start, end = [], 0, new
    while end != old:
        middle = _split(start, end)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ([(start, end)] if start else []) + ranges[::-1]


def _subtrees(leaves: _Range) -> Iterator[tuple[int, int]]:
    """Return the full subtrees that make a range up, largest first, as height and number among those of their height."""
    start, end = leaves
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _tile_of(height: int, number: int) -> tuple[Coordinates, int, int]:
    """Return the tile that holds a full subtree's hashes, with the first of them and their number."""
    level, above = divmod(height, HEIGHT)
    n, first = divmod(number << above, WIDTH)
    return (level, n), first, 1 << above


def _tiles_of(ranges: Sequence[_Range]) -> list[Coordinates]:
    return sorted({_tile_of(*subtree)[0] for leaves in ranges for subtree in _subtrees(leaves)})


def _hash_of(leaves: _Range, tiles: Tiles) -> bytes:
    """Return the root of a range's leaves, from its full subtrees."""
    hashes = [_fold(*_tile_of(*subtree), tiles) for subtree in _subtrees(leaves)]
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found


def _fold(coordinates: Coordinates, first: int, count: int, tiles: Tiles) -> bytes:
    """Return the root of some hashes of a tile; their number is a power of two."""
    tile = tiles.get(coordinates, b"")[HASH_SIZE * first : HASH_SIZE * (first + count)]
    if len(tile) != HASH_SIZE * count:
        raise HashMissing(coordinates)
    return _folded(tile)


@lru_cache(2048)
def _folded(tile: bytes) -> bytes:
    """Return the root of some hashes; those at the tree's edge are asked for again and again."""
    hashes = [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]
