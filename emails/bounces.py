"""Read returned mail: failure notices (RFC 3464), complaints (RFC 5965), automatic replies (RFC 3834), challenges.

The kind of a mail is decided by header fields and by the fields of reports. Only a failure notice in no standard form is read
as text, and only if a mail system sent it: a text that a person wrote or quoted is never taken for a bounce. Whom a
failure blames is said by `refusals`, for notices of either sort.
"""

import email
import re
from collections.abc import Iterable
from email.message import Message
from email.utils import getaddresses
from typing import Final, Literal

import msgspec

from emails import xarf
from emails.parts import children, field, fields, own_parts, text_of, whole_text
from emails.refusals import GONE, Judgement, Verdict, judge

Kind = Literal["hard_bounce", "soft_bounce", "complaint", "auto_reply", "challenge", "unknown"]
Diagnostic = Literal["other", "address", "mailbox", "system", "network", "protocol", "content", "policy"]

DIAGNOSTICS: tuple[Diagnostic, ...] = ("other", "address", "mailbox", "system", "network", "protocol", "content", "policy")
"""The subject of a status code, by its second number (RFC 3463 3)."""

COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "opt-out", "opt-out-list", "miscategorized"})
CHALLENGES = ("x-tmda-", "x-boxtrapper", "x-ask-", "x-askversion", "x-qconfirm", "x-spamarrest", "x-challenge-response")
"""The beginnings of headers by which challenge-response systems are known."""

_STATUSES: Final = frozenset({"message/delivery-status", "message/global-delivery-status"})  # RFC 3464, RFC 6533
_HEADERS: Final = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})
_MAILS: Final = frozenset({"message/rfc822", "message/global"})
_ID = re.compile(r"<[^<>\s]{1,900}>")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_DIAGNOSTIC_TYPE: Final = re.compile(r"^\s*[\w-]+\s*;")

_SYSTEM: Final = re.compile(
    r"daemon|post-?(?:master|office)|\badmin\b|(?:system|mail)[ ._-]?admin|deliver\w*[ ._-](?:sub)?system|non-?delivery"
    r"|mail[ ._-]?(?:er|router|gateway|server|system|scanner|marshal|sweeper|security)\b"
    r"|(?<![a-z])(?:smtp|imss|interscan|groupwise)(?![a-z])",
    re.IGNORECASE,
)
"""The names and addresses by which mail systems sign."""
_DELIVERY_FAILED: Final = re.compile(
    r"^returned mail\b"
    r"|^(?:mail|message)? ?(?:delivery (?:failed|failure|error)|un-?deliver(?:able|ed)|not delivered|could not be delivered)"
    r"|returning message to sender$|\(delivery failed\)$|^non-delivery|^delivery notification: ",
    re.IGNORECASE,
)
"""Subjects that mail systems alone write."""
_COPY: Final = re.compile(
    r"^(?:-+ ?.{0,30}(?:copy of|original (?:message|mail)|unsent message|returned message|message header|body of|below this)"
    r"|>? ?(?:return-path|received|message-id|mime-version|dkim-signature): ).*",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
"""The copy of the mail that a notice in words ends with."""
_FAILED: Final = re.compile(
    r"undeliver|un-deliver|not? (?:be )?deliver|delivery (?:\w+ ){0,4}fail|fail\w* (?:\w+ ){0,3}deliver|delivery error"
    r"|returned mail|failure notice|returning message|delivery .{0,40}(?:delayed|suspended|aborted)|was not sent|mail failure"
    r"|(?:following|these) (?:\w+ )?(?:recipient|address|error)|could not (?:send|be sent|be reached)|bounce|rejected"
    r"|(?:un|not )able to (?:deliver|send|reach)|returned (?:to|the) |not a valid user|deliver\w* to the following"
    r"|attempting to deliver|\brcpt to:",
    re.IGNORECASE,
)
"""The words by which a mail system says that it did not deliver."""
_RETRIED: Final = re.compile(
    r"deliver\w* (?:\w+ )?delayed|delayed (?:mail|message)|message delayed|(?:still|will) be(?:ing)? (?:re-?tried|attempted)"
    r"|warning: (?:could not send|message|mail) .{0,40}(?:for|delayed|past)|not yet been (?:able to )?deliver"
    r"|will (?:continue|keep)(?: to)? (?:try|attempt|retry)\w*|attempts will (?:continue|be made)"
    r"|no action is required|this is a warning|warning message only",
    re.IGNORECASE,
)
"""The words by which a mail system says that it is still trying."""
_ENDED: Final = re.compile(r"giving up|given up|permanent|returned to sender|no further attempts|time limit", re.IGNORECASE)
_REPLIED: Final = re.compile(r"(?<![\d.])[45][0-5]\d(?:[ -]|$)|(?<![\d.])[45]\.[0-7]\.\d{1,3}(?![\d.])")
_QUOTED: Final = re.compile(r"^[ \t]*(?:subject|subj|message-id|date|sent): .*$", re.IGNORECASE | re.MULTILINE)
"""Fields of our mail that a notice repeats: their words say nothing of the refusal."""
_REASON: Final = re.compile(r"^\s+\(?reason: (.+?)\)?$", re.MULTILINE | re.IGNORECASE)
"""The remote server's reply as Sendmail and Sun's servers repeat it; what they conclude from it is not always so."""
_PARAGRAPH: Final = re.compile(r"\n\s*\n")


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
    blames_us: bool = False
    """Whether a soft bounce says nothing about the reader's mailbox."""


def classify(raw: bytes) -> Report:
    """Return the report in an incoming mail; unknown if it can't be read. Its author is not proven: compare the Message-ID."""
    try:
        mail = email.message_from_bytes(raw)
        if xarf.may_be(raw) and xarf.is_complaint(mail):
            return Report("complaint", message_id=_answered(mail))
        return _classify(mail)
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        return Report("unknown")  # malformed in a way that Python's parser trips over


def whole(raw: bytes) -> str:
    """Return everything in an incoming mail as text, decoded; what could not be read is as it came."""
    try:
        mail = email.message_from_bytes(raw)
        return "\n".join((whole_text(mail, raw), *(xarf.samples(mail) if xarf.may_be(raw) else ())))
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        return raw.decode("utf-8", "replace")


def _classify(mail: Message) -> Report:
    parts = {part.get_content_type(): part for part in reversed(list(own_parts(mail)))}
    if (feedback := parts.get("message/feedback-report")) is not None:
        return _complaint(mail, feedback)
    if (original := _reported_to_microsoft(mail)) is not None:
        return Report("complaint", _readers(original, ("X-HmXmrOriginalRecipient",)), _id(original["Message-ID"]))
    status = next((parts[kind] for kind in _STATUSES if kind in parts), None)
    if status is not None and (report := _notice(mail, status)) is not None:
        return report
    if "message/disposition-notification" in parts and not _is_refusal(mail):
        return Report("auto_reply", message_id=_answered(mail))
    if _is_challenge(mail):
        return Report("challenge", message_id=_answered(mail))
    if _is_from_a_mail_system(mail) and (report := _odd_notice(mail)) is not None:
        return report
    if _is_automatic(mail):
        return Report("auto_reply", message_id=_answered(mail))
    return Report("unknown")


def _complaint(mail: Message, feedback: Message) -> Report:
    groups = fields(feedback)
    if not groups or field(groups[0], "Feedback-Type").lower() not in COMPLAINTS:
        return Report("unknown")  # such as not-spam, or a report on authentication
    told = _readers(groups[0], ("Original-Rcpt-To", "Removal-Recipient"))
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
    """Read a delivery status notification; None if it names nobody, unknown if nothing failed for good."""
    blocks = [block for block in fields(status) if "Action" in block and ("Status" in block or "Diagnostic-Code" in block)]
    words = _words(mail) if len(blocks) == 1 and not field(blocks[0], "Diagnostic-Code") else ""
    if blocks and field(blocks[0], "Status")[:5] in GONE and not _REPLIED.search(words):
        words = ""  # whose words they are is not known: a relay's address and disclaimer stand there too
    told = [(block, judged) for block in blocks if (judged := _judged(block, words)).verdict != "arrived"]
    if not told:
        return Report("unknown") if blocks else None
    recipients = tuple(_recipient(block, judged) for block, judged in told)
    message_id = _answered(mail) or _id(field(fields(status)[0], "X-Original-Message-ID"))
    return _bounced(recipients, [judged.verdict for _, judged in told], message_id)


def _bounced(recipients: tuple[Recipient, ...], verdicts: Iterable[Verdict], message_id: str | None) -> Report:
    found = set(verdicts)
    if "gone" in found:
        return Report("hard_bounce", recipients, message_id)
    return Report("soft_bounce", recipients, message_id, blames_us=found == {"ours"})


def _judged(block: Message, words: str) -> Judgement:
    """Judge the fields about one recipient; `words` stand in for the remote server's where it left none."""
    action, told = field(block, "Action").lower(), field(block, "Status").partition(" ")[0]
    if action.startswith(("deliver", "relayed", "expanded", "delayed")):
        return Judgement("arrived")  # or it still may
    return judge(_DIAGNOSTIC_TYPE.sub("", field(block, "Diagnostic-Code")) or words, told)


def _recipient(block: Message, judged: Judgement) -> Recipient:
    subject = int(judged.status.split(".")[1]) if judged.status else 0
    return Recipient(_address(block), judged.status, DIAGNOSTICS[subject], judged.verdict == "gone")


def _address(block: Message) -> str | None:
    for name in ("Original-Recipient", "Final-Recipient"):
        kind, _, value = field(block, name).partition(";")
        address = value.strip().strip("<>")
        if kind.strip().lower() in ("rfc822", "utf-8") and "@" in address:
            return _XTEXT.sub(lambda code: chr(int(code[1], 16)), address) if name == "Original-Recipient" else address
    return None


def _odd_notice(mail: Message) -> Report | None:
    """Read a notice in words; None if it doesn't say that something failed, unknown if it is still being tried."""
    from flufl.bounce import all_failures  # a module for each mail system's notices, and most come in the standard form

    temporary, permanent = all_failures(mail)
    words = _words(mail)
    said = f"{field(mail, 'Subject')}\n{_notice_of(mail)}"
    if _RETRIED.search(said) and not _ENDED.search(said):
        return Report("unknown")
    if not (temporary or permanent or _FAILED.search(said)):
        return None
    verdict = judge(words).verdict
    verdict = "passing" if verdict == "gone" and temporary and not permanent else verdict
    named = sorted(address.decode("ascii", "replace") for address in temporary | permanent if b"@" in address)
    recipients = tuple(Recipient(address, hard=verdict == "gone") for address in named)
    return None if verdict == "arrived" else _bounced(recipients, [verdict], _answered(mail))


def _words(mail: Message) -> str:
    """Return the words of a notice that say whom the failure blames: the remote server's alone if it repeats them."""
    said = _notice_of(mail)
    if reasons := _REASON.findall(said):
        return "\n".join(reasons)
    paragraphs = _PARAGRAPH.split(said)
    replies = [paragraph for paragraph in paragraphs if _REPLIED.search(paragraph)]
    return "\n".join(replies or paragraphs)


def _notice_of(mail: Message) -> str:
    """Return what a notice says in words, without the copy of the mail. A report whose parts were lost is its own text."""
    texts = [text_of(part) for part in own_parts(mail) if _is_text(part)]
    said = next((text for text in texts if text.strip()), "")
    return _QUOTED.sub("", _COPY.sub("", said.replace("\r", "")))


def _is_text(part: Message) -> bool:
    return part.get_content_maintype() == "text" or (part.get_content_maintype() == "multipart" and not part.is_multipart())


def _is_from_a_mail_system(mail: Message) -> bool:
    """Return whether no person wrote a mail: by its form, its sender's name, or the empty path back that relays fill in."""
    if "X-Failed-Recipients" in mail or mail.get_param("report-type") == "delivery-status":
        return True
    name, address = next(iter(getaddresses([field(mail, "From")])), ("", ""))
    if _SYSTEM.search(name) or _SYSTEM.search(address.rpartition("@")[0]):
        return True
    path = field(mail, "Return-Path").strip("<>").partition("@")[0].lower()
    if not address or ("Return-Path" in mail and path in ("", "mailer-daemon") and not _is_automatic(mail)):
        return True
    return _DELIVERY_FAILED.search(field(mail, "Subject")) is not None and "In-Reply-To" not in mail


def _is_refusal(mail: Message) -> bool:
    """Return whether a notice of what became of a mail (RFC 8098) says that it was refused, as Sieve does (RFC 5429)."""
    return field(mail, "Auto-Submitted").lower().startswith("auto-replied (rejected") or "rejected mail" in field(
        mail, "Subject"
    )


def _is_challenge(mail: Message) -> bool:
    if any(name.lower().startswith(CHALLENGES) for name in mail) or field(mail, "X-Delivery-Agent").startswith("TMDA"):
        return True
    return _is_automatic(mail) and "-confirm-" in field(mail, "Reply-To").partition("@")[0]


def _is_automatic(mail: Message) -> bool:
    submitted = field(mail, "Auto-Submitted").partition(";")[0].strip().lower()
    if submitted:
        return submitted != "no"
    if any(name in mail for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress", "X-Autogenerated")):
        return True
    return field(mail, "Precedence").lower() in ("auto_reply", "bulk", "junk") and "List-Id" not in mail


def _original(mail: Message) -> Message | None:
    """Return the mail of ours that was sent back, or its header."""
    for part in own_parts(mail):
        kind = part.get_content_type()
        if kind in _MAILS and children(part):
            return children(part)[0]
        if kind in _HEADERS:
            return fields(part)[0] if fields(part) else None
    return None


def _answered(mail: Message) -> str | None:
    """Return the Message-ID of the mail of ours that a mail is about."""
    original = _original(mail)
    if original is not None and (found := _id(original["Message-ID"])):
        return found
    return _id(mail["In-Reply-To"]) or _id(" ".join(reversed(field(mail, "References").split())))


def _id(value: object) -> str | None:
    found = _ID.search(str(value))
    return found and found[0]
