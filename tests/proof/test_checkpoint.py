"""Checkpoints and proofs as C2SP's tlog-checkpoint and tlog-proof spell them."""

import pytest

from services.proof.checkpoint import Checkpoint, Proof, proof_text, read_checkpoint, read_proof, sign
from services.proof.note import Note, NoteRefused, Signer

ORIGIN = "example.com/log/1"
NEW, OLD = Signer(ORIGIN, b"n" * 32), Signer(ORIGIN, b"o" * 32)
ROOT = bytes(range(32))
CHECKPOINT = sign(ORIGIN, 123_456, ROOT, [NEW, OLD])


def signed(text: str) -> bytes:
    """Return a note of any text, rightly signed."""
    return str(Note(text, (NEW.sign(text),))).encode()


def test_a_checkpoint_is_three_lines_and_a_signature_a_key() -> None:
    """Origin, size and root; no time and no tally; each key's line verifies by itself."""
    text, lines = CHECKPOINT.note.split("\n\n")
    assert text == f"{ORIGIN}\n123456\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert [line.split(" ")[:2] for line in lines.splitlines()] == [["—", ORIGIN], ["—", ORIGIN]]
    for signer in (NEW, OLD):
        assert read_checkpoint(CHECKPOINT.note.encode(), [signer.verifier]) == CHECKPOINT


def test_a_checkpoint_of_others_may_say_more() -> None:
    """Extension lines are let be, as long as none is empty."""
    note = signed(f"{ORIGIN}\n0\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nmore\n")
    assert read_checkpoint(note, [NEW.verifier]) == Checkpoint(ORIGIN, 0, ROOT, note.decode())


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n",
        f"{ORIGIN}\n5\n",
        "\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n05\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n-5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n٥\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n9999999999999999999\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        f"{ORIGIN}\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        f"{ORIGIN}\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        f"{ORIGIN}\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    """A right signature doesn't make a size or a root of what is none."""
    with pytest.raises(NoteRefused):
        read_checkpoint(signed(text), [NEW.verifier])


@pytest.mark.parametrize("extra", [None, b"", b'{"type":"VoteCast"}'])
@pytest.mark.parametrize("hashes", [[], [b"a" * 32], [b"a" * 32, b"b" * 32, ROOT]])
def test_a_proof_is_read_as_it_was_written(extra: bytes | None, hashes: list[bytes]) -> None:
    """Extra data, index, hashes and checkpoint come back."""
    proof = Proof(extra, 73_894, hashes, CHECKPOINT)
    text = proof_text(proof)
    assert text.startswith("c2sp.org/tlog-proof@v1\n")
    assert text.endswith(f"\n\n{CHECKPOINT.note}")
    assert read_proof(text.encode(), [OLD.verifier]) == proof


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("@v1", "@v2"),
        ("index 5", "index 05"),
        ("index 5\n", ""),
        ("index 5", "Index 5"),
        ("extra eA==", "extra eB=="),
        ("YWFh", "YWFh\n"),
        ("YWFh", "YWF"),
        ("\n123456\n", "\n123457\n"),
    ],
)
def test_a_changed_proof_is_refused(found: str, instead: str) -> None:
    """Another version, another spelling, a cut hash, a changed checkpoint."""
    text = proof_text(Proof(b"x", 5, [b"a" * 32], CHECKPOINT))
    assert found in text
    with pytest.raises(NoteRefused):
        read_proof(text.replace(found, instead, 1).encode(), [NEW.verifier])
