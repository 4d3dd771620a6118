"""Verify and read the reports of Amazon SES through SNS: bounces and complaints, signed under Amazon's certificate.

"Verifying the signatures of Amazon SNS messages" in Amazon's developer guide says which fields are signed, in which order.
"""

import base64
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Kind = Literal["hard_bounce", "soft_bounce", "complaint"]

OLDEST: Final = timedelta(hours=1)
_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}

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


def fetch_certificate(url: str) -> bytes:
    """Return the certificate at an address that `certificate_url` checked."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - https and Amazon's host, see `certificate_url`
        body: bytes = answer.read(64 * 1024)
        return body


def certificate_url(message: dict[str, Any]) -> str:
    """Return the address of the signing certificate. Raises NotSigned unless the host is Amazon's."""
    url = str(message.get("SigningCertURL", ""))
    parts = urlsplit(url)
    if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc) or not parts.path.endswith(".pem"):
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
        key = x509.load_pem_x509_certificate(certificate).public_key()
    except (KeyError, ValueError):
        raise NotSigned("the message isn't whole") from None
    if abs(at - sent) > OLDEST:
        raise NotSigned("the message is too old")
    algorithm = hashes.SHA256() if message.get("SignatureVersion") == "2" else hashes.SHA1()  # noqa: S303 - version 1 is SHA-1
    if not isinstance(key, rsa.RSAPublicKey):
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
                kind: Kind = "hard_bounce" if report["bounce"].get("bounceType") == "Permanent" else "soft_bounce"
                return _notices(kind, report, report["bounce"]["bouncedRecipients"], message["MessageId"])
            case "Complaint":
                return _notices("complaint", report, report["complaint"]["complainedRecipients"], message["MessageId"])
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        return []
    return []


def _notices(kind: Kind, report: dict[str, Any], recipients: list[dict[str, Any]], name: str) -> list[Notice]:
    headers = {str(header["name"]).lower(): str(header["value"]) for header in report.get("mail", {}).get("headers", [])}
    return [
        Notice(
            kind=kind,
            id=f"{name} {place}",
            message_id=headers.get("message-id"),
            recipient=str(recipient["emailAddress"]),
            status=str(recipient.get("status", ""))[:40] or None,
        )
        for place, recipient in enumerate(recipients)
    ]
