"""Signed notes: what C2SP's signed-note says, against signatures of others, and whatever could be read in two ways."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from services.proof.note import (
    COSIGNATURE,
    ED25519,
    KeyMalformed,
    Line,
    Note,
    NoteRefused,
    Signer,
    Verifier,
    cosigned,
    read_note,
    read_vkey,
    verified,
)

GO = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
SPEC_NOTE = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""
VECTORS = json.loads(Path(__file__).with_name("ed25519_test.json").read_text())
CASES = [
    pytest.param(group["publicKey"]["pk"], test["msg"], test["sig"], test["result"], id=str(test["tcId"]))
    for group in VECTORS["testGroups"]
    for test in group["tests"]
]
OURS = Signer("example.com/log/1", b"k" * 32)
OTHER = Signer("example.com/log/1", b"o" * 32)
TEXT = "example.com/log/1\n5\nnothing\n"


def test_there_are_151_vectors() -> None:
    """None of them is lost on the way here."""
    assert len(CASES) == VECTORS["numberOfTests"] == 151


@pytest.mark.parametrize(("key", "message", "signature", "result"), CASES)
def test_signatures_of_wycheproof(key: str, message: str, signature: str, result: str) -> None:
    """A signature verifies exactly when Wycheproof says so; what it calls acceptable may."""
    verifier, line = Verifier("w", ED25519, bytes.fromhex(key)), Line("w", b"1234", bytes.fromhex(signature))

    class Raw(str):
        """The message of a vector, which need not be text."""

        def encode(self, *_: Any) -> bytes:
            return bytes.fromhex(message)

    if result != "acceptable":
        assert verifier.verifies(Raw(), line) == (result == "valid")


def test_a_note_of_go_verifies() -> None:
    """The note in the documentation of Go's own package is read, and written again byte for byte."""
    note = read_note(GO_NOTE.encode())
    assert [line.name for line in verified(note, [read_vkey(GO)])] == ["PeterNeumann"]
    assert str(note) == GO_NOTE
    assert str(read_vkey(GO)) == GO


def test_the_note_of_the_specification_is_read() -> None:
    """A text may have empty lines: the last one parts it from the signatures. Of an unknown key, nothing is believed."""
    note = read_note(SPEC_NOTE.encode())
    assert note.text.endswith("\n\ned è subito sera.\n")
    assert (note.lines[0].name, note.lines[0].key_id.hex()) == ("quasimodo.example/salvatore", "367ba04b")
    assert str(note) == SPEC_NOTE
    with pytest.raises(NoteRefused, match="No known key"):
        verified(note, [OURS.verifier])


def test_lines_of_unknown_keys_are_ignored() -> None:
    """So is one that shares its name or its id, but not both, with a known key."""
    named, numbered = Line(OURS.verifier.name, b"none", b"x" * 64), Line("someone", OURS.verifier.key_id, b"x" * 64)
    note = Note(TEXT, (named, OTHER.sign(TEXT), OURS.sign(TEXT), numbered))
    assert verified(read_note(str(note).encode()), [OURS.verifier]) == (OURS.sign(TEXT),)


def test_a_wrong_line_of_a_known_key_refuses_the_note() -> None:
    """Even beside a right one, of the same key or of another."""
    wrong = Line(OURS.verifier.name, OURS.verifier.key_id, OTHER.sign(TEXT).signature)
    for lines in ((wrong, OURS.sign(TEXT)), (OURS.sign(TEXT), wrong), (OTHER.sign(TEXT), wrong)):
        with pytest.raises(NoteRefused, match="wrong"):
            verified(Note(TEXT, lines), [OURS.verifier, OTHER.verifier])


def test_a_changed_text_is_refused() -> None:
    """A signature holds for its own text alone."""
    changed = Note(TEXT.replace("5", "6"), (OURS.sign(TEXT),))
    with pytest.raises(NoteRefused, match="wrong"):
        verified(changed, [OURS.verifier])


def test_a_witness_signs_a_time_too() -> None:
    """A cosignature is over its time and the text; another time, or a signature of the text alone, doesn't verify."""
    key = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    witness = Verifier("witness.example", COSIGNATURE, key.public_key().public_bytes_raw())

    def line(seconds: int, message: bytes) -> Line:
        return Line(witness.name, witness.key_id, struct.pack(">Q", seconds) + key.sign(message))

    assert witness.verifies(TEXT, line(1_700_000_000, cosigned(1_700_000_000, TEXT)))
    assert not witness.verifies(TEXT, line(1_700_000_001, cosigned(1_700_000_000, TEXT)))
    assert not witness.verifies(TEXT, line(1_700_000_000, TEXT.encode()))
    assert not witness.verifies(TEXT, Line(witness.name, witness.key_id, key.sign(TEXT.encode())))


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "no signature\n",
        GO_NOTE[:-1],
        GO_NOTE + "\n",
        GO_NOTE.replace("—", "-"),
        GO_NOTE.replace("— ", "—"),
        GO_NOTE.replace(" x08", "  x08"),
        GO_NOTE.replace("\n", "\r\n"),
        GO_NOTE.replace("problem is", "problem\tis"),
        GO_NOTE.replace("AM=", "AM"),
        GO_NOTE.replace("AM=", "AN="),
        GO_NOTE.replace("PeterNeumann", "Peter+Neumann"),
        GO_NOTE.replace("PeterNeumann", "Peter\u2003Neumann"),
        GO_NOTE.replace(
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=", "x08gow=="
        ),
        GO_NOTE + "— x\n",
        "text\n\n" + GO_NOTE.splitlines()[-1] * 101,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(broken: str) -> None:
    """Missing or further line ends, control characters, other dashes, other spellings of base64, names that no key has."""
    with pytest.raises(NoteRefused):
        verified(read_note(broken.encode()), [read_vkey(GO)])


def test_a_note_is_utf8_and_not_endless() -> None:
    """Broken UTF-8 and a megabyte of text are refused before anything else is looked at; 16 signatures are taken."""
    with pytest.raises(NoteRefused):
        read_note(GO_NOTE.encode() + b"\xff")
    with pytest.raises(NoteRefused):
        read_note(b"x" * 1_000_001)
    many = Note(TEXT, (*(Signer(f"w{n}", bytes([n]) * 32).sign(TEXT) for n in range(15)), OURS.sign(TEXT)))
    assert verified(read_note(str(many).encode()), [OURS.verifier])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+c74f20a3",
        GO.replace("c74f20a3", "c74f20a4"),
        GO.replace("c74f20a3", "C74F20A3"),
        GO.replace("Peter", "Pater"),
        GO.removeprefix("PeterNeumann"),
        GO + "=",
        GO.replace("ARpc", "AhpC"),
        f"w+{'0' * 8}+{base64.b64encode(bytes([COSIGNATURE]) + b'k' * 32).decode()}",
    ],
)
def test_a_key_that_contradicts_itself_is_refused(vkey: str) -> None:
    """Its id must be that of its name, type and key, and its type one that was asked for."""
    with pytest.raises(KeyMalformed):
        read_vkey(vkey)


@given(st.binary(max_size=300))
def test_no_bytes_are_read_as_a_note_and_written_as_another(raw: bytes) -> None:
    """Whatever is read is written again byte for byte."""
    try:
        note = read_note(raw)
    except NoteRefused:
        return
    assert str(note).encode() == raw


@given(st.integers(0, len(GO_NOTE.encode()) - 1), st.integers(1, 255))
def test_no_change_of_a_byte_goes_unseen(place: int, change: int) -> None:
    """A note with any byte changed is refused, unless nobody's signature is left in it."""
    raw = bytearray(GO_NOTE.encode())
    raw[place] ^= change
    with pytest.raises(NoteRefused):
        verified(read_note(bytes(raw)), [read_vkey(GO)])
