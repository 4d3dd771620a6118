"""Public logs made by hand, entry by entry after docs/proof.md, without any of our own code; and notes signed with any key."""

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN: Final = "example.com/log/1"
NOON: Final = 29_453_760
"""A minute."""


def jsonb(data: object) -> str:
    """Write data as PostgreSQL writes jsonb: shorter keys first, equally long ones by their bytes."""
    if isinstance(data, dict):
        keys = sorted(data, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{json.dumps(key)}: {jsonb(data[key])}" for key in keys) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(jsonb, data)) + "]"
    return json.dumps(data, ensure_ascii=False)


def root_of(leaves: list[bytes]) -> bytes:
    """Return the root by the definition of RFC 6962, 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    return sha256(b"\x01" + root_of(leaves[:middle]) + root_of(leaves[middle:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """Return the inclusion proof by the definition of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    middle = 1
    while 2 * middle < len(leaves):
        middle *= 2
    if index < middle:
        return [*path_of(index, leaves[:middle]), root_of(leaves[middle:])]
    return [*path_of(index - middle, leaves[middle:]), root_of(leaves[:middle])]


class Signer:
    """A key under a name; `kind` 4 is a witness's."""

    def __init__(self, name: str = ORIGIN, seed: int = 1, kind: int = 1) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.name = name
        self.kind = kind
        raw = bytes([kind]) + self._key.public_key().public_bytes_raw()
        self.id = sha256(name.encode() + b"\n" + raw).digest()[:4]
        self.vkey = f"{name}+{self.id.hex()}+{base64.b64encode(raw).decode()}"

    def line(self, text: str, at: int = 0) -> str:
        """Sign a note's text; a witness says when."""
        before, message = b"", text.encode()
        if self.kind == 4:
            before, message = at.to_bytes(8, "big"), f"cosignature/v1\ntime {at}\n".encode() + message
        return f"— {self.name} {base64.b64encode(self.id + before + self._key.sign(message)).decode()}\n"


class PublicLog:
    """Entries, and what each ballot and tool stands at."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.minute = NOON
        self.stands: dict[tuple[str, str], str | None] = {}
        self.last: dict[tuple[str, str], int] = {}
        self.tallies: dict[str, list[int]] = {}
        self.signer = Signer()

    def add(self, entry: str) -> int:
        """Append an entry as it is; return its position."""
        self.entries.append(entry.encode())
        return len(self.entries)

    def event(self, type_: str, **data: Any) -> int:
        """Append a public event."""
        return self.add(f'{{"type":"{type_}","minute":{self.minute},"data":{jsonb(data)}}}')

    def seal(self) -> int:
        """Append a sealed event."""
        return self.add(f'{{"sealed":"{sha256(str(len(self.entries)).encode()).hexdigest()}"}}')

    def tool(self, slug: str, **facts: Any) -> str:
        """Add a tool; return its id."""
        tool = base64.urlsafe_b64encode(sha256(slug.encode()).digest()[:16]).decode()[:22]
        plain = {"tagline": "t", "description": "d", "category": "Tools", "pricing_tier": "free", "pricing_label": "Free"}
        self.event("ToolAdded", tool=tool, slug=slug, name=slug.title(), best_for="b", **{**plain, **facts})
        self.tallies[tool] = [0, 0]
        return tool

    def vote(self, visitor: str, tool: str, choice: str | None) -> int:
        """Cast, change or retract a vote."""
        ballot = self.ballot(visitor, tool)
        was = self.stands.get((tool, visitor))
        of_ballot = f'"minute":{self.minute},"tool":"{tool}","ballot":"{ballot}"'
        before = f',"previous":"{was}"' if was else ""
        kind = "VoteCast" if choice else "VoteRetracted"
        chosen = f',"choice":"{choice}"' if choice else ""
        for side, step in ((was, -1), (choice, 1)):
            if side:
                self.tallies[tool][side == "skip"] += step
        self.stands[tool, visitor] = choice
        self.last[tool, visitor] = self.add(f'{{"type":"{kind}",{of_ballot}{chosen}{before}}}')
        return self.last[tool, visitor]

    def ballot(self, visitor: str, tool: str) -> str:
        """Name a ballot."""
        return sha256(f"ballotpress ballot v1\n{visitor}\n{tool}".encode()).hexdigest()[:32]

    def correct(self, visitors: set[str], *, restore: bool = False, correction: str = "c1", **changes: Any) -> int:
        """Void these visitors' ballots, or restore them, and record what that comes to."""
        own = {ballot: position for ballot, position in self.last.items() if ballot[1] in visitors}
        self.event("BallotsRestored" if restore else "BallotsVoided", correction=correction, ballots=sorted(own.values()))
        return self.record(own, restore=restore, correction=correction, voters=len(visitors), **changes)

    def record(self, own: Any, *, restore: bool, correction: str, voters: int, **changes: Any) -> int:
        """Record a correction of these ballots."""
        before = {tool: list(tally) for tool, tally in self.tallies.items()}
        votes = 0
        for tool, visitor in own:
            if choice := self.stands[tool, visitor]:
                self.tallies[tool][choice == "skip"] += 1 if restore else -1
                votes += 1
        tools = [
            {"tool": tool, "before": before[tool], "after": list(tally)}
            for tool, tally in sorted(self.tallies.items())
            if tally != before[tool]
        ]
        action = "reinstated" if restore else "disqualified"
        plain = {
            "correction": correction,
            "action": action,
            "reason": "bought",
            "voters": voters,
            "votes": votes,
            "tools": tools,
        }
        return self.event("CorrectionRecorded", **{**plain, **changes})

    def leaves(self) -> list[bytes]:
        """Return the leaf hashes."""
        return [sha256(b"\x00" + entry).digest() for entry in self.entries]

    def note(self, size: int | None = None, *more: tuple[Signer, int], origin: str = ORIGIN) -> str:
        """Sign a checkpoint of the first `size` entries; more signers each with their time."""
        size = len(self.entries) if size is None else size
        text = f"{origin}\n{size}\n{base64.b64encode(root_of(self.leaves()[:size])).decode()}\n"
        signer = self.signer if origin == ORIGIN else Signer(origin)
        return text + "\n" + signer.line(text) + "".join(one.line(text, at) for one, at in more)

    def export(self, file: Path, note: str | None = None) -> Path:
        """Write an export with its manifest."""
        manifest = json.dumps({"manifest": {"format": 1, "size": len(self.entries), "note": note or self.note()}})
        file.write_bytes(b"".join(entry + b"\n" for entry in self.entries) + manifest.encode() + b"\n")
        return file

    def receipt(self, position: int, note: str | None = None) -> str:
        """Write a tlog-proof of an entry."""
        path = path_of(position - 1, self.leaves())
        hashes = "".join(base64.b64encode(part).decode() + "\n" for part in path)
        extra = base64.b64encode(self.entries[position - 1]).decode()
        return f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex {position - 1}\n{hashes}\n{note or self.note()}"


def a_log() -> PublicLog:
    """Make a log with a bit of everything: tools, a panel, changed and retracted votes, sealed entries, a correction undone."""
    log = PublicLog()
    alpha, beta = log.tool("alpha"), log.tool("beta")
    log.event("PanelReviewPublished", tool=alpha, persona="Builder", verdict="ship", score=80, take="Good “enough”.\nReally.")
    log.event("ComparisonAnnounced", left=alpha, right=beta)
    for n in range(12):
        log.minute += n % 3 * 45
        log.vote(f"visitor-{n}", alpha, "ship" if n % 4 else "skip")
        if n % 2:
            log.vote(f"visitor-{n}", beta, "skip")
        if n % 5 == 0:
            log.seal()
    log.vote("visitor-3", alpha, "skip")
    log.vote("visitor-5", beta, None)
    log.correct({"visitor-1", "visitor-5"})
    log.minute += 1500
    log.correct({"visitor-5"}, restore=True, correction="c2")
    log.vote("visitor-5", beta, "ship")
    return log
