"""Checkpoints (C2SP tlog-checkpoint v1.0.0) and proofs (tlog-proof): what the log says of itself, to be kept by anybody."""

import base64
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from services.proof.note import Note, NoteRefused, Signer, Verifier, read_note, unbase64, verified

HASH_BYTES: Final = 32
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_PROOF: Final = "c2sp.org/tlog-proof@v1"


class Checkpoint(msgspec.Struct, frozen=True):
    """The size and root of the tree of a log, with the note that says so, as it is published."""

    origin: str
    size: int
    root: bytes
    note: str

    def __str__(self) -> str:
        """Return the checkpoint in words."""
        return f"{self.origin} at {self.size}, root {base64.b64encode(self.root).decode()}"


class Proof(msgspec.Struct, frozen=True):
    """That an entry stands at an index of the tree of a checkpoint; nobody vouches for `extra`."""

    extra: bytes | None
    index: int
    hashes: Sequence[bytes]
    checkpoint: Checkpoint


def text_of(origin: str, size: int, root: bytes) -> str:
    """Return the text that a checkpoint's signatures are over."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign(origin: str, size: int, root: bytes, signers: Sequence[Signer]) -> Checkpoint:
    """Return a checkpoint under the signatures of all these keys."""
    text = text_of(origin, size, root)
    return Checkpoint(origin, size, root, str(Note(text, tuple(signer.sign(text) for signer in signers))))


def read_text(note: Note) -> Checkpoint:
    """Return the checkpoint that a note's text spells, whoever signed it. Raises NoteRefused.

    Ours have no extension lines; those of others may.
    """
    origin, size, root, *more = [*note.text.split("\n"), "", ""][: max(4, note.text.count("\n") + 1)]
    decoded = unbase64(root)
    if not origin or not _SIZE.fullmatch(size) or int(size) >= 2**63 or decoded is None or len(decoded) != HASH_BYTES:
        raise NoteRefused("The note isn't a checkpoint: an origin, a size and a root, a line each")
    if not more or more[-1] or not all(more[:-1]):
        raise NoteRefused("The checkpoint has an empty line")
    return Checkpoint(origin, int(size), decoded, str(note))


def read_checkpoint(raw: bytes, known: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint that a note of known keys spells. Raises NoteRefused."""
    note = read_note(raw)
    verified(note, known)
    return read_text(note)


def proof_text(proof: Proof) -> str:
    """Return a proof as it is published."""
    extra = [] if proof.extra is None else [f"extra {base64.b64encode(proof.extra).decode()}"]
    hashes = [base64.b64encode(one).decode() for one in proof.hashes]
    return "\n".join([_PROOF, *extra, f"index {proof.index}", *hashes, "", proof.checkpoint.note])


def read_proof(raw: bytes, known: Sequence[Verifier]) -> Proof:
    """Return the proof that a text spells, under a checkpoint of known keys; its hashes are yet to be checked.

    Raises NoteRefused.
    """
    head, gap, note = raw.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if not gap or lines.pop(0) != _PROOF:
        raise NoteRefused(f"The proof doesn't begin with {_PROOF}, or has no checkpoint")
    extra = _after("extra ", lines)
    index = _after("index ", lines)
    decoded = None if extra is None else unbase64(extra)
    if (extra is not None and decoded is None) or index is None or not _SIZE.fullmatch(index):
        raise NoteRefused("The proof has no index, or its extra data isn't base64")
    hashes = [unbase64(line) for line in lines]
    if any(one is None or len(one) != HASH_BYTES for one in hashes):
        raise NoteRefused("A line of the proof isn't a hash in base64")
    return Proof(decoded, int(index), [one for one in hashes if one is not None], read_checkpoint(note, known))


def _after(word: str, lines: list[str]) -> str | None:
    """Take the first line away if it begins with a word, and return the rest of it."""
    return lines.pop(0).removeprefix(word) if lines and lines[0].startswith(word) else None
