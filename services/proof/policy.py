"""Which witnesses must have cosigned a checkpoint: a policy in the format of C2SP's tlog-policy."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Final

import msgspec

from services.proof.note import COSIGNATURE, ED25519, KeyMalformed, Verifier, read_vkey

NONE: Final = "none"


class PolicyMalformed(Exception):
    """A policy can't be read; the message names the line and says why."""


class Witness(msgspec.Struct, frozen=True):
    """Who cosigns: a key, and the prefix of the address where it is asked, None if nobody asks it."""

    verifier: Verifier
    url: str | None


class Group(msgspec.Struct, frozen=True):
    """At least `least` of some members, each a witness's or a group's name."""

    least: int
    members: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """The witnesses and groups by their names in the policy, and the name of the one that must have cosigned."""

    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    @property
    def asks(self) -> bool:
        """Return whether any cosignature is asked for."""
        return self.quorum != NONE

    def is_met(self, cosigners: Set[bytes], name: str | None = None) -> bool:
        """Return whether the witnesses of these public keys are enough (for the one named, by default for the quorum)."""
        name = self.quorum if name is None else name
        if name == NONE:
            return True
        if (witness := self.witnesses.get(name)) is not None:
            return witness.verifier.key in cosigners
        group = self.groups[name]
        return sum(self.is_met(cosigners, member) for member in group.members) >= group.least


NO_QUORUM: Final = Policy({}, {}, NONE)


def read_policy(raw: bytes) -> Policy:
    """Return the policy that some bytes spell. Raises PolicyMalformed."""
    if any((octet < 0x20 and octet not in (0x09, 0x0A)) or octet == 0x7F for octet in raw):
        raise PolicyMalformed("The policy holds a control character")
    reader = _Reader()
    for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = line.replace("\t", " ").split(" ")
        if (words := [word for word in words if word]) and not words[0].startswith("#"):
            try:
                reader.take(words)
            except (KeyMalformed, ValueError) as error:
                raise PolicyMalformed(f"Line {number} of the policy: {error}") from None
    if reader.quorum is None:
        raise PolicyMalformed("The policy has no line `quorum NAME`, or `quorum none`")
    return Policy(reader.witnesses, reader.groups, reader.quorum)


def policy_at(path: Path | None) -> Policy:
    """Return the policy in a file; without one, no cosignature is asked for. Raises PolicyMalformed."""
    if path is None:
        return NO_QUORUM
    try:
        return read_policy(path.read_bytes())
    except OSError as error:
        raise PolicyMalformed(f"The policy {path} can't be read: {error.strerror}") from None


class _Reader:
    """Takes a policy's lines, and knows what stood in those before. Each method raises ValueError or KeyMalformed."""

    def __init__(self) -> None:
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._logs: set[bytes] = set()
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        """Take in one line."""
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(vkey)
            case ["witness", name, vkey]:
                self._witness(name, vkey, None)
            case ["witness", name, vkey, url]:
                self._witness(name, vkey, url)
            case ["group", name, least, *members] if members:
                self._group(name, least, tuple(members))
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise ValueError("it is none of `log`, `witness`, `group`, `quorum` with what belongs to it")

    def _log(self, vkey: str) -> None:
        key = read_vkey(vkey, (ED25519, COSIGNATURE)).key
        if key in self._logs:
            raise ValueError("this log's key stands there twice")
        self._logs.add(key)

    def _witness(self, name: str, vkey: str, url: str | None) -> None:
        verifier = read_vkey(vkey, (COSIGNATURE,))
        if any(known.verifier.key == verifier.key for known in self.witnesses.values()):
            raise ValueError("this witness's key stands there twice")
        self.witnesses[self._new(name)] = Witness(verifier, url)

    def _group(self, name: str, least: str, members: tuple[str, ...]) -> None:
        if unknown := [member for member in members if member not in self.witnesses and member not in self.groups]:
            raise ValueError(f"{unknown[0]!r} is no witness or group of a line before")
        if len(set(members)) < len(members) or self._members & set(members):
            raise ValueError("a name may be a member only once")
        words = {"all": len(members), "any": 1}
        number = words.get(least) or (int(least) if least.isascii() and least.isdecimal() else 0)
        if not 1 <= number <= len(members):
            raise ValueError(f"{least!r} must be all, any, or a number from 1 to {len(members)}")
        self._members |= set(members)
        self.groups[self._new(name)] = Group(number, members)

    def _quorum(self, name: str) -> None:
        if self.quorum is not None:
            raise ValueError("there is a second line `quorum`")
        if name != NONE and name not in self.witnesses and name not in self.groups:
            raise ValueError(f"{name!r} is no witness or group of a line before")
        self.quorum = name

    def _new(self, name: str) -> str:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise ValueError(f"the name {name!r} is taken")
        return name
