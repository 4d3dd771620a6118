"""Signatures of webhooks, as Standard Webhooks 1.0 has them: an HMAC-SHA256 over id, time and body under a shared secret."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def spell_secret(raw: bytes) -> str:
    """Return a secret as its receiver is given it."""
    return PREFIX + base64.b64encode(raw).decode("ascii")


def signature(secret: str, message: str, seconds: int, body: bytes) -> str:
    """Return the signature of a message, sent at a Unix time, under a secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.digest(key, f"{message}.{seconds}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def headers(secrets: Sequence[str], message: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that prove a message, signed under each secret that holds now."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signature(secret, message, seconds, body) for secret in secrets),
    }
