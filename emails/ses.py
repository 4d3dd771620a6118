"""Read the reports of Amazon SES through SNS: bounces and complaints. `sns` verifies the messages that carry them."""

from typing import Any, Final, Literal

import msgspec

from emails.refusals import Verdict, judge, judge_reported

Kind = Literal["hard_bounce", "soft_bounce", "complaint"]

_SUPPRESSED: Final = frozenset({"NoEmail", "Suppressed", "OnAccountSuppressionList"})
_ABOUT_US: Final = frozenset({"MessageTooLarge", "ContentRejected", "AttachmentRejected"})
_ABOUT_MAILBOX: Final = frozenset({"MailboxFull"})
"""Subtypes of bounces that say enough by themselves; see "Amazon SNS notification contents for Amazon SES"."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A bounce or complaint about one recipient; `id` stays the same when SNS repeats it."""

    kind: Kind
    id: str
    message_id: str | None
    """The Message-ID of the mail that was sent."""
    recipient: str
    status: str | None
    """RFC 3463, such as 5.1.1."""
    about_us: bool = False
    """Whether a soft bounce says nothing about the recipient's mailbox."""


def read(message: dict[str, Any]) -> list[Notice]:
    """Return a notification's bounces and complaints; empty for anything else that SES reports."""
    if message.get("Type") != "Notification":
        return []
    try:
        report = msgspec.json.decode(str(message["Message"]), type=dict[str, Any])
        match report.get("notificationType") or report.get("eventType"):
            case "Bounce":
                return _notices(report, report["bounce"]["bouncedRecipients"], message["MessageId"])
            case "Complaint" if report["complaint"].get("complaintFeedbackType") != "not-spam":
                return _notices(report, report["complaint"]["complainedRecipients"], message["MessageId"])
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, UnicodeDecodeError, RecursionError):
        return []
    return []


def _notices(report: dict[str, Any], recipients: list[dict[str, Any]], name: str) -> list[Notice]:
    headers = {str(header["name"]).lower(): str(header["value"]) for header in report.get("mail", {}).get("headers", [])}
    return [
        _notice(report.get("bounce"), recipient, id=f"{name} {place}", message_id=headers.get("message-id"))
        for place, recipient in enumerate(recipients)
    ]


def _notice(bounce: dict[str, Any] | None, recipient: dict[str, Any], **named: Any) -> Notice:
    status = str(recipient.get("status", ""))[:40] or None
    verdict = None if bounce is None else _verdict(bounce, str(recipient.get("diagnosticCode", "")), status)
    kind: Kind = "complaint" if verdict is None else "hard_bounce" if verdict == "gone" else "soft_bounce"
    address = str(recipient["emailAddress"])
    return Notice(kind=kind, recipient=address, status=status, about_us=verdict in ("ours", "arrived"), **named)


def _verdict(bounce: dict[str, Any], words: str, status: str | None) -> Verdict:
    """Judge a bounce by the remote server's words and code, and by Amazon's types where those say less."""
    subtype = str(bounce.get("bounceSubType", ""))
    if bounce.get("bounceType") == "Permanent":
        return "gone" if subtype in _SUPPRESSED else judge_reported(words, status)
    if subtype in _ABOUT_US or not (words or status or subtype in _ABOUT_MAILBOX):  # such as an automatic reply
        return "ours"
    verdict = judge(words, status).verdict
    return "passing" if verdict == "gone" or subtype in _ABOUT_MAILBOX else verdict
