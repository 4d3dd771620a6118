"""Read returned mail: failure notices (RFC 3464), complaints (RFC 5965), automatic replies (RFC 3834), challenges.

Everything is decided by header fields and by the fields of reports. Only a failure notice in no standard form is left to
flufl.bounce, and only if a mail system sent it: a text that a person wrote or quoted is never taken for a bounce.
"""

import email
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from email.utils import getaddresses
from typing import Any, Literal

import msgspec
from flufl.bounce import all_failures

Kind = Literal["hard_bounce", "soft_bounce", "complaint", "auto_reply", "challenge", "unknown"]
Diagnostic = Literal["other", "address", "mailbox", "system", "network", "protocol", "content", "policy"]

DIAGNOSTICS: tuple[Diagnostic, ...] = ("other", "address", "mailbox", "system", "network", "protocol", "content", "policy")
"""The subject of a status code, by its second number (RFC 3463 3)."""

NO_ADDRESS = frozenset(
    {"5.0.0", "5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.1", "5.4.1", "5.4.4", "5.4.310"}
)
"""Failures that will not pass: no such address, mailbox or domain. Microsoft says 5.1.10, 5.4.1 and 5.4.310."""

COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized"})
DAEMONS = frozenset({"mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon", "maildaemon"})
CHALLENGES = ("x-tmda-", "x-boxtrapper", "x-ask-", "x-askversion", "x-qconfirm", "x-spamarrest", "x-challenge-response")
"""The beginnings of headers by which challenge-response systems are known."""

_ID = re.compile(r"<[^<>\s]{1,900}>")
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?!\d)")
_SMTP_REPLY = re.compile(r"\s*smtp\s*;\s*\"?(\d{3})(?:[ -]+#?([245]\.\d{1,3}\.\d{1,3}))?", re.IGNORECASE)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


class Recipient(msgspec.Struct, frozen=True):
    """A recipient that a report names: the address we wrote to, if the report says it."""

    address: str | None
    status: str | None = None
    """RFC 3463, such as 5.1.1."""
    diagnostic: Diagnostic = "other"
    hard: bool = False
    """Whether no mail to this address will ever arrive."""


class Report(msgspec.Struct, frozen=True):
    """The kind of an incoming mail, the recipients it names, and the Message-ID of the mail of ours that it answers."""

    kind: Kind
    recipients: tuple[Recipient, ...] = ()
    message_id: str | None = None


def classify(raw: bytes) -> Report:
    """Return the report in an incoming mail; unknown if it can't be read. Its author is not proven: compare the Message-ID."""
    try:
        return _classify(email.message_from_bytes(raw))
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        return Report("unknown")  # malformed in a way that Python's parser trips over


def _classify(mail: Message) -> Report:
    parts = {part.get_content_type(): part for part in reversed(list(_parts(mail)))}
    if (feedback := parts.get("message/feedback-report")) is not None:
        return _complaint(mail, feedback)
    if (original := _reported_to_microsoft(mail)) is not None:
        return Report("complaint", _readers(original, ("X-HmXmrOriginalRecipient",)), _id(original["Message-ID"]))
    if (status := parts.get("message/delivery-status")) is not None and (report := _notice(mail, status)) is not None:
        return report
    if "message/disposition-notification" in parts:
        return Report("auto_reply", message_id=_answered(mail))
    if _is_challenge(mail):
        return Report("challenge", message_id=_answered(mail))
    if _is_from_a_mail_system(mail) and (report := _odd_notice(mail)) is not None:
        return report
    if _is_automatic(mail):
        return Report("auto_reply", message_id=_answered(mail))
    return Report("unknown")


def _parts(mail: Message) -> Iterator[Message]:
    """Return a mail's own parts, without the parts of a mail attached to it."""
    yield mail
    if mail.get_content_maintype() == "multipart" and mail.is_multipart():
        for part in _children(mail):
            yield from _parts(part)


def _children(mail: Message) -> list[Message]:
    payload: Any = mail.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def _text(mail: Message, name: str) -> str:
    return " ".join(str(mail.get(name, "")).split())


def _complaint(mail: Message, feedback: Message) -> Report:
    fields = _fields(feedback)
    if not fields or _text(fields[0], "Feedback-Type").lower() not in COMPLAINTS:
        return Report("unknown")  # such as not-spam, or a report on authentication
    told = _readers(fields[0], ("Original-Rcpt-To", "Removal-Recipient"))
    original = _original(mail)
    return Report("complaint", told or (_readers(original, ("To",)) if original is not None else ()), _answered(mail))


def _reported_to_microsoft(mail: Message) -> Message | None:
    """Return the mail that somebody at Outlook.com reported: Microsoft attaches it and names the reader in its header."""
    original = _original(mail)
    return original if original is not None and "X-HmXmrOriginalRecipient" in original else None


def _readers(fields: Message, names: tuple[str, ...]) -> tuple[Recipient, ...]:
    told = [str(value) for name in names for value in fields.get_all(name, [])]
    addresses = dict.fromkeys(address for _, address in getaddresses(told) if "@" in address)
    return tuple(Recipient(address) for address in addresses)


def _notice(mail: Message, status: Message) -> Report | None:
    """Read a delivery status notification; None if it names nobody, unknown if nothing failed."""
    blocks = _fields(status)
    recipients = tuple(_recipient(block) for block in blocks if "Action" in block and not _arrived(block))
    if recipients:
        kind: Kind = "hard_bounce" if any(recipient.hard for recipient in recipients) else "soft_bounce"
        return Report(kind, recipients, _answered(mail) or _id(_text(blocks[0], "X-Original-Message-ID")))
    return Report("unknown") if any("Action" in block for block in blocks) else None


def _arrived(block: Message) -> bool:
    return _text(block, "Action").lower().startswith(("delivered", "relayed", "expanded"))


def _recipient(block: Message) -> Recipient:
    status = _status(block)
    failed = not _text(block, "Action").lower().startswith("delayed")
    diagnostic = DIAGNOSTICS[int(status.split(".")[1]) % 10] if status and int(status.split(".")[1]) < 8 else "other"
    return Recipient(_address(block), status, diagnostic, failed and status in NO_ADDRESS)


def _status(block: Message) -> str | None:
    """Return a status code: the remote server's own in place of one that says only "failed"."""
    told = _STATUS.match(_text(block, "Status"))
    status = told[1] if told else None
    if (reply := _SMTP_REPLY.match(_text(block, "Diagnostic-Code"))) and (status is None or status.endswith(".0.0")):
        code, said = reply.groups()
        status = said or ("5.2.2" if code == "552" else status or f"{code[0]}.0.0")
    return status


def _address(block: Message) -> str | None:
    for name in ("Original-Recipient", "Final-Recipient"):
        kind, _, value = _text(block, name).partition(";")
        address = value.strip().strip("<>")
        if kind.strip().lower() == "rfc822" and "@" in address:
            return _XTEXT.sub(lambda code: chr(int(code[1], 16)), address) if name == "Original-Recipient" else address
    return None


def _fields(part: Message) -> list[Message]:
    """Return the groups of fields of a report's machine-readable part, in whichever form Python's parser left them."""
    groups = _children(part)
    text = part.get_payload() if not groups else ""
    return groups or ([HeaderParser().parsestr(text)] if isinstance(text, str) and text else [])


def _odd_notice(mail: Message) -> Report | None:
    temporary, permanent = all_failures(mail)
    recipients = tuple(
        Recipient(address.decode("ascii", "replace"), hard=hard)
        for addresses, hard in ((permanent, True), (temporary, False))
        for address in sorted(addresses)
        if b"@" in address
    )
    if not recipients:
        return None
    return Report("hard_bounce" if permanent else "soft_bounce", recipients, _answered(mail))


def _is_from_a_mail_system(mail: Message) -> bool:
    senders = getaddresses([_text(mail, "From")])
    local = senders[0][1].partition("@")[0].lower() if senders else ""
    return "X-Failed-Recipients" in mail or local in DAEMONS or (_text(mail, "Return-Path") == "<>" and not _is_automatic(mail))


def _is_challenge(mail: Message) -> bool:
    if any(name.lower().startswith(CHALLENGES) for name in mail) or _text(mail, "X-Delivery-Agent").startswith("TMDA"):
        return True
    return _is_automatic(mail) and "-confirm-" in _text(mail, "Reply-To").partition("@")[0]


def _is_automatic(mail: Message) -> bool:
    submitted = _text(mail, "Auto-Submitted").partition(";")[0].strip().lower()
    if submitted:
        return submitted != "no"
    if any(name in mail for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress", "X-Autogenerated")):
        return True
    return _text(mail, "Precedence").lower() in ("auto_reply", "bulk", "junk") and "List-Id" not in mail


def _original(mail: Message) -> Message | None:
    """Return the mail of ours that was sent back, or its header."""
    for part in _parts(mail):
        kind = part.get_content_type()
        if kind == "message/rfc822" and _children(part):
            return _children(part)[0]
        if kind in ("text/rfc822-headers", "message/rfc822-headers"):
            return _fields(part)[0] if _fields(part) else None
    return None


def _answered(mail: Message) -> str | None:
    """Return the Message-ID of the mail of ours that a mail is about."""
    original = _original(mail)
    if original is not None and (found := _id(original["Message-ID"])):
        return found
    return _id(mail["In-Reply-To"]) or _id(" ".join(reversed(_text(mail, "References").split())))


def _id(value: object) -> str | None:
    found = _ID.search(str(value))
    return found and found[0]
