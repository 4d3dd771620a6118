"""Signed notes (C2SP signed-note v1.0.0): a text, a blank line, and signature lines; signed and verified with Ed25519.

A verifier's key is written `NAME+KEYID+KEY`, its vkey. Lines of unknown keys are ignored; a line of a known key that doesn't
verify refuses the whole note. What two readers could read in two ways is refused: spellings of base64, sizes, line ends.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519: Final = 1
COSIGNATURE: Final = 4
"""Types of signature: over the note's text; by a witness, over a time and the note's text (tlog-cosignature v1)."""

MOST_BYTES: Final = 1_000_000
MOST_LINES: Final = 100
_DASH: Final = "— "
_TIME_BYTES: Final = 8


class NoteRefused(Exception):
    """A note can't be read, or no known key signed it; the message says why."""


class KeyMalformed(Exception):
    """A text is no vkey of a type that is known here; the message says why."""


class Line(msgspec.Struct, frozen=True):
    """A signature line: whose it claims to be, and the signature with what its type puts before it."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line as it stands in a note, without its end."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


class Note(msgspec.Struct, frozen=True):
    """A note as it was read: nothing in its text may be believed before a known key's line was verified."""

    text: str
    lines: tuple[Line, ...]

    def __str__(self) -> str:
        """Return the note as it is published."""
        return "\n".join([self.text, *map(str, self.lines), ""])


class Verifier(msgspec.Struct, frozen=True):
    """A known key: its name, its type, and the 32 bytes of an Ed25519 public key."""

    name: str
    kind: int
    key: bytes

    @property
    def key_id(self) -> bytes:
        """Return the four bytes by which its lines are found."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:4]

    def __str__(self) -> str:
        """Return the vkey."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.key).decode()}"

    def is_of(self, line: Line) -> bool:
        """Return whether a line claims to be this key's."""
        return line.name == self.name and line.key_id == self.key_id

    def verifies(self, text: str, line: Line) -> bool:
        """Return whether a line is this key's signature of a text."""
        message, signature = text.encode(), line.signature
        if self.kind == COSIGNATURE:
            if len(signature) != _TIME_BYTES + 64:
                return False
            message, signature = cosigned(cosigned_at(line), text), signature[_TIME_BYTES:]
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key under a name."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(must_be_name(name), ED25519, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> Line:
        """Return the signature line of a text."""
        return Line(self.verifier.name, self.verifier.key_id, self._key.sign(text.encode()))


def must_be_name(name: str) -> str:
    """Return a key's name. Raises KeyMalformed for one that no note can carry."""
    if not name or "+" in name or any(letter.isspace() or ord(letter) < 0x20 for letter in name):
        raise KeyMalformed(f"{name!r} can't be the name of a key: it needs a letter, and no space and no +")
    return name


def read_vkey(text: str, kinds: Sequence[int] = (ED25519,)) -> Verifier:
    """Return the key that a vkey spells. Raises KeyMalformed, also for a key whose id isn't the key's."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = unbase64(encoded)
    if raw is None or len(raw) != 33:
        raise KeyMalformed(f"{text!r} is no vkey: NAME+KEYID+KEY, with a key of 33 bytes in base64")
    if raw[0] not in kinds:
        raise KeyMalformed(f"{text!r} is a key of type {raw[0]}, not {' or '.join(map(str, kinds))}")
    verifier = Verifier(must_be_name(name), raw[0], raw[1:])
    if key_id != verifier.key_id.hex():
        raise KeyMalformed(f"{text!r} says that its id is {key_id}; that of its key is {verifier.key_id.hex()}")
    return verifier


def read_note(raw: bytes) -> Note:
    """Return the note that some bytes spell. Raises NoteRefused."""
    if len(raw) > MOST_BYTES:
        raise NoteRefused(f"A note may have {MOST_BYTES} bytes")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NoteRefused("The note isn't UTF-8") from None
    if any(letter < " " and letter != "\n" for letter in whole):
        raise NoteRefused("The note holds a control character")
    text, gap, lines = whole.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise NoteRefused("The note has no signature lines after a blank line, each with an end")
    return Note(f"{text}\n", read_lines(lines))


def read_lines(lines: str) -> tuple[Line, ...]:
    """Return signature lines, each of which must end. Raises NoteRefused."""
    *split, rest = lines.split("\n")
    if rest or not split or len(split) > MOST_LINES:
        raise NoteRefused(f"A note has 1 to {MOST_LINES} signature lines, each with an end")
    return tuple(map(_line, split))


def _line(text: str) -> Line:
    name, _, encoded = text.removeprefix(_DASH).partition(" ")
    raw = unbase64(encoded)
    if not text.startswith(_DASH) or raw is None or len(raw) < 5:
        raise NoteRefused(f"{text[:80]!r} is no signature line")
    try:
        return Line(must_be_name(name), raw[:4], raw[4:])
    except KeyMalformed as error:
        raise NoteRefused(str(error)) from None


def verified(note: Note, known: Sequence[Verifier]) -> tuple[Line, ...]:
    """Return the lines of known keys, one a key, all of them right.

    Raises NoteRefused if a line of a known key is wrong, or there is none.
    """
    found: dict[Verifier, Line] = {}
    for line in note.lines:
        for verifier in known:
            if verifier.is_of(line):
                if not verifier.verifies(note.text, line):
                    raise NoteRefused(f"The signature of {line.name} is wrong")
                found.setdefault(verifier, line)
    if not found:
        raise NoteRefused("No known key signed the note")
    return tuple(found.values())


def cosigned(seconds: int, text: str) -> bytes:
    """Return what a witness signs: that it saw this checkpoint at a Unix time (tlog-cosignature v1)."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def cosigned_at(line: Line) -> int:
    """Return the Unix time in a witness's line."""
    (seconds,) = struct.unpack(">Q", line.signature[:_TIME_BYTES])
    return int(seconds)


def unbase64(text: str) -> bytes | None:
    """Return the bytes that a text spells in its one spelling of base64 (RFC 4648, 4); None for any other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None
