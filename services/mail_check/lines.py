"""What a check finds: a line a subject, right, wrong, unknown or a note, with what to do and the record to publish."""

from typing import Final, Literal

import msgspec

Subject = Literal[
    "dns", "from", "bounces", "spf", "dkim", "dmarc", "ptr", "helo", "tls", "unsubscribe", "list-id", "feedback-id", "cfbl",
    "size", "mta-sts", "tls-rpt",
]  # fmt: skip
State = Literal["right", "wrong", "unknown", "note"]

LONGEST: Final = 600
"""Characters of a sentence; what DNS says may be a hundred times as long."""
TITLES: Final[dict[Subject, str]] = {
    "dns": "DNS servers",
    "from": "Sender (From)",
    "bounces": "Way back for bounces (MX)",
    "spf": "SPF",
    "dkim": "DKIM",
    "dmarc": "DMARC",
    "ptr": "Name of the address (PTR)",
    "helo": "Greeting (HELO)",
    "tls": "TLS of the relay",
    "unsubscribe": "One-click unsubscribing",
    "list-id": "List-Id",
    "feedback-id": "Feedback-ID",
    "cfbl": "Address for complaints (CFBL)",
    "size": "Size",
    "mta-sts": "MTA-STS",
    "tls-rpt": "TLS reports",
}
"""The subjects in the order in which they are shown."""


class Record(msgspec.Struct, frozen=True):
    """A DNS record to publish: a text is one record, however many strings it is cut into."""

    name: str
    type: str
    value: str

    @property
    def in_zone(self) -> str:
        """The value as a zone file writes it: a text in strings of at most 255 bytes (RFC 1035 3.3)."""
        if self.type != "TXT":
            return self.value
        return " ".join(f'"{self.value[at : at + 255]}"' for at in range(0, len(self.value), 255))


class Line(msgspec.Struct, frozen=True):
    """What was found of a subject. `mend` says how it is mended, or made known."""

    subject: Subject
    state: State
    says: str
    mend: str | None = None
    publish: Record | None = None


def right(subject: Subject, says: str) -> Line:
    """Return a line that nothing is wrong with."""
    return _line(subject, "right", says)


def wrong(subject: Subject, says: str, mend: str, publish: Record | None = None) -> Line:
    """Return a red line."""
    return _line(subject, "wrong", says, mend, publish)


def unknown(subject: Subject, says: str, mend: str, publish: Record | None = None) -> Line:
    """Return a line that nobody could judge."""
    return _line(subject, "unknown", says, mend, publish)


def note(subject: Subject, says: str, mend: str | None = None) -> Line:
    """Return a line that no mail depends on."""
    return _line(subject, "note", says, mend)


def _line(subject: Subject, state: State, says: str, mend: str | None = None, publish: Record | None = None) -> Line:
    """Return a line that may be shown: what strangers wrote into DNS or said to us may be long, or hold control characters."""
    if publish is not None:
        publish = Record(_visible(publish.name), publish.type, _visible(publish.value))
    return Line(subject, state, _visible(says)[:LONGEST], mend and _visible(mend)[:LONGEST], publish)


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
