"""Whether the tree still begins with what was signed: asked before each signature, and by whoever takes a signed note back.

A signature that contradicts an older one can never be taken back, so whatever doubts remain, nothing is signed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from asyncpg import Connection

from projections import merkle, proof
from services.proof import store, witnesses
from services.proof.checkpoint import Checkpoint
from services.proof.store import Log, State

MOST_REHASHED: Final = 50_000
"""So many entries are hashed anew to name the very position that differs."""

_BRING_BACK: Final = (
    "bring the lost positions back (the WAL archive, the old primary); only if they are lost for good,"
    " `ballotpress proof restart --reason TEXT` says so openly: see docs/operating.md"
)
_RESTORE: Final = (
    "restore what was changed from a backup, then `ballotpress replay proof`; only if it is lost for good,"
    " `ballotpress proof restart --reason TEXT` says so openly: see docs/operating.md"
)


class Refused(Exception):
    """Nothing may be signed; the message says why, and `advice` what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


class NotYet(Exception):
    """The view hasn't come as far as what was signed, though the log has: wait for it."""


async def root_at(connection: "Connection[Any]", size: int) -> bytes:
    """Return the root of the tree of the first `size` entries. Raises HashMissing if the view has fewer."""
    return merkle.root(size, await proof.tiles(connection, merkle.tiles_for_root(size)))


async def must_continue(connection: "Connection[Any]", state: State, held: Checkpoint | None, path: Path) -> None:
    """Check that the log holds all that was ever signed, by the database and by the second memory.

    Raises Refused, or NotYet while the view can't tell.
    """
    if state.last is not None and state.head < state.last.size:
        raise Refused(
            f"the log ends at position {state.head}, and {state.last.size} positions were signed:"
            f" {_positions(state.head, state.last.size)} gone",
            _BRING_BACK,
        )
    if held is not None:
        await _must_know(connection, state, held, path)
    if state.log is not None:
        await _must_not_be_disputed(connection, state, state.log)
    if state.last is not None:
        await must_extend(connection, state, state.last)


async def _must_know(connection: "Connection[Any]", state: State, held: Checkpoint, path: Path) -> None:
    """Check that the second memory isn't ahead of the database."""
    log = state.log
    if log is None:
        raise Refused(
            f"{path} holds a checkpoint ({held}), and the database knows of none",
            f"`ballotpress proof resume {path}` goes on from it, if the log still holds what it says",
        )
    if held.origin != log.origin:
        if held.origin in await store.former_origins(connection, log.number):
            return
        raise Refused(
            f"{path} holds a checkpoint of {held.origin}, and this log is {log.origin}",
            "put the file of this log back, or restore the database that belongs to the file",
        )
    if held.size <= state.signed:
        await must_extend(connection, state, held)
        return
    if state.head < held.size:
        raise Refused(
            f"the log ends at position {state.head}, and {path} says that {held.size} were signed:"
            f" {_positions(state.head, held.size)} gone",
            _BRING_BACK,
        )
    await must_extend(connection, state, held)
    raise Refused(
        f"{path} holds the checkpoint of size {held.size}, and the database none beyond {state.signed};"
        " the log still holds what it says",
        f"`ballotpress proof resume {path}` goes on from it",
    )


async def _must_not_be_disputed(connection: "Connection[Any]", state: State, log: Log) -> None:
    """Check that no witness knows more of the log than the database does, or another history of it."""
    for name, seen in (await witnesses.asked(connection, log.number)).items():
        if seen.size > state.signed:
            raise Refused(
                f"the witness {name} knows {seen.size} positions of this log, and the database none beyond {state.signed}",
                f"{_BRING_BACK}. If the witness errs: `ballotpress proof witness remove {name}`",
            )
        if seen.disputed:
            raise Refused(
                f"the witness {name} knows another history of this log: {seen.failed}",
                f"{_RESTORE}. If the witness errs: `ballotpress proof witness remove {name}`",
            )


async def must_extend(connection: "Connection[Any]", state: State, old: Checkpoint) -> None:
    """Check that the tree begins with that of a checkpoint. Raises Refused, which names what differs, or NotYet."""
    if await proof.size(connection) < old.size:
        raise NotYet
    if await root_at(connection, old.size) == old.root:
        return
    low, high = await differs(connection, state, old)
    raise Refused(
        f"the log isn't the one that was signed: {_positions(low, high)} not what {old.size} was signed with", _RESTORE
    )


def _positions(low: int, high: int) -> str:
    """Say which positions `(low, high]` are meant, as the beginning of "... gone"."""
    return f"position {high} is" if high - low == 1 else f"of the positions from {low + 1} to {high}, some or all are"


async def differs(connection: "Connection[Any]", state: State, old: Checkpoint) -> tuple[int, int]:
    """Return the positions `(low, high]` of which the first differs from what was signed.

    Of the signed roots that are kept, a binary search over the tiles finds the first that doesn't fit. Between it and the one
    before, the entry whose hash isn't the one in the tiles is the very position.
    """
    kept = [] if state.log is None else await store.roots(connection, state.log.number)
    signed = [one for one in kept if one[0] < old.size] + [(old.size, old.root)]
    found = await first_wrong(connection, signed[:-1])
    low, high = (signed[found - 1][0] if found else 0), signed[found][0]
    changed = await changed_entry(connection, low, high)
    return (low, high) if changed is None else (changed - 1, changed)


async def first_wrong(connection: "Connection[Any]", signed: Sequence[tuple[int, bytes]]) -> int:
    """Return the index of the first of some rising roots that the tree doesn't have; their number if it has them all."""
    low, high = 0, len(signed)
    while low < high:
        middle = (low + high) // 2
        size, root = signed[middle]
        if await root_at(connection, size) == root:
            low = middle + 1
        else:
            high = middle
    return low


async def changed_entry(connection: "Connection[Any]", low: int, high: int) -> int | None:
    """Return the first position in `(low, high]` whose entry isn't the one that the tiles were made from.

    None if there is none, or if it would take too long to look.
    """
    if high - low > MOST_REHASHED:
        return None
    for n in range(low // merkle.WIDTH, -(-high // merkle.WIDTH)):
        tile = (await proof.tiles(connection, [(0, n)])).get((0, n), b"")
        after = n * merkle.WIDTH
        entries = await proof.entries(connection, after, after + len(tile) // merkle.HASH_SIZE)
        hashes = [tile[at : at + merkle.HASH_SIZE] for at in range(0, len(tile), merkle.HASH_SIZE)]
        for position, (entry, hash_) in enumerate(zip(entries, hashes, strict=False), after + 1):
            if low < position <= high and merkle.leaf_hash(entry) != hash_:
                return position
    return None
