#!/usr/bin/env python3
"""Check the public log of a Ballotpress site: that nobody rewrote it, and that it adds up to what the site shows.

    verify.py https://example.com                              everything; next time only what is new is fetched
    verify.py https://example.com --mail issue-40.eml          and that nothing changed since that mail, and its numbers
    verify.py log.jsonl --checkpoint note.txt --key VKEY       an export, without a network
    verify.py --proof vote.tlog-proof --key VKEY               one vote's receipt

Exits 0 if all is right, 1 if it could not be checked, 2 if something is inconsistent (then both sides are kept in the folder
`evidence`), 3 if the site declared a loss of entries that you hold a proof of. It is one file, for Python 3.9 or later and its
standard library alone, so that it can be read whole and kept: get it from elsewhere than from the site that it checks. The
formats and rules are in docs/proof.md of the project, in the same order as the parts of this file.
"""

from __future__ import annotations

import argparse
import base64
import email
import email.policy
import hashlib
import http.client
import json
import math
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, NamedTuple, NoReturn, Optional, Set, TextIO, Tuple

sha256 = hashlib.sha256


def say(*words: str, sep: str = " ", file: Optional[TextIO] = None) -> None:
    """Print words, of which the site made some: what a terminal would obey instead of showing is spelled out."""
    text = sep.join(words)
    print("".join(c if c == "\n" or c.isprintable() else ascii(c)[1:-1] for c in text), file=file)


class CannotCheck(Exception):
    """Nothing can be said: something is missing, unreachable or not what it was said to be. Exit 1."""


class Inconsistent(Exception):
    """The log contradicts itself, its signatures or its site. `evidence` holds what to keep, by file name. Exit 2."""

    def __init__(self, message: str, **evidence: str) -> None:
        super().__init__(message)
        self.evidence = evidence


class DeclaredLoss(Exception):
    """The site said itself that entries were lost which a note at hand covers. Exit 3."""


# ---- Ed25519 (RFC 8032, 5.1.7), signed notes, checkpoints, cosignatures and policies (C2SP) ----

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = Tuple[int, int, int, int]


def _add(a: Point, b: Point) -> Point:
    x, y = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = y - x, d - c, d + c, y + x
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _point(raw: bytes) -> Optional[Point]:
    """Return the point of the curve that 32 bytes encode (RFC 8032, 5.1.3); None if they encode none."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature of a message is by the key of these 32 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(key), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or BASE is None or s >= ORDER:
        return False
    hashed = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little")
    left, right = _times(s, BASE), _add(r, _times(hashed % ORDER, a))
    return not (left[0] * right[2] - right[0] * left[2]) % P and not (left[1] * right[2] - right[1] * left[2]) % P


LOG_KEY, WITNESS_KEY = 1, 4
MOST_OF_NOTE, MOST_LINES = 1_000_000, 100


class Key(NamedTuple):
    """A verifier's key: `kind` is 1 for a log's signatures, 4 for a witness's cosignatures; `text` is how it was written."""

    name: str
    id: bytes
    kind: int
    raw: bytes
    text: str


class Note(NamedTuple):
    """A checkpoint with its signatures, as (name, key id, signature); `text` is what they sign, `whole` all of it."""

    text: str
    origin: str
    size: int
    root: bytes
    signatures: list[tuple[str, bytes, bytes]]
    whole: str


def unbase64(text: str, what: str) -> bytes:
    """Return what a text of base64 says, in its one spelling. Raises CannotCheck."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise CannotCheck(f"{what} is no base64: {text[:80]!r}")
    return raw


def must_be_name(name: str) -> None:
    """Check that a name can be a key's. Raises CannotCheck."""
    if not name or any(letter.isspace() or letter < " " or letter == "+" for letter in name):
        raise CannotCheck(f"This is no name of a key: {name[:80]!r}")


def read_key(vkey: str) -> Key:
    """Read a verifier's key, `NAME+ID+KEY`. Raises CannotCheck."""
    parts = vkey.strip().split("+", 2)
    if len(parts) != 3:
        raise CannotCheck(f"This is no key: {vkey.strip()!r}. A key is NAME+ID+KEY, as at /log/1/log.vkey")
    raw = unbase64(parts[2], "The key")
    id_ = sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    must_be_name(parts[0])
    if id_.hex() != parts[1] or len(raw) != 33 or raw[0] not in (LOG_KEY, WITNESS_KEY):
        raise CannotCheck(f"This key is damaged, or of a kind that is not known here: {vkey.strip()!r}")
    return Key(parts[0], id_, raw[0], raw[1:], vkey.strip())


CHECKPOINT = re.compile(
    r"(?P<text>(?P<origin>[^\n]+)\n(?P<size>0|[1-9]\d{0,15})\n(?P<root>[A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*)\n"
    r"(?P<lines>(?:\u2014 [^\n]+\n)+)"
)


def read_note(whole: str) -> Note:
    """Read a signed checkpoint; its signatures are not looked at. Raises CannotCheck."""
    found = CHECKPOINT.fullmatch(whole) if len(whole) <= MOST_OF_NOTE else None
    if not found or found["lines"].count("\n") > MOST_LINES:
        raise CannotCheck(f"This is no signed checkpoint: {whole[:200]!r}")
    signatures = []
    for line in found["lines"][:-1].split("\n"):
        name, _, signature = line[2:].rpartition(" ")
        must_be_name(name)
        raw = unbase64(signature, "A signature")
        signatures.append((name, raw[:4], raw[4:]))
    return Note(found["text"], found["origin"], int(found["size"]), unbase64(found["root"], "The root"), signatures, whole)


def signed_at(note: Note, key: Key) -> Optional[int]:
    """Return when a key signed a checkpoint: 0 for a log's key, which says no time; None if it didn't. Raises Inconsistent."""
    when = None
    for name, id_, signature in note.signatures:
        if (name, id_) != (key.name, key.id):
            continue
        message, moment = note.text.encode(), 0
        if key.kind == WITNESS_KEY:
            moment, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = b"cosignature/v1\ntime %d\n" % moment + message
        if not ed25519(key.raw, message, signature):
            raise Inconsistent(f"The signature of {name} on the checkpoint of size {note.size} is wrong", newer_note=note.whole)
        when = moment
    return when


class Policy:
    """Who must have cosigned a checkpoint: C2SP tlog-policy. Without a file, every witness that is named."""

    def __init__(self, witnesses: Iterable[str] = (), file: Optional[str] = None) -> None:
        self.logs: list[Key] = []
        self.witnesses = {vkey: read_key(vkey) for vkey in witnesses}
        self.groups: dict[str, tuple[int, list[str]]] = {"none": (0, [])}
        self.quorum: Optional[str] = None
        for line in (file or "").splitlines():
            if line.strip(" \t") and not line.strip(" \t").startswith("#"):
                self._take(line.split())
        if file is not None and self.quorum is None:
            raise CannotCheck("The policy has no quorum")

    def _take(self, words: list[str]) -> None:
        names = {*self.witnesses, *self.groups}
        if words[0] == "log" and len(words) in (2, 3):
            self.logs.append(read_key(words[1]))
        elif words[0] == "witness" and len(words) in (3, 4) and words[1] not in names:
            self.witnesses[words[1]] = read_key(words[2])
        elif words[0] == "group" and len(words) > 3 and words[1] not in names and set(words[3:]) <= names - {"none"}:
            members = words[3:]
            least = {"any": "1", "all": str(len(members))}.get(words[2], words[2])
            if not least.isdigit() or not 1 <= int(least) <= len(members):
                raise CannotCheck(f"The policy's group {words[1]} can't take {words[2]} of {len(members)}")
            self.groups[words[1]] = (int(least), members)
        elif words[0] == "quorum" and len(words) == 2 and words[1] in names and self.quorum is None:
            self.quorum = words[1]
        else:
            raise CannotCheck(f"The policy has a line that can't be followed: {' '.join(words)!r}")

    def times(self, note: Note) -> dict[str, int]:
        """Return when each witness cosigned a checkpoint, by the witness's name here. Raises Inconsistent."""
        found = {name: signed_at(note, key) for name, key in self.witnesses.items()}
        return {name: when for name, when in found.items() if when is not None}

    def is_met(self, cosigners: Iterable[str]) -> bool:
        """Return whether these witnesses are enough."""
        met, names = set(cosigners), list(self.witnesses)
        for name, (least, members) in self.groups.items():
            if sum(member in met for member in members) >= least:
                met.add(name)
        return self.quorum in met if self.quorum is not None else set(names) <= met


# ---- the Merkle tree (RFC 6962, 2.1; RFC 9162, 2.1.3) and its tiles (C2SP tlog-tiles) ----

WIDTH = 256
Tile = Callable[[int, int, bytes], None]


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two hashes."""
    return sha256(b"\1" + left + right).digest()


def fold(hashes: list[bytes]) -> bytes:
    """Return the root of a tree of these hashes; there must be one at least."""
    while len(hashes) > 1:
        odd = hashes[-1:] if len(hashes) & 1 else []
        hashes = [sha256(b"\1" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2])] + odd
    return hashes[0]


class Tree:
    """A tree that grows at its right edge, of which only the last tile of each level is kept. `tile` is told of each tile."""

    def __init__(self, tile: Tile) -> None:
        self.size = 0
        self._rows: list[list[bytes]] = [[]]
        self._tile = tile

    def add(self, leaves: list[bytes]) -> None:
        """Add leaves that stay within one tile."""
        self.size += len(leaves)
        self._rows[0] += leaves
        level = 0
        while len(self._rows[level]) == WIDTH:
            row, self._rows[level] = self._rows[level], []
            self._tile(level, self.size // WIDTH ** (level + 1) - 1, b"".join(row))
            if len(self._rows) == level + 1:
                self._rows.append([])
            level += 1
            self._rows[level].append(fold(row))

    def end(self) -> None:
        """Tell of the tiles at the edge, which are not full."""
        for level, row in enumerate(self._rows):
            if row:
                self._tile(level, self.size // WIDTH ** (level + 1), b"".join(row))

    def root(self) -> bytes:
        """Return the root of what was added so far."""
        rest: list[bytes] = []
        for row in self._rows:
            rest = [fold(row + rest)] if row or rest else []
        return rest[0] if rest else sha256(b"").digest()


def root_by_inclusion(index: int, size: int, leaf: bytes, proof: list[bytes]) -> Optional[bytes]:
    """Return the root that an inclusion proof leads to (RFC 9162, 2.1.3.2); None if the proof doesn't fit the place."""
    if not 0 <= index < size or any(len(part) != 32 for part in [leaf, *proof]):
        return None
    node, last, found = index, size - 1, leaf
    for part in proof:
        if last == 0:
            return None
        if node & 1 or node == last:
            found = node_hash(part, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, part)
        node, last = node >> 1, last >> 1
    return found if last == 0 else None


def prove_prefix(old: int, leaves: list[bytes]) -> list[bytes]:
    """Return the proof that `old` of these leaves are their beginning (RFC 6962, 2.1.2)."""
    proof: list[bytes] = []
    whole = True
    while old != len(leaves):
        middle = 1 << (len(leaves) - 1).bit_length() - 1
        if old <= middle:
            proof.append(fold(leaves[middle:]))
            leaves = leaves[:middle]
        else:
            proof.append(fold(leaves[:middle]))
            leaves, old, whole = leaves[middle:], old - middle, False
    return ([] if whole else [fold(leaves)]) + proof[::-1]


# ---- the log: a file of entries, one a line; position p is line p and leaf p − 1 ----


class Log:
    """Entries in a file, of which the first `size` are looked at, and where every 256th begins."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self._begins: list[int] = []

    def until(self, size: int) -> Log:
        """Return the beginning of this log."""
        log = Log(self.path, size)
        log._begins = self._begins
        return log

    def lines(self) -> Iterator[bytes]:
        """Yield the entries in order, each with the newline after it. Raises CannotCheck if there are too few."""
        number = 0
        with self.path.open("rb") as file:
            for line in islice(file, self.size):
                number += 1
                yield line
        if number < self.size:
            raise CannotCheck(f"{self.path} holds {number} entries, fewer than the {self.size} of the checkpoint")

    def entry(self, position: int) -> bytes:
        """Return the entry at a position."""
        with self.path.open("rb") as file:
            file.seek(self._begins[(position - 1) // WIDTH])
            return next(islice(file, (position - 1) % WIDTH, None))[:-1]

    def fold(self, sizes: Iterable[int], tile: Tile) -> dict[int, bytes]:
        """Return the roots of the trees of these many entries, and tell of every tile on the way."""
        wanted = {size for size in sizes if size <= self.size}
        tree, begin = Tree(tile), 0
        roots = {0: tree.root()}
        lines = self.lines()
        self._begins = []
        while chunk := list(islice(lines, WIDTH)):
            self._begins.append(begin)
            begin += sum(map(len, chunk))
            leaves = [sha256(b"\0" + line[:-1]).digest() for line in chunk]
            cuts = sorted(size - tree.size for size in wanted if tree.size < size < tree.size + len(chunk))
            for start, stop in zip([0, *cuts], [*cuts, len(chunk)]):
                tree.add(leaves[start:stop])
                if tree.size in wanted:
                    roots[tree.size] = tree.root()
        tree.end()
        return roots

    def leaves(self) -> list[bytes]:
        """Return the leaf hashes of all entries."""
        return [leaf_hash(line[:-1]) for line in self.lines()]


# ---- the recount: what entries may say, and what they add up to ----

MINUTE, ID, BALLOT, CHOICE = r"(0|[1-9]\d{0,9})", r"([A-Za-z0-9_-]{21}[AQgw])", r"([0-9a-f]{32})", r"(ship|skip)"
OF_BALLOT = f'","minute":{MINUTE},"tool":"{ID}","ballot":"{BALLOT}"'
VOTE_FORM = (
    rf'\{{"type":"Vote(?:Cast{OF_BALLOT},"choice":"{CHOICE}"(?:,"previous":"{CHOICE}")?'
    rf'|Retracted{OF_BALLOT},"previous":"{CHOICE}")\}}'
)
VOTE = re.compile(VOTE_FORM.encode() + rb"\n")
SEALED = re.compile(rb'\{"sealed":"[0-9a-f]{64}"\}\n')
PUBLIC = re.compile(rf'\{{"type":"([A-Za-z]+)","minute":{MINUTE},"data":(\{{.*\}})\}}\n'.encode())
FIELD = re.compile(r"[a-z][a-z0-9_]*")
NAMING = {"ToolAdded", "ToolRenamed", "FormerSlugAdded"}
CATALOG = NAMING | {"ToolDescribed", "ToolListed", "ToolUnlisted", "PanelReviewPublished", "PanelReviewRevised"}
OF_LOG = {"EventDropped", "LogKeyAdded", "LogRestarted"}
TYPES = CATALOG | OF_LOG | {
    "PersonaDescribed", "ComparisonAnnounced", "CorrectionRecorded", "BallotsVoided", "BallotsRestored"
}  # fmt: skip
CODES = {None: 0, b"ship": 1, b"skip": 2}
VOIDED = 4
MOST_VOIDED = 4_000  # positions in one event
SLACK = 15  # minutes by which clocks, and a witness that answers late, may be apart
BUCKET = 2_000_000  # entries that are counted at once; of more, the tools are counted in turn
SNAPSHOTS = 3


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object that all readers read alike. Raises ValueError for keys that are equal, or may be taken for it."""
    found = dict(pairs)
    if len(found) < len(pairs) or not all(FIELD.fullmatch(key) for key in found):
        raise ValueError("keys must differ, and be lower-case")
    return {key: found[key] for key in sorted(found, key=lambda key: (len(key), key))}


def read_data(text: bytes) -> dict[str, Any]:
    """Read the data of a public event, which must be spelled as PostgreSQL spells jsonb. Raises ValueError."""
    data = json.loads(text, object_pairs_hook=object_of, parse_float=refuse_number, parse_constant=refuse_number)
    if json.dumps(data, ensure_ascii=False).encode() != text:
        raise ValueError("its data are not in their one spelling")
    if b"\\u0000" in text.replace(rb"\\", b""):
        raise ValueError("no text of PostgreSQL's holds the character 0")
    return dict(data)


def whole(value: Any) -> int:
    """Return a whole number, which true and false are not. Raises TypeError."""
    if type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def refuse_number(text: str) -> NoReturn:
    """Raise ValueError: every number of an entry is whole."""
    raise ValueError(f"{text} is not a whole number")


def pair(value: Any) -> list[int]:
    """Return a tally, `[ship, skip]`. Raises TypeError, ValueError."""
    ship, skip = map(whole, value)
    if min(ship, skip) < 0:
        raise ValueError(f"{value} is no tally")
    return [ship, skip]


class Tool:
    """What the entries say of one tool. `chain` has, by ballot, the last position × 8 + 4 if voided + 0, 1 ship or 2 skip."""

    __slots__ = ("added", "chain", "entries", "facts", "hour", "hours", "panel", "ship", "skip", "voided", "votes")

    def __init__(self) -> None:
        self.added: Optional[str] = None  # the last slug; `facts` are empty as long as the site passes over what added it
        self.facts: dict[str, Any] = {}
        self.panel: dict[str, str] = {}
        self.chain: dict[int, int] = {}
        self.ship = self.skip = self.entries = 0
        self.hour = -1
        self.hours: list[tuple[int, int, int]] = []
        self.voided: set[int] = set()
        self.votes = 0

    def copy(self) -> Tool:
        """Return a tool with the same facts, panel and tally."""
        other = Tool()
        other.facts, other.panel, other.ship, other.skip = dict(self.facts), dict(self.panel), self.ship, self.skip
        return other

    def turn(self, hour: int) -> None:
        """Keep what stood before an hour of change."""
        self.hours.append((self.hour, self.ship, self.skip))
        self.hour = hour

    def tally_at(self, hour: int) -> tuple[int, int]:
        """Return (ship, skip) as counted before an hour began, in hours since 1970."""
        ended = [(ship, skip) for begun, ship, skip in self.hours if begun < hour]
        return (self.ship, self.skip) if self.hour < hour else ended[-1] if ended else (0, 0)


Looks = Dict[int, Set[str]]


class Recount:
    """Everything that the public entries add up to. `bucket` of `buckets` says which tools' votes are counted."""

    def __init__(self, log: Log, dropped: dict[str, set[int]], bucket: int = 0, buckets: int = 1) -> None:
        self.log = log
        self.dropped = dropped.get("cards", set())
        self.tools: dict[bytes, Tool] = defaultdict(Tool)
        self.slugs: dict[str, bytes] = {}  # the tool that each slug leads to, for ever
        self.events: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self.snapshots: list[tuple[int, int, dict[bytes, tuple[int, int]]]] = []
        self.minute = 0
        self.hour = 0
        self._minute_text: Optional[bytes] = None
        self._bucket, self._buckets = bucket, buckets
        self._moved: dict[bytes, list[int]] = defaultdict(lambda: [0, 0])
        self._pending: Optional[tuple[str, str, int]] = None  # correction, type and position of ballots just named
        self._owed: dict[bytes, list[int]] = defaultdict(lambda: [0, 0])
        self.by_word: set[str] = set()
        self.looks: dict[int, dict[str, Tool]] = {}
        self._minutes_seen = 0

    def owns(self, tool: bytes) -> bool:
        """Return whether a tool's votes are counted here."""
        return self._buckets == 1 or zlib.crc32(tool) % self._buckets == self._bucket

    def _looking(self, entries: Iterable[tuple[int, bytes]], looks: Looks) -> Iterator[tuple[int, bytes]]:
        """Yield the entries, and keep what stood after some positions of the tools of these slugs."""
        waiting = sorted(looks, reverse=True)
        for position, line in entries:
            while waiting and waiting[-1] < position:
                self._look(waiting.pop(), looks)
            yield position, line
        for position in reversed(waiting):
            self._look(position, looks)

    def _look(self, position: int, looks: Looks) -> None:
        self.looks[position] = {
            slug: tool.copy()
            for id_, tool in self.tools.items()
            if self.owns(id_) and (slug := tool.facts.get("slug")) in looks[position]
        }

    def run(self, entries: Iterable[tuple[int, bytes]], looks: Optional[Looks] = None) -> Recount:
        """Take in entries with their positions. Raises Inconsistent, which names the position."""
        vote, tools, codes, dropped = VOTE.fullmatch, self.tools, CODES, self.dropped
        for position, line in self._looking(entries, looks) if looks else entries:
            found = vote(line)
            if found is None:
                self._other(position, line)
                continue
            minute, tool_id, ballot, choice, was = found.group(1, 2, 3, 4, 5)
            if minute is None:
                minute, tool_id, ballot, was = found.group(6, 7, 8, 9)
            if minute != self._minute_text:
                self._turn(position, minute)
            tool = tools.get(tool_id)
            if tool is None or tool.added is None:
                self.refuse(position, "a vote on a tool that was never added")
            key, now, before = int(ballot, 16), codes[choice], codes[was]
            last = tool.chain.get(key, 0) & 7
            if last != before or now == before:
                self._refuse_vote(position, tool, key, choice, was)
            tool.chain[key] = position << 3 | now
            if dropped and position in dropped:
                continue
            tool.entries += 1
            if tool.hour != self.hour:
                tool.turn(self.hour)
            tool.ship += (now == 1) - (before == 1)
            tool.skip += (now == 2) - (before == 2)
        self.end()
        return self

    def refuse(self, position: int, why: str) -> NoReturn:
        """Raise Inconsistent, with the entry."""
        entry = self.log.entry(position).decode(errors="replace")
        raise Inconsistent(f"Entry {position} is refused: {why}", entry=f"position {position}\n{entry}\n")

    def _refuse_vote(self, position: int, tool: Tool, key: int, choice: Optional[bytes], was: Optional[bytes]) -> NoReturn:
        state = tool.chain.get(key, 0)
        if state & VOIDED:
            self.refuse(position, f"a vote on a ballot that is voided (its last entry is {state >> 3})")
        says = (was or b"nothing").decode()
        stands = {0: "nothing", 1: "ship", 2: "skip"}[state & 3]
        if says != stands:
            before = f"its entry {state >> 3} left it at {stands}" if state else "it has no entry before"
            self.refuse(position, f"it says that its ballot stood at {says}, but {before}")
        self.refuse(position, f"it changes nothing: the ballot stood at {says} already")

    def _turn(self, position: int, text: bytes) -> None:
        """Go on to another minute, and keep what stood at the end of a few, by chance."""
        minute = int(text)
        if minute < self.minute:
            self.refuse(position, f"its minute {minute} is before {self.minute}, that of an entry before it")
        if self.minute and minute > self.minute:
            self._keep_snapshot(position - 1)
        self._minute_text, self.minute, self.hour = text, minute, minute // 60

    def _keep_snapshot(self, position: int) -> None:
        self._minutes_seen += 1
        if self._minutes_seen <= SNAPSHOTS:
            slot = self._minutes_seen - 1
            self.snapshots.append((0, 0, {}))
        elif random.random() * self._minutes_seen < SNAPSHOTS:  # noqa: S311 - a sample, no secret
            slot = random.randrange(SNAPSHOTS)  # noqa: S311
        else:
            return
        tallies = {id_: (tool.ship, tool.skip) for id_, tool in self.tools.items() if self.owns(id_)}
        self.snapshots[slot] = (position, self.minute, tallies)

    def _other(self, position: int, line: bytes) -> None:
        """Take in an entry that is no vote."""
        if SEALED.fullmatch(line):
            return
        found = PUBLIC.fullmatch(line)
        if found is None:
            is_vote = b'"vote' in line[:40].lower()
            self.refuse(
                position, "a vote has one spelling, and this is another" if is_vote else "it has none of the known forms"
            )
        type_, minute, text = found[1].decode(), found[2], found[3]
        if type_ in ("VoteCast", "VoteRetracted"):
            self.refuse(position, "a vote has another form than this")
        if type_ not in TYPES:
            raise CannotCheck(f"Entry {position} is of a type, {type_}, that this verifier doesn't know: get a newer one")
        if minute != self._minute_text:
            self._turn(position, minute)
        try:
            data = read_data(text)
            self.events[type_].append((position, data))
            if type_ in CATALOG:
                self._catalog(position, type_, data)
            elif type_ in ("BallotsVoided", "BallotsRestored"):
                self._void(position, type_, data)
            else:
                self._settle(position, data.get("correction"))
                if type_ == "CorrectionRecorded":
                    self._correct(position, data)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self.refuse(position, f"its data can't be read: {error!r}")

    def _catalog(self, position: int, type_: str, data: dict[str, Any]) -> None:
        id_ = data["tool"].encode()
        counts, tool = position not in self.dropped, self.tools[id_]
        if type_ in NAMING and self.slugs.setdefault(slug := data["slug"], id_) != id_:
            self.refuse(position, f"the slug {slug} leads to another tool, {self.slugs[slug].decode()}")
        if type_ == "ToolAdded":
            self._add(position, tool, data, counts=counts)
        elif (counts or type_ in NAMING) and tool.added is None:
            self.refuse(position, "it is of a tool that was never added")
        elif type_ == "ToolRenamed":
            tool.added = data["slug"]
            if counts and tool.facts:
                tool.facts["slug"] = data["slug"]
        elif type_ == "FormerSlugAdded":
            return
        elif counts and type_.startswith("Panel"):
            tool.panel[data["persona"].lower()] = data["verdict"]
        elif counts and type_ == "ToolDescribed" and data.get("slug", tool.added) != tool.added:
            self.refuse(position, f"it says that {tool.added} has another slug, and that takes a rename")
        elif counts and tool.facts:
            said = {**data, "listed": tool.facts["listed"]} if type_ == "ToolDescribed" else {"listed": type_ == "ToolListed"}
            tool.facts.update(said)

    def _add(self, position: int, tool: Tool, data: dict[str, Any], *, counts: bool) -> None:
        """Take in a tool: a second time only if the site passes over the first."""
        if counts and tool.facts:
            self.refuse(position, f"{tool.added} was added before")
        tool.added = data["slug"]
        if counts:
            tool.facts.update(data, listed=True)

    def _void(self, position: int, type_: str, data: dict[str, Any]) -> None:
        """Take ballots out, or back in: each by the position of its last entry."""
        correction, positions = data["correction"], [whole(position) for position in data["ballots"]]
        self._settle(position, correction)
        if not positions or len(positions) > MOST_VOIDED or sorted(set(positions)) != positions:
            self.refuse(position, f"its positions must rise, and be {MOST_VOIDED:,} at most")
        if not 0 < positions[0] <= positions[-1] < position:
            self.refuse(position, "its positions must be before its own")
        self._pending = (correction, type_, position)
        restore = type_ == "BallotsRestored"
        for place in positions:
            found = VOTE.fullmatch(self.log.entry(place) + b"\n")
            if found is None:
                self.refuse(position, f"it names {place}, which is no vote")
            tool_id, ballot = found[2] or found[7], found[3] or found[8]
            if self.owns(tool_id):
                self._void_one(position, place, restore, tool_id, int(ballot, 16))

    def _void_one(self, position: int, place: int, restore: bool, tool_id: bytes, key: int) -> None:
        chain = self.tools[tool_id].chain
        state = chain[key]
        if state >> 3 != place:
            self.refuse(position, f"it names {place}, which is not the last entry of its ballot: {state >> 3} is")
        if restore != bool(state & VOIDED):
            self.refuse(position, f"it restores {place}, which is not voided" if restore else f"it voids {place} a second time")
        chain[key] = state ^ VOIDED
        if state & 3:
            self._moved[tool_id][(state & 3) - 1] += 1 if restore else -1

    def _settle(self, position: int, correction: Optional[str]) -> None:
        """Conclude ballots: all are counted by corrections that directly follow, unless those are of an older release."""
        if self._pending is None or (self._pending[0] == correction and self._pending[2] == position - 1):
            return
        if any(self._moved.values()) and self._pending[0] not in self.by_word:
            self.refuse(self._pending[2], "it names ballots, and no correction that says so follows")
        for tool, moved in self._moved.items():
            self._owed[tool] = [owed - more for owed, more in zip(self._owed[tool], moved)]
        self._moved.clear()
        self._pending = None

    def _correct(self, position: int, data: dict[str, Any]) -> None:
        """Check that a correction is what its ballots come to; an older release names none, and is taken at its word."""
        told = {of["tool"].encode(): (pair(of["before"]), pair(of["after"])) for of in data["tools"]}
        votes = sum(abs(after[side] - before[side]) for before, after in told.values() for side in (0, 1))
        if votes != whole(data["votes"]) or len(told) != len(data["tools"]):
            self.refuse(position, f"it says that it changes {data['votes']} votes, and lists {votes}")
        if data["action"] not in ("disqualified", "reinstated"):
            self.refuse(position, f"no correction is {data['action']}: they are disqualified or reinstated")
        type_ = "BallotsRestored" if data["action"] == "reinstated" else "BallotsVoided"
        if self._pending is None and votes:
            self.by_word.add(data["correction"])
        elif self._pending and self._pending[1] != type_:
            self.refuse(position, f"it says {data['action']}, and its ballots the opposite")
        for tool_id, (before, after) in told.items():
            if self.owns(tool_id):
                self._correct_one(position, tool_id, before, after, type_ == "BallotsRestored")
                self._moved.pop(tool_id, None)
        if self._pending:
            self._pending = (*self._pending[:2], position)

    def _correct_one(self, position: int, tool_id: bytes, before: list[int], after: list[int], restores: bool) -> None:
        tool = self.tools[tool_id]
        stood = [tool.ship, tool.skip]
        name = tool.facts.get("slug", tool_id.decode())
        if before != stood:
            self.refuse(position, f"before it, {name} stood at {stood}, not at {before}")
        if self._pending is None:
            steps = [now - then for now, then in zip(after, before)]
            owed = self._owed[tool_id] = [owed + step for owed, step in zip(self._owed[tool_id], steps)]
            if max(owed) > 0 or any((step > 0) is not restores for step in steps if step):
                self.refuse(
                    position, f"it says {'reinstated' if restores else 'disqualified'}, and gives {name} votes that nobody lost"
                )
        elif after != (comes := [was + moved for was, moved in zip(stood, self._moved[tool_id])]):
            self.refuse(position, f"after it, {name} stands at {comes} by its ballots, not at {after}")
        tool.turn(self.hour)
        tool.ship, tool.skip = after

    def end(self) -> None:
        """Conclude: what was taken at its word must by now be explained by ballots, if the log names any."""
        self._settle(self.log.size, None)
        owed = [self.tools[id_].facts.get("slug") for id_, count in self._owed.items() if count != [0, 0]]
        if owed and self.events["BallotsVoided"]:
            raise Inconsistent(
                f"Corrections that name no ballots don't come to those named later, on {', '.join(map(str, owed))}"
            )
        for tool in self.tools.values():
            tool.votes = len(tool.chain)
            tool.voided = {key for key, state in tool.chain.items() if state & VOIDED}
            tool.chain = {}


def recount(log: Log, looks: Optional[Looks] = None) -> Recount:
    """Return what the log adds up to, and did at some positions; of a large one, some tools at a time. Raises Inconsistent."""
    dropped = dropped_of(log)
    if log.size <= BUCKET:
        return Recount(log, dropped).run(enumerate(log.lines(), 1), looks)
    buckets = -(-log.size // BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(n)) for n in range(buckets)]
        spread(log, files)
        every = Recount(log, dropped, 0, buckets).run(numbered(files[0]), looks)
        for n in range(1, buckets):
            part = Recount(log, dropped, n, buckets).run(numbered(files[n]), looks)
            for position, found in part.looks.items():
                every.looks[position].update(found)
            every.tools.update({id_: tool for id_, tool in part.tools.items() if part.owns(id_)})
    return every


def dropped_of(log: Log) -> dict[str, set[int]]:
    """Return the positions that each view of the site passes over, and a recount with it."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in log.lines():
        if line.startswith(b'{"type":"EventDropped"') and (form := PUBLIC.fullmatch(line)):
            with suppress(KeyError, TypeError, ValueError, RecursionError):  # the recount refuses it, and says where
                data = read_data(form[3])
                found[str(data["projection"])].add(whole(data["position"]))
    return found


DATED = re.compile(rb'\{"type":"[A-Za-z]+","minute":(\d{1,10}),(?:"tool":"([A-Za-z0-9_-]{22})")?')


def spread(log: Log, files: list[Path]) -> None:
    """Write each vote to the file of its tool's bucket and all else to every one, each line behind its position."""
    outs: list[BinaryIO] = [file.open("wb") for file in files]
    minute = 0
    try:
        for position, line in enumerate(log.lines(), 1):
            found = DATED.match(line)
            if found is None and SEALED.fullmatch(line):
                continue
            if found is not None and int(found[1]) < minute:
                Recount(log, {}).refuse(position, f"its minute {int(found[1])} is before {minute}, that of an entry before it")
            minute = int(found[1]) if found is not None else minute
            tool = found[2] if found is not None else None
            for out in outs if tool is None else (outs[zlib.crc32(tool) % len(outs)],):
                out.write(b"%d " % position + line)
    finally:
        for out in outs:
            out.close()


def numbered(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield what `spread` wrote."""
    with file.open("rb") as lines:
        for line in lines:
            position, _, entry = line.partition(b" ")
            yield int(position), entry


class Change(NamedTuple):
    """A vote's part in a span: its hour since 1970, and what it adds to ship and to skip."""

    position: int
    hour: int
    ship: int
    skip: int


def changes(log: Log, low: int, high: int, left_out: dict[bytes, set[int]]) -> Iterator[tuple[bytes, Change]]:
    """Yield the tool and the change of each vote at positions `(low, high]`, without those of the ballots left out."""
    for position, line in islice(enumerate(log.lines(), 1), low, high):
        found = VOTE.fullmatch(line)
        if found is None:
            continue
        gone = found[1] is None
        tool, ballot = (found[7], found[8]) if gone else (found[2], found[3])
        if int(ballot, 16) not in left_out.get(tool, ()):
            now, was = found[4], found[9] if gone else found[5]
            step = [(now == side) - (was == side) for side in (b"ship", b"skip")]
            yield tool, Change(position, int(found[6] if gone else found[1]) // 60, *step)


# ---- arithmetic of tallies ----

Z = 1.959963984540054  # two-sided 95 %
EVIDENCE = 20


def percent(part: int, total: int) -> Optional[int]:
    """Return a whole percentage, halves rounded up; None of nothing."""
    return (200 * part + total) // (2 * total) if total else None


def wilson(ship: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval (JASA 22, 1927) in percent; there must be votes."""
    share, zz = ship / total, Z * Z
    centre, margin = share + zz / (2 * total), Z * math.sqrt(share * (1 - share) / total + zz / (4 * total * total))
    return 100 * max(0.0, (centre - margin) / (1 + zz / total)), 100 * min(1.0, (centre + margin) / (1 + zz / total))


def settled_bounds(ship: int, skip: int) -> tuple[float, float]:
    """Return all shares p with B(ship + 1, skip + 1) / (p^ship (1 − p)^skip) < 20, 0–1; there must be votes."""
    constant = math.lgamma(ship + 1) + math.lgamma(skip + 1) - math.lgamma(ship + skip + 2) - math.log(EVIDENCE)

    def edge(outside: float) -> float:
        inside = min(max(ship / (ship + skip), 1e-12), 1 - 1e-12)
        for _ in range(60):
            middle = (inside + outside) / 2
            is_inside = constant < ship * math.log(middle) + skip * math.log1p(-middle)
            inside, outside = (middle, outside) if is_inside else (inside, middle)
        return inside

    return edge(1e-12) if ship else 0.0, edge(1 - 1e-12) if skip else 1.0


def called(low: float, high: float) -> Optional[str]:
    """Return the verdict of an interval in percent: a side of 50, `mixed` within 40–60, else None."""
    return "ship" if low > 50 else "skip" if high < 50 else "mixed" if low >= 40 and high <= 60 else None


def community(ship: int, skip: int) -> dict[str, Any]:
    """Return all that the site says of a tally."""
    total = ship + skip
    said: dict[str, Any] = {
        "ship": ship,
        "skip": skip,
        "total": total,
        "ship_percent": percent(ship, total),
        "provisional": True,
    }
    if total <= 0 or min(ship, skip) < 0:
        return {**said, **dict.fromkeys(("verdict", "interval", "flips_to_change", "settled", "settled_interval"))}
    low, high = wilson(ship, total)
    lower, upper = (100 * bound for bound in settled_bounds(ship, skip))
    verdict = called(low, high)
    said.update(verdict=verdict, provisional=verdict is None, interval=[round(low, 1), round(high, 1)])
    said.update(flips_to_change=abs(ship - skip) // 2 + 1, settled=called(lower, upper))
    return {**said, "settled_interval": [math.floor(10 * lower) / 10, math.ceil(10 * upper) / 10]}


def panel(verdicts: Iterable[str]) -> dict[str, Any]:
    """Return what the site says of the panel's verdicts on a tool."""
    said = list(verdicts)
    ship, skip = said.count("ship"), said.count("skip")
    verdict = ("ship" if ship > skip else "skip" if ship < skip else "mixed") if said else None
    return {"ship": ship, "skip": skip, "verdict": verdict, "ship_percent": percent(ship, ship + skip)}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return where what the site says differs from what the entries come to; bounds may be off by their last digit."""
    found = []
    for name, value in ours.items():
        other = theirs.get(name)
        is_close = (
            isinstance(value, list)
            and isinstance(other, list)
            and len(value) == len(other)
            and all(abs(a - b) < 0.101 for a, b in zip(value, other))
        )
        if value != other and not is_close:
            found.append(f"{name} is {value} by the log, {other} by the site")
    return found


# ---- the site: its checkpoint, entries and tiles, and what it shows ----

PACK = 65_536
AT_ONCE = 8
LOOKED_AT_AGAIN = 20  # tiles of 256 entries that an earlier run fetched
TRIES = 5
PATIENCE = 60.0
LONGEST = 300.0  # seconds for one answer
MOST_OF_ANSWER = 64 * 2**20  # bytes; a tile of entries has at most 16 MiB
MOST_OF_PACK = 256 * 2**20  # bytes
MOST_LOGS = 1_000


def tile_path(n: int, width: int = WIDTH) -> str:
    """Return the last part of a tile's address."""
    parts = [f"{n % 1000:03d}"]
    while n := n // 1000:
        parts.insert(0, f"x{n % 1000:03d}")
    return "/".join(parts) + (f".p/{width}" if width < WIDTH else "")


def _cut(connection: socket.socket) -> None:
    """End an answer that comes too slowly to be waited for."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def unpack(pack: bytes) -> Optional[list[bytes]]:
    """Return the entries of a pack; None if they are too large for one piece. Raises CannotCheck if it is damaged."""
    opened = zlib.decompressobj(31)
    try:
        text = opened.decompress(pack, MOST_OF_PACK)
    except zlib.error as error:
        raise CannotCheck(f"A pack is damaged: {error}") from None
    return text.split(b"\n")[:PACK] if opened.eof else None


class Site:
    """A site, read over HTTP. `prefix` is where its newest log is."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CannotCheck(f"This is no address: {url}")
        self.name = parts.netloc.lower()
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._of_thread = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        base, _, number = parts.path.rstrip("/").partition("/log/")
        self.base = base
        self.number = int(number) if number.isdigit() else self._newest_log()
        self.prefix = f"{base}/log/{self.number}"

    def _newest_log(self) -> int:
        number = 1
        while self.get(f"{self.base}/log/{number + 1}/checkpoint") is not None:
            number += 1
            if number > MOST_LOGS:
                raise CannotCheck(f"{self.name} has more than {MOST_LOGS:,} logs, without an end")
        return number

    def get(self, path: str) -> Optional[bytes]:
        """Return what is at a path; None if there is nothing. Raises CannotCheck."""
        why = ""
        for attempt in range(TRIES):
            try:
                status, wait, body = self._ask(path)
            except (OSError, http.client.HTTPException) as error:
                self._of_thread.connection = None
                status, wait, body, why = 0, 0.2 * attempt, b"", repr(error)
            if status in (200, 404):
                return body if status == 200 else None
            if status not in (0, 429, 503):
                break
            time.sleep(min(wait, PATIENCE))
        said = why or f"status {status}, {body[:200].decode(errors='replace')}"
        raise CannotCheck(f"{self.name}{path} can't be read: {said}")

    def _ask(self, path: str) -> tuple[int, float, bytes]:
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            connection = self._of_thread.connection = kind(self._host, self._port, timeout=PATIENCE)
            self._open.append(connection)
        connection.request("GET", path, headers={"User-Agent": "ballotpress-verify"})
        cut = threading.Timer(LONGEST, _cut, [connection.sock])
        cut.daemon = True
        cut.start()
        try:
            answer = connection.getresponse()
            body = answer.read(MOST_OF_ANSWER + 1)
        finally:
            cut.cancel()
        if len(body) > MOST_OF_ANSWER:
            raise CannotCheck(f"{self.name}{path} doesn't end within {MOST_OF_ANSWER:,} bytes")
        wait = answer.headers.get("Retry-After", "1")
        return answer.status, float(wait) if wait.isdigit() else 1.0, body

    def close(self) -> None:
        """Close every connection; the next request makes another."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def must_get(self, path: str) -> bytes:
        """Return what is at a path. Raises CannotCheck if there is nothing."""
        body = self.get(path)
        if body is None:
            raise CannotCheck(f"{self.name}{path} is not there")
        return body

    def json(self, path: str) -> Any:
        """Return the JSON at a path of the site's API; None if there is nothing."""
        body = self.get(f"{self.base}{path}")
        return None if body is None else json.loads(body)

    def checkpoint(self) -> Note:
        """Return the newest checkpoint, its signatures not looked at."""
        return read_note(self.must_get(f"{self.prefix}/checkpoint").decode())

    def fetch(self, have: int, size: int) -> Iterator[list[bytes]]:
        """Yield the entries after the first `have`, a resource at a time: packs where there are full ones, else tiles."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while have < size:
                first, last = have // PACK, size // PACK
                if have % PACK == 0 and first < last and (entries := self._pack(first)):
                    have += len(entries)
                    yield entries
                    continue
                end = min(size, (first + 1) * PACK)
                tiles = range(have // WIDTH, -(-end // WIDTH))
                for n, entries in zip(tiles, pool.map(lambda n: self.entries(n, min(WIDTH, size - WIDTH * n)), tiles)):
                    yield entries[have - WIDTH * n :]
                    have = WIDTH * n + len(entries)

    def _pack(self, n: int) -> Optional[list[bytes]]:
        """Return the entries of a pack; None without one that can be had in one piece."""
        pack = self.get(f"{self.prefix}/pack/{n}.jsonl.gz")
        return None if pack is None else unpack(pack)

    def entries(self, n: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a tile. Raises Inconsistent if it isn't one."""
        blob, entries, at = self.must_get(f"{self.prefix}/tile/entries/{tile_path(n, width)}"), [], 0
        while at < len(blob):
            end = at + 2 + int.from_bytes(blob[at : at + 2], "big")
            entries.append(blob[at + 2 : end])
            at = end
        if len(entries) != width or at != len(blob) or any(b"\n" in entry for entry in entries):
            raise Inconsistent(f"The tile of entries {n} holds {len(entries)} entries, not {width} of one line each")
        return entries


class TileCheck:
    """Compares every tile of a site with the entries; those below `compared` entries were compared at another time."""

    def __init__(self, site: Site, compared: int) -> None:
        self.count = 0
        self._site, self._compared = site, compared
        self._waiting: list[tuple[int, int, bytes]] = []

    def __call__(self, level: int, n: int, hashes: bytes) -> None:
        """Take note of a tile as the entries make it."""
        if (n * WIDTH + len(hashes) // 32) * WIDTH**level > self._compared:
            self._waiting.append((level, n, hashes))
        if len(self._waiting) == WIDTH:
            self.compare()

    def look_again(self, log: Log) -> None:
        """Compare some tiles of entries that were fetched at another time, chosen by chance. Raises Inconsistent."""
        whole, rest = divmod(min(self._compared, log.size), WIDTH)
        chosen = [(n, WIDTH) for n in random.sample(range(whole), min(LOOKED_AT_AGAIN, whole))]
        for n, width in [*chosen, *([(whole, rest)] if rest else [])]:
            own = b"".join(leaf_hash(log.entry(position)) for position in range(n * WIDTH + 1, n * WIDTH + width + 1))
            self._waiting.append((0, n, own))
            for position, served in enumerate(self._site.entries(n, width), n * WIDTH + 1):
                if served != (was := log.entry(position)):
                    said = f"Entry {position} was {was.decode()}\nand now is {served.decode(errors='replace')}"
                    raise Inconsistent(said, entry=said)

    def compare(self) -> None:
        """Fetch the tiles noted and compare them. Raises Inconsistent, which names the tile and the entry."""
        paths = [f"{self._site.prefix}/tile/{level}/{tile_path(n, len(own) // 32)}" for level, n, own in self._waiting]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for (level, n, own), path, served in zip(self._waiting, paths, pool.map(self._site.must_get, paths)):
                if own != served:
                    at = next((i for i in range(0, len(own), 32) if own[i : i + 32] != served[i : i + 32]), len(own)) // 32
                    what = (
                        f"entry {n * WIDTH + at + 1}"
                        if level == 0
                        else f"the tree above entries from {(n * WIDTH + at) * WIDTH**level + 1}"
                    )
                    raise Inconsistent(f"The tile {path} is not what the entries make: {what} differs", tile=served.hex())
        self.count += len(paths)
        self._waiting.clear()


Difference = str


def moment(minutes: int) -> str:
    """Return a time, in minutes since 1970, as the site's API takes it."""
    return time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(60 * minutes))


class Cards:
    """The site's cards, compared with the log; `waiting` are those of positions above the checkpoint, by position."""

    def __init__(self) -> None:
        self.waiting: dict[int, dict[str, dict[str, Any]]] = {}
        self.compared = 0

    def looks(self) -> Looks:
        """Return which tools must be looked at after which positions."""
        return {position: set(cards) for position, cards in self.waiting.items()}

    def settle(self, counted: Recount) -> list[Difference]:
        """Compare the cards that waited with what stood at their positions, as far as the log has come; keep the others."""
        found: list[Difference] = []
        for position in [position for position in self.waiting if position <= counted.log.size]:
            for slug, card in self.waiting.pop(position).items():
                self.compared += 1
                found += compare_card(card, counted.looks.get(position, {}).get(slug))
        return found

    def compare(self, site: Site, counted: Recount) -> list[Difference]:
        """Compare each tool's panel and community with what the site shows now; cards that changed since wait."""
        ours = {tool.facts["slug"]: tool for tool in counted.tools.values() if tool.facts.get("listed")}
        found: list[Difference] = []
        seen: set[str] = set()
        for card in pages(site):
            seen.add(card["slug"])
            if whole(card["position"]) > counted.log.size:
                self.waiting.setdefault(card["position"], {})[card["slug"]] = card
            else:
                self.compared += 1
                found += compare_card(card, ours.get(card["slug"]))
        return found + [f"{slug} is listed by the log, and not on the site" for slug in ours.keys() - seen]


def pages(site: Site) -> Iterator[dict[str, Any]]:
    """Yield each card that the site shows, page by page. Raises CannotCheck for a list without an end."""
    seen: set[str] = set()
    cursor: Optional[str] = ""
    while cursor is not None:
        page = site.json(f"/v1/tools?limit=100{cursor and '&cursor=' + urllib.parse.quote(cursor)}")
        known, cursor = len(seen), page["next"]
        seen.update(card["slug"] for card in page["items"])
        yield from page["items"]
        if cursor is not None and len(seen) == known:
            raise CannotCheck("The site's list of tools goes round in a circle")


def compare_card(card: dict[str, Any], tool: Optional[Tool]) -> list[Difference]:
    """Compare a card with what the log says of its tool."""
    slug = card["slug"]
    if tool is None or not tool.facts.get("listed"):
        return [f"{slug} is on the site, and not listed by the log"]
    own = (("panel", panel(tool.panel.values())), ("community", community(tool.ship, tool.skip)))
    return [f"{slug}: {part}: {what}" for part, said in own for what in differences(said, card[part])]


def compare_past(site: Site, counted: Recount, most: int) -> tuple[int, list[Difference]]:
    """Compare the past of some tools, chosen by chance: as of a few times, by hour, day and week, counted and corrected."""
    voted = sorted((id_ for id_, tool in counted.tools.items() if tool.entries and tool.facts.get("listed")))
    chosen = random.sample(voted, min(most, len(voted)))
    corrected: dict[bytes, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    if chosen and any(counted.tools[id_].voided for id_ in chosen):
        out = {id_: counted.tools[id_].voided for id_ in chosen}
        for id_, change in changes(counted.log, 0, counted.log.size, out):
            if id_ in out:
                sums = corrected[id_][change.hour]
                sums[0], sums[1] = sums[0] + change.ship, sums[1] + change.skip
    found: list[Difference] = []
    points = 0
    for id_ in chosen:
        tool = counted.tools[id_]
        points += len(counted.snapshots)
        found += compare_snapshots(site, tool.facts["slug"], id_, counted)
        for basis in ("false", "true") if tool.voided else ("false",):
            for every in ("hour", "day", "week"):
                hours = corrected[id_] if basis == "true" else None
                more, different = compare_history(site, tool, counted.minute // 60, every, hours)
                points, found = points + more, found + different
    return points, found


def compare_snapshots(site: Site, slug: str, id_: bytes, counted: Recount) -> list[Difference]:
    """Compare a tool's tally as of the end of some minutes."""
    found = []
    for position, minute, tallies in counted.snapshots:
        if counted.owns(id_):
            at = moment(minute)[:-3] + "59.999999Z"
            told = site.json(f"/v1/tools/{slug}/tally?as_of={urllib.parse.quote(at)}")
            ship, skip = tallies.get(id_, (0, 0))
            found += [f"{slug} as of {at}: {what}" for what in differences(community(ship, skip), told)]
            if told["position"] > position:
                found.append(f"{slug} as of {at}: the site names position {told['position']}, after {position}")
    return found


def compare_history(
    site: Site, tool: Tool, hour: int, every: str, corrected: Optional[dict[int, list[int]]]
) -> tuple[int, list[Difference]]:
    """Compare a tool's tally at the end of each hour, day or week that is over, of the last 900 at most."""
    length = {"hour": 1, "day": 24, "week": 168}[every]
    begin = max(tool.hours[1][0] if len(tool.hours) > 1 else tool.hour, hour - 900 * length)
    basis = "false" if corrected is None else "true"
    query = f"every={every}&from={moment(60 * begin)}&to={moment(60 * hour + 1)}&corrected={basis}"
    told = site.json(f"/v1/tools/{tool.facts['slug']}/tally/history?{query}")
    found, compared, after = [], 0, 0
    for point in told["points"]:
        at = hour_of(point["at"])
        if at - after not in (length, at) or (after == 0 and at > begin + length):
            break
        after = at
        if at > hour:
            continue
        ship, skip = tool.tally_at(at) if corrected is None else corrected_at(corrected, at)
        compared += 1
        if (ship, skip) != (point["ship"], point["skip"]):
            found.append(
                f"{tool.facts['slug']} at {point['at']} ({every}): {ship}/{skip} by the log,"
                f" {point['ship']}/{point['skip']} by the site"
            )
    if after < hour:
        found.append(
            f"{tool.facts['slug']}: the site leaves out what was at some ends of an {every}, up to {moment(60 * hour)}"
        )
    return compared, found


def hour_of(time_: str) -> int:
    """Return the hour, since 1970, of a time as the site writes it."""
    return (int(time.mktime(time.strptime(time_[:16], "%Y-%m-%dT%H:%M"))) - time.timezone) // 3600


def corrected_at(corrected: dict[int, list[int]], hour: int) -> tuple[int, int]:
    """Return a corrected tally at the end of an hour, of what each hour that had begun brought."""
    past = [sums for begun, sums in corrected.items() if begun < hour]
    return sum(sums[0] for sums in past), sum(sums[1] for sums in past)


# ---- an issue's mail: its checkpoint and its numbers ----


class Facts(NamedTuple):
    """What an issue may say of a tool at its cut-off: the community now and a period ago, the period's votes, the panel."""

    slug: str
    name: str
    now: dict[str, Any]
    before: dict[str, Any]
    votes: int
    panel: dict[str, Any]


Said = Callable[[Facts], Tuple[Any, ...]]
COUNT = r"([\d,]+) votes?"
SENTENCES: tuple[tuple[str, Said], ...] = (
    (rf"\b(ship|skip|mixed), (\d+)% of {COUNT} say ship", lambda f: (f.now["settled"], f.now["ship_percent"], f.now["total"])),
    (rf"(\d+)% ship before, (\d+)% now \({COUNT}\)", lambda f: (f.before["ship_percent"], f.now["ship_percent"], f.votes)),
    (
        rf"(\d+)% of {COUNT} say ship; the true share is likely between ([\d.]+)% and ([\d.]+)%",
        lambda f: (f.now["ship_percent"], f.now["total"], *(f.now["settled_interval"] or ())),
    ),
    (r"(Ship|Skip|Mixed) · ([\d,]+) ship / ([\d,]+) skip", lambda f: (f.panel["verdict"], f.panel["ship"], f.panel["skip"])),
    (r"(\d+)% ship · ([\d,]+) ship / ([\d,]+) skip", lambda f: (f.now["ship_percent"], f.now["ship"], f.now["skip"])),
    (rf"(\d+)% ship of {COUNT}", lambda f: (f.now["ship_percent"], f.now["total"])),
    (r"now settled: (ship|skip|mixed)", lambda f: (f.now["settled"],)),
    (r"\b(Ship|Skip|Mixed), settled", lambda f: (f.now["settled"],)),
    (r"\b(Ship|Skip|Mixed), so far", lambda f: (f.now["verdict"],)),
)
UNKNOWN = re.compile(r"\d[\d,.]*\s*(?:%|percent)?\s*(?:of \d|(?:votes?|ship|skip)\b)")
ITEM = re.compile(r"^\* (?:.|\n)*?^ +\S*/(tools|compare)/([a-z0-9-]+)$", re.MULTILINE)
COUNTS_FIRST = re.compile(r"first ([\d,]+) entr(?:ies|y) of the public log")
ISSUE = re.compile(r"^Issue (\d+)\b", re.MULTILINE)


class Mail(NamedTuple):
    """A digest: the text of its text part, and the checkpoint that it carries."""

    text: str
    note: Note


def read_mail(raw: bytes) -> Mail:
    """Read a digest as a mail program saved it. Raises CannotCheck if it has no checkpoint, Inconsistent if it has two."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    part = message.get_body(("plain",))
    text = part.get_content().replace("\r\n", "\n") if part is not None else ""
    header = "".join(str(message.get("Ballotpress-Checkpoint", "")).split())
    inside = CHECKPOINT.search(text)
    notes = ([unbase64(header, "The header Ballotpress-Checkpoint").decode()] if header else []) + (
        [inside[0]] if inside else []
    )
    if not notes:
        raise CannotCheck("This mail carries no checkpoint")
    if len(set(notes)) > 1:
        raise Inconsistent(
            "The mail's header and its text carry different checkpoints", older_note=notes[0], newer_note=notes[1]
        )
    return Mail(text, read_note(notes[0]))


def facts_at(log: Log, start: int, end: int) -> dict[str, Facts]:
    """Return what an issue of the period `(start, end]` may say of each tool, by its slug."""
    then = recount(log.until(end))
    moved: dict[bytes, list[int]] = defaultdict(lambda: [0, 0, 0])
    for id_, change in changes(log, start, end, {id_: tool.voided for id_, tool in then.tools.items()}) if start else ():
        sums = moved[id_]
        sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + change.ship, sums[2] + change.skip
    found = {}
    for id_, tool in then.tools.items():
        if not tool.facts:
            continue
        votes, ship, skip = moved[id_] if start else (tool.ship + tool.skip, tool.ship, tool.skip)
        now, before = community(tool.ship, tool.skip), community(tool.ship - ship, tool.skip - skip)
        slug = tool.facts["slug"]
        found[slug] = Facts(slug, tool.facts["name"], now, before, votes, panel(tool.panel.values()))
    return found


def check_mail(mail: Mail, log: Log, site: Optional[Site], start: Optional[int]) -> tuple[int, int]:
    """Compare what a digest says of tools; return how many sentences are right, and how many tools they are about."""
    counts, issue = COUNTS_FIRST.search(mail.text), ISSUE.search(mail.text)
    told = site.json(f"/v1/issues/{issue[1]}") if site and issue else None
    end = int(counts[1].replace(",", "")) if counts else told and told.get("to_position")
    start = start if start is not None else told and told.get("from_position")
    if not end or start is None:
        raise CannotCheck("Where the mail's period begins is not known: give the site's address too, or --from POSITION")
    if end > mail.note.size:
        raise Inconsistent(
            f"The mail counts {end} entries, more than the {mail.note.size} of its checkpoint", older_note=mail.note.whole
        )
    facts = facts_at(log, start, end)
    right, tools = 0, set()
    for item in ITEM.finditer(mail.text):
        sides = [item[2]] if item[1] == "tools" else [slug for slug in facts if f"-vs-{slug}-vs-" in f"-vs-{item[2]}-vs-"]
        for slug in sides:
            if slug not in facts:
                raise Inconsistent(f"The mail speaks of {slug}, which the log doesn't know at {end}")
            about = item[0] if item[1] == "tools" else of_side(item[0], facts[slug].name)
            right += check_sentences(about, facts[slug])
            tools.add(slug)
    return right, len(tools)


def of_side(item: str, name: str) -> str:
    """Return what an item on a pair says of the tool of this name."""
    return next((part for part in re.split(r"; |: (?=\S[^:]*: )", item) if part.startswith(f"{name}: ")), "")


def check_sentences(text: str, facts: Facts) -> int:
    """Return how many sentences about a tool are right.

    Raises Inconsistent for the first that is not, CannotCheck for a share or a count of votes in a form that isn't known.
    """
    right, rest = 0, text
    for pattern, said in SENTENCES:
        for found in re.finditer(pattern, text):
            ours = tuple(str(value).lower() for value in said(facts))
            theirs = tuple(value.replace(",", "").lower() for value in found.groups())
            if ours != theirs:
                raise Inconsistent(f"The mail says of {facts.slug}: {found[0]!r}; by the log it is {', '.join(ours)}")
            right += 1
        rest = re.sub(pattern, "", rest)
    if unknown := UNKNOWN.search(rest):
        raise CannotCheck(f"The mail says of {facts.slug} what can't be compared: {unknown[0]!r}")
    return right


# ---- one vote: its receipt, and all entries of a voter ----


def ballot_of(visitor: str, tool: str) -> str:
    """Return the name under which a visitor's votes on a tool are published."""
    return sha256(f"ballotpress ballot v1\n{visitor}\n{tool}".encode()).hexdigest()[:32]


class Receipt(NamedTuple):
    """A C2SP tlog-proof with its entry."""

    entry: bytes
    number: int
    proof: list[bytes]
    note: Note


def read_receipt(text: str) -> Receipt:
    """Read a `.tlog-proof`. Raises CannotCheck."""
    form = re.fullmatch(r"c2sp\.org/tlog-proof@v1\nextra (\S+)\nindex (0|[1-9]\d*)\n((?:\S+\n)*)\n((?:.|\n)+)", text)
    if not form:
        raise CannotCheck("This is no tlog-proof with an entry")
    proof = [unbase64(line, "A hash") for line in form[3].split()]
    return Receipt(unbase64(form[1], "The entry"), int(form[2]), proof, read_note(form[4]))


def is_other_form(line: bytes) -> bool:
    """Return whether an entry is sealed or public, and spelled as those are."""
    public = PUBLIC.fullmatch(line)
    if public is None or public[1] in (b"VoteCast", b"VoteRetracted"):
        return SEALED.fullmatch(line) is not None
    try:
        read_data(public[3])
    except (ValueError, RecursionError):
        return False
    return True


def check_receipt(receipt: Receipt, visitor: Optional[str]) -> str:
    """Return what a receipt proves, in words. Raises Inconsistent."""
    note = receipt.note
    if root_by_inclusion(receipt.number, note.size, leaf_hash(receipt.entry), receipt.proof) != note.root:
        raise Inconsistent(
            f"The proof doesn't lead from the entry at index {receipt.number} to the signed root", older_note=note.whole
        )
    found = VOTE.fullmatch(receipt.entry + b"\n")
    if not found and not is_other_form(receipt.entry + b"\n"):
        raise Inconsistent("The entry has none of the known forms", older_note=note.whole)
    if visitor is not None:
        tool, ballot = (found[2] or found[7], found[3] or found[8]) if found else (b"", b"")
        if ballot_of(visitor, tool.decode()) != ballot.decode():
            raise Inconsistent("The entry is not of a ballot of this visitor", older_note=note.whole)
    return f"entry {receipt.number + 1} of {note.size} is {receipt.entry.decode(errors='replace')}"


def of_visitor(log: Log, counted: Recount, visitor: str) -> Iterator[str]:
    """Yield a line for each entry of a visitor's ballots."""
    own = {ballot_of(visitor, id_.decode()).encode(): tool.facts.get("slug") for id_, tool in counted.tools.items()}
    for position, line in enumerate(log.lines(), 1):
        found = VOTE.fullmatch(line)
        if found and (slug := own.get(found[3] or found[8])):
            choice = f"{found[4].decode()}" if found[4] else "retracted"
            yield f"{position:>10}  {moment(int(found[1] or found[6]))}  {slug}: {choice}"


# ---- the whole check ----


class Kept:
    """What is kept of a site between runs: trusted keys, checkpoints that were right, entries, how far tiles were compared."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.entries = folder / "entries.jsonl"
        self.count = self._mend()

    def _mend(self) -> int:
        """Return how many whole lines there are; a run that was cut short may have left a part of one."""
        count = end = 0
        if self.entries.exists():
            with self.entries.open("rb+") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        count, end = count + 1, end + len(line)
                file.truncate(end)
        return count

    def add(self, entries: list[bytes]) -> None:
        """Keep more entries."""
        with self.entries.open("ab") as file:
            file.write(b"".join(entry + b"\n" for entry in entries))
        self.count += len(entries)

    def keys(self) -> list[Key]:
        """Return the keys that are trusted, of this log and the site's former ones."""
        return [read_key(line) for file in sorted(self.folder.parent.glob("*/keys")) for line in file.read_text().splitlines()]

    def trust(self, key: Key) -> None:
        """Trust a key from now on."""
        with (self.folder / "keys").open("a") as file:
            file.write(key.text + "\n")

    def notes(self) -> list[Note]:
        """Return the checkpoints of earlier runs, of this log and the site's former ones."""
        return [read_note(file.read_text()) for file in sorted(self.folder.parent.glob("*/*.note"))]

    def done(self, note: Note) -> None:
        """Keep a checkpoint that was found right, and that all its tiles are."""
        (self.folder / f"{note.size:012d}.note").write_text(note.whole)
        (self.folder / "compared").write_text(str(note.size))

    def compared(self) -> int:
        """Return of how many entries the tiles were compared."""
        file = self.folder / "compared"
        return int(file.read_text()) if file.exists() else 0


class Check:
    """One run: what it was told, whom it trusts, and what it found."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        text = Path(given.policy).read_text() if given.policy else None
        self.policy = Policy(given.witness, text)
        self.keys = [read_key(vkey) for vkey in given.key] + self.policy.logs
        self.former: list[Key] = []  # trusted in earlier runs: of older checkpoints they count, even where --key names another
        self.mail = read_mail(Path(given.mail).read_bytes()) if given.mail else None
        self.old: list[Note] = [self.mail.note] if self.mail else []
        self.old += [read_old(Path(name)) for name in given.old]

    def is_signed(self, note: Note, more: Iterable[Key] = ()) -> bool:
        """Return whether a trusted key, or one of some more, signed a checkpoint. Raises Inconsistent if it did so wrongly."""
        return any(
            signed_at(note, named(key, note.origin)) is not None
            for key in [*self.keys, *more]
            if key.kind == LOG_KEY and key.name.rpartition("/")[0] == note.origin.rpartition("/")[0]
        )

    def must_be_signed(self, note: Note) -> dict[str, int]:
        """Check the signature and the policy of a checkpoint; return when each witness cosigned it."""
        if not self.is_signed(note):
            raise Inconsistent(
                f"No key that is trusted signed the checkpoint of {note.origin}, size {note.size}", newer_note=note.whole
            )
        times = self.policy.times(note)
        if not self.policy.is_met(times):
            raise Inconsistent(
                f"The checkpoint of size {note.size} lacks cosignatures: it has {len(times)}", newer_note=note.whole
            )
        return times

    def tree(self, log: Log, note: Note, tiles: Optional[TileCheck]) -> list[str]:
        """Check that the entries make the signed root and begin with older checkpoints'; return declared losses."""
        for old in self.old:
            if not self.is_signed(old, self.former):  # anybody can write such a note: it shows nothing, for or against the site
                raise CannotCheck(
                    f"No key that is trusted here signed the older checkpoint of {old.origin}, size {old.size}. "
                    "If it is from before the site's present key, give both: --key OLD --key NEW"
                )
        roots = log.fold({note.size, *(old.size for old in self.old)}, tiles or ignore)
        if tiles:
            tiles.look_again(log)
            tiles.compare()  # before the root, as it names the entry
        if roots[note.size] != note.root:
            raise Inconsistent(f"The {note.size} entries don't make the root of their checkpoint", newer_note=note.whole)
        restarts = list(restarts_of(log))
        losses = [lost for old in self.old if (lost := self._must_be_prefix(old, log, note, roots, restarts))]
        say(
            f"ok    {several(note.size, 'entry makes', 'entries make')} the signed root"
            + (
                f"; {several(len(self.old), 'older checkpoint is', 'older checkpoints are')} their beginning"
                if self.old
                else ""
            )
        )
        return losses

    def _must_be_prefix(
        self, old: Note, log: Log, note: Note, roots: dict[int, bytes], restarts: list[dict[str, Any]]
    ) -> Optional[str]:
        both = {"older_note": old.whole, "newer_note": note.whole}
        common = note.size
        if old.origin != note.origin:
            after = [n for n, restart in enumerate(restarts) if restart["former"] == old.origin]
            if not after:
                raise Inconsistent(
                    f"{old.origin} is another log than {note.origin}, which doesn't say that it follows it", **both
                )
            common = min(restart["common"] for restart in restarts[after[0] :])
            if old.size > restarts[after[0]]["size"]:
                raise Inconsistent(
                    f"{note.origin} says that {old.origin} ended at {restarts[after[0]]['size']}, but it signed {old.size}",
                    **both,
                )
        if old.size <= common and roots[old.size] != old.root:
            proof = "".join(base64.b64encode(part).decode() + "\n" for part in prove_prefix(old.size, log.leaves()))
            raise Inconsistent(
                f"History was rewritten: the first {old.size} entries are not those of the checkpoint that was signed for them",
                **both, proof=f"old {old.size}\n{proof}\n{note.whole}",
            )  # fmt: skip
        if old.size > note.size and old.origin == note.origin:
            raise Inconsistent(f"The log has shrunk: {old.size} entries were signed, and now there are {note.size}", **both)
        return None if old.size <= common else f"{old.size - common} entries after the first {common} of {old.origin}"

    def content(self, log: Log, cosigned: list[tuple[int, int]], looks: Optional[Looks] = None) -> Recount:
        """Recount the log, and compare its minutes with the times of cosigned checkpoints."""
        counted = recount(log, looks)
        check_minutes(log, cosigned)
        ballots, events = (
            sum(tool.votes for tool in counted.tools.values()),
            sum(tool.entries for tool in counted.tools.values()),
        )
        say(
            f"ok    every entry follows from those before it: {several(events, 'vote', 'votes')}"
            f" on {several(ballots, 'ballot', 'ballots')}, and {several(len(counted.tools), 'tool', 'tools')}"
        )
        if counted.dropped:
            places = ", ".join(map(str, sorted(counted.dropped)[:20]))
            say(f"note  {len(counted.dropped)} entries count for nothing, as the log itself says (EventDropped): {places}")
        corrections = len(counted.events["CorrectionRecorded"])
        if corrections:
            word = (
                f"; {len(counted.by_word)} of an older release name no ballots and are taken at their word"
                if counted.by_word
                else ""
            )
            say(f"ok    {several(corrections, 'correction comes to what it says', 'corrections come to what they say')}{word}")
        return counted

    def site(self) -> int:
        """Check a site."""
        site = Site(self.given.source)
        try:
            return self._check_site(site)
        finally:
            site.close()

    def _check_site(self, site: Site) -> int:
        kept = Kept(Path(self.given.cache) / site.name.replace(":", "_") / f"log-{site.number}")
        self._learn_keys(site, kept)
        self.old += kept.notes()
        different: list[str] = []
        for _ in range(3):
            cards = Cards()
            counted, losses = self._once(site, kept)
            different = cards.compare(site, counted)
            past, more = compare_past(site, counted, self.given.tools)
            different += more
            if not different:
                break
        if not different and cards.waiting:
            counted, losses, different = self._once_more(site, kept, cards)
        if different:
            raise Inconsistent(
                f"The site shows other numbers than the log: {'; '.join(different[:5])}", numbers="\n".join(different)
            )
        say(f"ok    the site shows the same: {cards.compared} tools, and {past} tallies of the past")
        return self._rest(counted, losses, site)

    def _once_more(self, site: Site, kept: Kept, cards: Cards) -> tuple[Recount, list[str], list[str]]:
        """Hold cards that changed since the checkpoint to a later one: who shows anything may not call it news for ever."""
        for _ in range(TRIES):
            time.sleep(1.0)
            counted, losses = self._once(site, kept, cards.looks())
            different = cards.settle(counted)
            if different or not cards.waiting:
                return counted, losses, different
        told = ", ".join(sorted({slug for of in cards.waiting.values() for slug in of})[:5])
        raise CannotCheck(f"The site shows numbers of positions that no checkpoint covers: {told}")

    def _learn_keys(self, site: Site, kept: Kept) -> None:
        self.former += kept.keys()
        self.keys += [] if self.given.key else self.former
        if not self.keys:
            key = read_key(site.must_get(f"{site.prefix}/log.vkey").decode())
            kept.trust(key)
            self.keys.append(key)
            say(f"new   the key {key.text} is trusted from now on: compare it with the one in a mail or a friend's")

    def _once(self, site: Site, kept: Kept, looks: Optional[Looks] = None) -> tuple[Recount, list[str]]:
        note = site.checkpoint()
        times = self.must_be_signed(note)
        say(
            f"ok    the checkpoint of {several(note.size, 'entry', 'entries')} is signed"
            + (f", and cosigned by {len(times)}" if times else "")
        )
        try:
            for entries in site.fetch(kept.count, note.size):
                kept.add(entries)
            log = Log(kept.entries, note.size)
            tiles = TileCheck(site, kept.compared())
            losses = self.tree(log, note, tiles)
        except Inconsistent as error:
            kept.entries.rename(kept.folder / "entries.refused.jsonl")  # next time they are fetched anew
            raise self._located(site, kept, note, error) from None
        say(f"ok    {several(tiles.count, 'tile is', 'tiles are')} what the entries make")
        cosigned = [(old.size, when) for old in [*self.old, note] for when in self.policy.times(old).values()]
        counted = self.content(log, cosigned, looks)
        self._keep(kept, note, counted)
        return counted, losses

    def _keep(self, kept: Kept, note: Note, counted: Recount) -> None:
        """Remember what was found right, and the keys that the log added under a trusted signature."""
        kept.done(note)
        for _, data in counted.events["LogKeyAdded"]:
            with suppress(CannotCheck):  # of a kind that is not known here; what it signs is not looked at
                if (key := read_key(str(data["vkey"]))) not in [*self.keys, *kept.keys()]:
                    self.keys += [] if self.given.key else [key]
                    kept.trust(key)

    def _located(self, site: Site, kept: Kept, note: Note, error: Inconsistent) -> Inconsistent:
        """Return an error that names the first entry that is not what it was in an earlier run, if there is one."""
        before = Log(kept.folder / "entries.refused.jsonl", kept.compared())
        if not before.size:
            return error
        fresh = Kept(kept.folder)
        try:
            for entries in site.fetch(0, note.size):
                fresh.add(entries)
            self.tree(Log(fresh.entries, note.size), note, None)
        except CannotCheck:
            return error
        except Inconsistent as other:  # the site's present entries against what was signed before: that is evidence
            error = other
        with fresh.entries.open("rb") as served:
            for position, (was, now) in enumerate(zip(before.lines(), served), 1):
                if was != now:
                    said = f"{error}\nEntry {position} was {was[:-1].decode()}\nand now is {now[:-1].decode(errors='replace')}"
                    return Inconsistent(said, **{**error.evidence, "entry": said})
        return error

    def file(self) -> int:
        """Check an export, without a network."""
        path = Path(self.given.source)
        log, manifest = read_export(path)
        note = read_old(Path(self.given.checkpoint)) if self.given.checkpoint else manifest
        if note is None:
            raise CannotCheck("The export ends without a checkpoint: give --checkpoint NOTE")
        if not self.keys:
            raise CannotCheck("Whose signature counts? Give --key VKEY, or a --policy that names the log")
        times = self.must_be_signed(note)
        say(
            f"ok    the checkpoint of {several(note.size, 'entry', 'entries')} is signed"
            + (f", and cosigned by {len(times)}" if times else "")
        )
        log = Log(path, note.size) if note.size <= log.size else log.until(note.size)
        losses = self.tree(log, note, None)
        cosigned = [(old.size, when) for old in [*self.old, note] for when in self.policy.times(old).values()]
        return self._rest(self.content(log, cosigned), losses, None)

    def _rest(self, counted: Recount, losses: list[str], site: Optional[Site]) -> int:
        if self.mail:
            right, tools = check_mail(self.mail, counted.log, site, self.given.since)
            told = f"{several(right, 'sentence', 'sentences')} on {several(tools, 'tool', 'tools')}"
            say(f"ok    the mail's numbers are the log's: {told}")
        if self.given.visitor:
            own = list(of_visitor(counted.log, counted, self.given.visitor))
            say(
                "Entries of this visitor's ballots:",
                *(own or ["      none: your number stands at /proof/mine of the site"]),
                sep="\n",
            )
        if losses:
            raise DeclaredLoss(f"The site declared a loss: {'; '.join(losses)}")
        return 0

    def proof(self) -> int:
        """Check one receipt."""
        receipt = read_receipt(Path(self.given.proof).read_text())
        if not self.keys:
            raise CannotCheck("Whose signature counts? Give --key VKEY, or a --policy that names the log")
        self.must_be_signed(receipt.note)
        say("ok   ", check_receipt(receipt, self.given.visitor))
        return 0


def several(count: int, one: str, many: str) -> str:
    """Return a number with the words for one or for many."""
    return f"{count} {one if count == 1 else many}"


def ignore(level: int, n: int, hashes: bytes) -> None:
    """Do nothing with a tile: an export has none to compare it with."""


def named(key: Key, name: str) -> Key:
    """Return the same key under another name: after a restart a site's log has another."""
    return key._replace(name=name, id=sha256(name.encode() + b"\n" + bytes([key.kind]) + key.raw).digest()[:4])


def read_old(path: Path) -> Note:
    """Return the checkpoint in a note, a mail or a saved proof. Raises CannotCheck."""
    raw = path.read_bytes()
    if path.suffix == ".eml":
        return read_mail(raw).note
    text = raw.decode(errors="replace")
    if text.startswith("c2sp.org/tlog-proof@v1\n"):
        receipt = read_receipt(text)
        check_receipt(receipt, None)
        return receipt.note
    return read_note(text)


def read_export(path: Path) -> tuple[Log, Optional[Note]]:
    """Return the entries of an export, and the checkpoint in its last line, the manifest."""
    count, last = 0, b""
    with path.open("rb") as file:
        for count, last in enumerate(file, 1):  # noqa: B007 - both are needed after the loop
            pass
    if not last.startswith(b'{"manifest":'):
        return Log(path, count), None
    note = json.loads(last)["manifest"]["note"]
    return Log(path, count - 1), read_note(note) if note else None


def restarts_of(log: Log) -> Iterator[dict[str, Any]]:
    """Yield what each restart of the log declares. Raises Inconsistent if that can't be."""
    for position, line in enumerate(log.lines(), 1):
        if line.startswith(b'{"type":"LogRestarted"') and (form := PUBLIC.fullmatch(line)):
            try:
                data = read_data(form[3])
                common, size = whole(data["common"]), whole(data["size"])
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                raise Inconsistent(f"Entry {position} is refused: its data can't be read: {error!r}") from None
            if not 0 <= common < position or size < common:
                raise Inconsistent(f"Entry {position} declares a restart after {data['common']} entries, which can't be")
            yield data


def check_minutes(log: Log, cosigned: list[tuple[int, int]]) -> None:
    """Check that entries were recorded between the cosigned times around them, by some minutes. Raises Inconsistent."""
    waiting = sorted(set(cosigned))
    minute = 0
    for position, line in enumerate(log.lines() if waiting else (), 1):
        found = DATED.match(line)
        if found is None:
            continue
        now = int(found[1])
        while waiting and waiting[0][0] < position:
            size, at = waiting.pop(0)
            if minute > at // 60 + SLACK or now < at // 60 - SLACK:
                side = (
                    f"{minute} before it is later"
                    if minute > at // 60 + SLACK
                    else f"{now} after it, of entry {position}, is earlier"
                )
                raise Inconsistent(
                    f"A witness saw {size} entries in minute {at // 60}, but the minute {side}: it is back-dated"
                )
        minute = now
    for size, at in waiting:
        if minute > at // 60 + SLACK:
            raise Inconsistent(f"A witness saw {size} entries in minute {at // 60}, but the last are of minute {minute}")


class Arguments(argparse.ArgumentParser):
    """Options, of which a wrong one ends with 1: 2 says that something is inconsistent."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the options, and end."""
        self.print_usage(sys.stderr)
        self.exit(1, f"?     {message}\n")


def arguments() -> argparse.ArgumentParser:
    """Return the options."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    parser = Arguments(prog="verify.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="the site's address, or an export of its public log")
    parser.add_argument("--proof", metavar="FILE", help="check one receipt instead")
    parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="trust this key of the log, and no other")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="this witness must have cosigned")
    parser.add_argument("--policy", metavar="FILE", help="who must have cosigned, as a C2SP tlog-policy")
    parser.add_argument("--checkpoint", metavar="FILE", help="the checkpoint of an export that has none of its own")
    parser.add_argument(
        "--old", action="append", default=[], metavar="FILE", help="an older checkpoint: a note, mail or saved proof"
    )
    parser.add_argument("--mail", metavar="FILE", help="a digest, as saved by a mail program: its checkpoint and its numbers")
    parser.add_argument(
        "--from", dest="since", type=int, metavar="POSITION", help="where the mail's period begins, if not asked of the site"
    )
    parser.add_argument("--visitor", metavar="ID", help="list all entries of this visitor's ballots")
    parser.add_argument("--tools", type=int, default=20, metavar="N", help="tools whose past is compared with the site's (20)")
    parser.add_argument(
        "--cache", default=str(Path(cache, "ballotpress-verify")), metavar="FOLDER", help="what is kept between runs"
    )
    parser.add_argument("--evidence", default="evidence", metavar="FOLDER", help="where both sides of a contradiction are kept")
    return parser


def unreadable(source: Optional[str], error: OSError) -> str:
    """Return what to say of a file that can't be read."""
    said = f"{error.filename} can't be read: {error.strerror}" if error.filename else str(error)
    return f"{said}. Of a site give the whole address, such as https://{source}" if error.filename == source else said


def keep_evidence(folder: Path, error: Inconsistent) -> Path:
    """Write what shows a contradiction to others: notes, a proof, the entry. Return where: no run replaces another's."""
    texts = {**error.evidence, "why": f"{error}\n"}
    files = {name.replace("_", ".") if "_" in name else f"{name}.txt": text for name, text in texts.items()}
    place, number = folder, 1
    while (place / "why.txt").exists() and any(
        not (place / name).exists() or (place / name).read_text() != text for name, text in files.items()
    ):
        number += 1
        place = folder.with_name(f"{folder.name}-{number}")
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    return place


def main(words: Optional[list[str]] = None) -> int:
    """Run, say what was found, and return the exit status."""
    parser = arguments()
    given = parser.parse_args(words)
    if not given.proof and not given.source:
        parser.error("give a site's address, an export, or --proof FILE")
    try:
        check = Check(given)
        if given.proof:
            return check.proof()
        return check.site() if "://" in given.source else check.file()
    except Inconsistent as error:
        place = keep_evidence(Path(given.evidence), error)
        say(f"WRONG {error}\n      What shows it is in the folder {place}", file=sys.stderr)
        return 2
    except DeclaredLoss as error:
        say(f"LOST  {error}", file=sys.stderr)
        return 3
    except OSError as error:
        say(f"?     {unreadable(given.source, error)}", file=sys.stderr)
        return 1
    except (CannotCheck, UnicodeDecodeError) as error:
        say(f"?     {error}", file=sys.stderr)
        return 1
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        say(f"?     Something that was served or given is not what it should be: {error!r}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
