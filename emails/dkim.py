"""Sign mails with DKIM (RFC 6376): rsa-sha256, the one algorithm that every verifier has, relaxed/relaxed."""

import base64
import re
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

SHORTEST_RSA_BITS = 1024  # RFC 8301

SIGNED = (
    b"from", b"to", b"subject", b"date", b"message-id", b"list-id", b"list-unsubscribe", b"list-unsubscribe-post",
    b"feedback-id", b"cfbl-address", b"cfbl-feedback-id", b"ballotpress-checkpoint", b"auto-submitted", b"mime-version",
    b"content-type",
)  # fmt: skip
"""RFC 8058 4 wants both headers of one-click unsubscribing among them, RFC 9477 3.1 both of complaints."""
SEALED = (b"from", b"to", b"subject", b"date")
"""Headers named once more than they occur, so that a second one added on the way breaks the signature (RFC 6376 8.15)."""

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_SPACES = re.compile(rb"[ \t]+")


class KeyRefused(ValueError):
    """The key can't sign; the message says why."""


class Signer:
    """Signs for a domain with an RSA key in PEM, whose public half is at SELECTOR._domainkey.DOMAIN."""

    def __init__(self, domain: str, selector: str, pem: bytes) -> None:
        self._key = _load(pem)
        self._tags = f"v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s={selector};".encode("ascii")

    def sign(self, message: bytes) -> bytes:
        """Return the mail, which has CRLF at the end of every line, with its signature before it."""
        head, _, body = message.partition(b"\r\n\r\n")
        names, headers = _canonical_headers(head)
        unsigned = b"%s\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=" % (self._tags, b":".join(names), _digest(_canonical_body(body)))
        own = b"dkim-signature:" + _SPACES.sub(b" ", _FOLD.sub(b"", unsigned))
        signature = base64.b64encode(self._key.sign(b"".join(headers) + own, PKCS1v15(), SHA256()))
        folded = b"\r\n\t".join(signature[at : at + 72] for at in range(0, len(signature), 72))
        return b"DKIM-Signature: %s%s\r\n%s" % (unsigned, folded, message)


class PublicKey(NamedTuple):
    """The half of a key that others verify by: the record that publishes it (RFC 6376 3.6.1), and its length in bits."""

    record: str
    bits: int


def public_key(pem: bytes) -> PublicKey:
    """Return the public half of a private key in PEM. Raises KeyRefused."""
    key = _load(pem)
    public = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return PublicKey(f"v=DKIM1; k=rsa; p={public.decode('ascii')}", key.key_size)


def _load(pem: bytes) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyRefused("the DKIM key is no private key in PEM without a password") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < SHORTEST_RSA_BITS:
        raise KeyRefused(f"the DKIM key is no RSA key of at least {SHORTEST_RSA_BITS} bits")
    return key


def _digest(data: bytes) -> bytes:
    return base64.b64encode(sha256(data).digest())


def _canonical_headers(head: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the names to sign, and the headers they stand for as they are hashed (RFC 6376 3.4.2, 5.4.2)."""
    found: dict[bytes, list[bytes]] = {}
    for line in _FOLD.sub(b"", head).split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        found.setdefault(name, []).append(b"%s:%s\r\n" % (name, _SPACES.sub(b" ", value).strip()))
    names = [name for name in SIGNED for _ in found.get(name, ())]
    headers = [header for name in SIGNED for header in reversed(found.get(name, ()))]
    return names + list(SEALED), headers


def _canonical_body(body: bytes) -> bytes:
    """Return the body as it is hashed (RFC 6376 3.4.4)."""
    body = body.replace(b"\t", b" ")
    while b"  " in body:
        body = body.replace(b"  ", b" ")
    body = body.replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return body + b"\r\n" if body else b""
