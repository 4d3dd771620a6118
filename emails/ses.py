"""Verify and read the reports of Amazon SES through SNS: bounces and complaints, signed under Amazon's certificate.

"Verifying the signatures of Amazon SNS messages" in Amazon's developer guide says which fields are signed, in which order.
"""

import base64
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from emails.refusals import Verdict, judge, judge_reported

Kind = Literal["hard_bounce", "soft_bounce", "complaint"]

OLDEST: Final = timedelta(hours=1)
_TOPIC: Final = re.compile(r"arn:(?P<partition>aws[a-z-]{0,16}):sns:(?P<region>[a-z0-9-]{3,40}):")
_CERTIFICATE: Final = re.compile(
    r"https://sns\.(?P<region>[a-z0-9-]{3,40})\.amazonaws\.com(?P<china>\.cn)?/SimpleNotificationService-[0-9a-f]{32}\.pem"
)
_LEAST_BITS: Final = 2048
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}

_SUPPRESSED: Final = frozenset({"NoEmail", "Suppressed", "OnAccountSuppressionList"})
_ABOUT_US: Final = frozenset({"MessageTooLarge", "ContentRejected", "AttachmentRejected"})
_ABOUT_MAILBOX: Final = frozenset({"MailboxFull"})
"""Subtypes of bounces that say enough by themselves; see "Amazon SNS notification contents for Amazon SES"."""

Fetch = Callable[[str], bytes]


class NotSigned(Exception):
    """The message is from another topic, isn't signed by Amazon, or is too old."""


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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow none: the address that was checked is the one that counts."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


def fetch_certificate(url: str) -> bytes:
    """Return the certificate at an address that `certificate_url` checked."""
    with _OPENER.open(url, timeout=5) as answer:
        body: bytes = answer.read(64 * 1024)
        return body


def certificate_url(message: dict[str, Any]) -> str:
    """Return the address of the signing certificate. Raises NotSigned unless it is that of SNS in the topic's own region."""
    url = str(message.get("SigningCertURL", ""))
    topic, address = _TOPIC.match(str(message.get("TopicArn", ""))), _CERTIFICATE.fullmatch(url)
    if topic is None or address is None or address["region"] != topic["region"]:
        raise NotSigned("the certificate isn't Amazon's")
    if (address["china"] is not None) != (topic["partition"] == "aws-cn"):
        raise NotSigned("the certificate isn't Amazon's")
    return url


def verify(message: dict[str, Any], certificate: bytes, topics: tuple[str, ...], at: datetime) -> None:
    """Raise NotSigned unless a message is from one of these topics, recent, and signed under this certificate."""
    if message.get("TopicArn") not in topics:
        raise NotSigned("the topic isn't one of ours")
    try:
        sent = datetime.fromisoformat(str(message["Timestamp"])).astimezone(UTC)
        signature = base64.b64decode(str(message["Signature"]), validate=True)
        signed = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message)
        signer = x509.load_pem_x509_certificate(certificate)
        key = signer.public_key()
    except (KeyError, ValueError, TypeError, OverflowError):
        raise NotSigned("the message isn't whole") from None
    if abs(at - sent) > OLDEST:
        raise NotSigned("the message is too old")
    algorithm = hashes.SHA256() if message.get("SignatureVersion") == "2" else hashes.SHA1()  # noqa: S303 - version 1 is SHA-1
    if not signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
        raise NotSigned("the certificate isn't valid now")
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise NotSigned("the certificate has another sort of key")
    try:
        key.verify(signature, signed.encode(), padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise NotSigned("the signature is wrong") from None


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
