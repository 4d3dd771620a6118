"""Merkle trees on tiles: roots and proofs by RFC 6962's own definition, and no proof but the right one accepted."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import merkle
from tests.oracle import merkle as oracle

VECTORS = msgspec.json.decode((Path(__file__).parents[1] / "vectors" / "merkle.json").read_bytes())

LARGEST = 66_000
NEAR = [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537]

near = st.sampled_from(NEAR) | st.integers(0, 1_100) | st.integers(0, LARGEST)
sizes = near.filter(lambda size: size > 0)


@cache
def leaves() -> oracle.Leaves:
    """Return the leaves of the largest tree: not before a test runs, since every worker imports this."""
    return oracle.Leaves([merkle.leaf_hash(str(n).encode()) for n in range(LARGEST)])


@cache
def all_tiles() -> dict[merkle.Coordinates, bytes]:
    """Return the tiles of the largest tree: each smaller one is made from their prefixes."""
    return oracle.tiles(leaves())


@cache
def oracle_root(size: int) -> bytes:
    """Return the root of a tree of the first leaves."""
    return oracle.root(leaves()[:size])


def only(needed: list[merkle.Coordinates], size: int) -> dict[merkle.Coordinates, bytes]:
    """Give the tiles of a tree of this size that are said to be needed, and nothing else."""
    return {(level, n): all_tiles()[level, n][: 32 * merkle.tile_width(level, n, size)] for level, n in needed}


@pytest.mark.parametrize("size", NEAR)
def test_the_tiles_of_a_size_are_prefixes_of_a_larger_trees(size: int) -> None:
    """Widths say how much of each tile a size has: cut to them, the tiles of a larger tree are its own."""
    cut = {at: tile[: 32 * merkle.tile_width(*at, size)] for at, tile in all_tiles().items()}
    assert {at: tile for at, tile in cut.items() if tile} == oracle.tiles(leaves()[:size])


@settings(deadline=None)
@given(size=near)
def test_a_root_is_that_of_the_definition(size: int) -> None:
    """The root of any size comes from the tiles that are said to be needed, at most one a level, cut or not."""
    needed = merkle.tiles_for_root(size)
    assert len(needed) <= 3
    assert merkle.root(size, only(needed, size)) == merkle.root(size, all_tiles()) == oracle_root(size)


@settings(deadline=None)
@given(size=sizes, data=st.data())
def test_an_inclusion_proof_is_that_of_the_definition_and_verifies(size: int, data: st.DataObject) -> None:
    """A proof that a leaf is in a tree is PATH of RFC 6962, made from at most two tiles a level."""
    index = data.draw(near.filter(lambda index: index < size))
    needed = merkle.tiles_for_inclusion(index, size)
    assert len(needed) <= 6
    proof = merkle.inclusion(index, size, only(needed, size))
    assert proof == oracle.path(index, leaves()[:size])
    assert merkle.verify_inclusion(index, size, leaves()[index], proof, oracle_root(size))


@settings(deadline=None)
@given(new=sizes, data=st.data())
def test_a_consistency_proof_is_that_of_the_definition_and_verifies(new: int, data: st.DataObject) -> None:
    """A proof that a tree begins with an older one is PROOF of RFC 6962."""
    old = data.draw(sizes.filter(lambda old: old <= new))
    proof = merkle.consistency(old, new, only(merkle.tiles_for_consistency(old, new), new))
    assert proof == oracle.proof(old, leaves()[:new])
    assert merkle.verify_consistency(old, new, proof, oracle_root(old), oracle_root(new))


def mutations(proof: list[bytes]) -> list[list[bytes]]:
    """Give proofs that differ: a bit flipped in each hash, one left out, twice, added, two swapped, one cut."""
    flipped = [[*proof[:at], bytes([one[0] ^ 1]) + one[1:], *proof[at + 1 :]] for at, one in enumerate(proof)]
    without = [[*proof[:at], *proof[at + 1 :]] for at in range(len(proof))]
    twice = [[*proof[:at], one, *proof[at:]] for at, one in enumerate(proof)]
    swapped = [[*proof[:at], proof[at + 1], proof[at], *proof[at + 2 :]] for at in range(len(proof) - 1)]
    cut = [[*proof[:at], one[:31], *proof[at + 1 :]] for at, one in enumerate(proof)]
    added = [[leaves()[0], *proof], [*proof, leaves()[0]], [*proof, b""], [b"", *proof]]
    return [other for other in (*flipped, *without, *twice, *swapped, *cut, *added) if other != proof]


@settings(deadline=None)
@given(size=sizes, data=st.data())
def test_no_other_inclusion_proof_is_accepted(size: int, data: st.DataObject) -> None:
    """Every change to proof, leaf or root is refused, and so is the proof for another leaf."""
    index = data.draw(st.integers(0, size - 1))
    leaf, proof, root = leaves()[index], merkle.inclusion(index, size, all_tiles()), oracle_root(size)
    for other in mutations(proof):
        assert not merkle.verify_inclusion(index, size, leaf, other, root)
    for another in {index - 1, index + 1, index ^ 1, 0, size - 1, size, -1} - {index}:
        assert not merkle.verify_inclusion(another, size, leaf, proof, root)
    for wrong in (root[:31], root + b"\0", bytes(32), b""):
        assert not merkle.verify_inclusion(index, size, leaf, proof, wrong)
        assert not merkle.verify_inclusion(index, size, wrong, proof, root)
    assert not merkle.verify_inclusion(index, 0, leaf, proof, merkle.EMPTY_ROOT)


@settings(deadline=None)
@given(new=sizes, data=st.data())
def test_no_other_consistency_proof_is_accepted(new: int, data: st.DataObject) -> None:
    """Every change to proof or roots is refused, and so is the proof of another size of the older tree."""
    old = data.draw(st.integers(1, new))
    proof, old_root, new_root = merkle.consistency(old, new, all_tiles()), oracle_root(old), oracle_root(new)
    for other in mutations(proof):
        assert not merkle.verify_consistency(old, new, other, old_root, new_root)
    for another in {old - 1, old + 1, new, new + 1, 0, -1} - {old}:
        assert not merkle.verify_consistency(another, new, proof, old_root, new_root)
    for wrong in (bytes(32), b"", old_root[:31]):
        assert not merkle.verify_consistency(old, new, proof, wrong, new_root)
        assert not merkle.verify_consistency(old, new, proof, old_root, wrong)
    if old < new:
        assert not merkle.verify_consistency(new, old, proof, new_root, old_root)


def test_a_tile_that_is_needed_is_asked_for_by_name() -> None:
    """A tile that is missing or too short is an error that names it, never a hash of less; so is a leaf beyond the tree."""
    for tiles in ({}, {(0, 1): all_tiles()[0, 1][:31]}):
        with pytest.raises(merkle.HashMissing, match=r"\(0, 1\)"):
            merkle.root(257, {(1, 0): all_tiles()[1, 0], **tiles})
    for index, size in ((0, 0), (1, 1), (-1, 1)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion(index, size, all_tiles())
    for old, new in ((0, 1), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="no proof"):
            merkle.consistency(old, new, all_tiles())


def test_a_tree_of_a_trillion_leaves_needs_a_few_tiles() -> None:
    """Sizes are bounded by the view's five levels alone."""
    assert merkle.tiles_for_root(256**5)[-1] == (5, 0)
    assert len(merkle.tiles_for_inclusion(12_345_678, 987_654_321_987)) <= 10
    assert merkle.tile_width(4, 0, 987_654_321_987) == 229


def _bytes(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def _proof(case: dict[str, Any]) -> list[bytes]:
    return [_bytes(one) for one in case["proof"] or ()]


def is_hash(*texts: str) -> bool:
    """Say whether these are hashes: we refuse any other root, though some accept it."""
    return all(len(_bytes(text)) == 32 for text in texts)


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["name"])
def test_inclusion_vectors(case: dict[str, Any]) -> None:
    """We accept and refuse what others do."""
    leaf, root = _bytes(case["leafHash"]), _bytes(case["root"])
    accepted = merkle.verify_inclusion(case["leafIdx"], case["treeSize"], leaf, _proof(case), root)
    assert accepted == (not case["wantErr"] and is_hash(case["root"]))


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["name"])
def test_consistency_vectors(case: dict[str, Any]) -> None:
    """We accept and refuse what others do."""
    roots = _bytes(case["root1"]), _bytes(case["root2"])
    accepted = merkle.verify_consistency(case["size1"], case["size2"], _proof(case), *roots)
    assert accepted == (not case["wantErr"] and is_hash(case["root1"], case["root2"]))


def test_there_are_196_vectors_and_we_refuse_one_more() -> None:
    """The file is whole, and of what others accept one is refused here: roots that aren't hashes, though they are equal."""
    assert len(VECTORS["inclusion"]) == len(VECTORS["consistency"]) == 98
    accepted = [case for case in VECTORS["consistency"] if not case["wantErr"]]
    refused = [case["name"] for case in accepted if not is_hash(case["root1"], case["root2"])]
    assert refused == ["additional/sizes-are-equal-one-and-proof-is-empty"]
    assert all(is_hash(case["root"], case["leafHash"]) for case in VECTORS["inclusion"] if not case["wantErr"])
