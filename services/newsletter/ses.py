"""Amazon SES by way of SNS: notifications verified by Amazon's certificate, and read into reports.

See "Verifying the signatures of Amazon SNS messages" in Amazon's developer guide: which fields are signed, in which order.
"""

import base64
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from services.newsletter.reports import Kind, Reported

OLDEST: Final = timedelta(hours=1)
_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}

Fetch = Callable[[str], bytes]


class NotSigned(Exception):
    """The message isn't from one of our topics, or not signed by Amazon, or too old."""


def fetch_certificate(url: str) -> bytes:
    """Fetch a certificate; the address must have been checked."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - https and Amazon's host, see `certificate_url`
        body: bytes = answer.read(64 * 1024)
        return body


def certificate_url(message: dict[str, Any]) -> str:
    """Give the address of the signing certificate if it is Amazon's own; NotSigned."""
    url = str(message.get("SigningCertURL", ""))
    parts = urlsplit(url)
    if parts.scheme != "https" or not _HOST.fullmatch(parts.netloc) or not parts.path.endswith(".pem"):
        raise NotSigned("the certificate isn't Amazon's")
    return url


def verify(message: dict[str, Any], certificate: bytes, topics: tuple[str, ...], at: datetime) -> None:
    """Check that a message is from one of our topics, recent, and signed under this certificate; NotSigned."""
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


def read(message: dict[str, Any]) -> list[Reported]:
    """Read a notification's bounces and complaints; none for anything else that SES tells."""
    if message.get("Type") != "Notification":
        return []
    try:
        told = msgspec.json.decode(str(message["Message"]), type=dict[str, Any])
        mail = told.get("mail", {})
        headers = {str(header["name"]).lower(): str(header["value"]) for header in mail.get("headers", [])}
        match told.get("notificationType") or told.get("eventType"):
            case "Bounce":
                return _read(told["bounce"], "bouncedRecipients", _kind_of_bounce(told["bounce"]), headers, message)
            case "Complaint":
                return _read(told["complaint"], "complainedRecipients", "complaint", headers, message)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        return []
    return []


def _kind_of_bounce(bounce: dict[str, Any]) -> Kind:
    return "hard" if bounce.get("bounceType") == "Permanent" else "soft"


def _read(
    told: dict[str, Any], recipients: str, kind: Kind, headers: dict[str, str], message: dict[str, Any]
) -> list[Reported]:
    return [
        Reported(
            kind=kind,
            fingerprint=blake2b(f"{message['MessageId']} {place}".encode(), digest_size=16, person=b"ses").digest(),
            message_id=headers.get("message-id"),
            recipient=str(recipient["emailAddress"]),
            code=str(recipient.get("status", ""))[:40] or None,
        )
        for place, recipient in enumerate(told[recipients])
    ]
