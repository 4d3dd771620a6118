"""Signatures: a stranger's verifier accepts it, and no change to a signed part goes unnoticed."""

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import dkim
import hypothesis
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from emails.dkim import KeyRefused, Signer
from emails.message import prepare, single
from emails.rendering import render, render_shared
from tests.support.mails import CONTENT, LIST_ID, READER, SENDER, SINGLE_MAILS, WHEN

DIGEST = prepare(render_shared(CONTENT), SENDER, LIST_ID).fill(READER)


@cache
def key() -> rsa.RSAPrivateKey:
    """Return the key that signs; it is made when a test needs it."""
    return rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> bytes:
    """Write a private key as an operator keeps it."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def verified(message: bytes) -> bool:
    """Verify by dkimpy, with the public keys that the domain's DNS would give."""
    public = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    records = {
        b"r1._domainkey.example.com.": b"v=DKIM1; k=rsa; p=" + base64.b64encode(public),
    }
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: records[name]))


def rsa_signed(message: bytes) -> bytes:
    """Sign with the RSA key."""
    return Signer("example.com", "r1", pem(key())).sign(message)


def test_a_stranger_accepts_the_signature() -> None:
    """Digests and single mails verify; the mail itself is unchanged."""
    rendered = render("confirmation", SINGLE_MAILS["confirmation"])
    for mail in (DIGEST, single(rendered, SENDER, "ana@example.com", "<1@example.com>", WHEN)):
        signed = rsa_signed(mail)
        assert verified(signed) and signed.endswith(mail)
        assert max(map(len, signed.split(b"\r\n"))) <= 998 and signed.isascii()


@pytest.mark.parametrize(
    "before, after",
    [
        (b"ana@example.com", b"bob@example.com"), (b"Subject: ", b"Subject: Re: "), (b"unsubscribe?t", b"unsubscribe?T"),
        (b"One-Click", b"Two-Click"), (b"List-Id: <weekly", b"List-Id: <daily"), (b"READERS", b"WRITERS"),
        (b"Checkpoint: d", b"Checkpoint: e"),
        (b"From: ", b"From: eve@example.com\r\nFrom: "), (b"Subject: ", b"Subject: More\r\nSubject: "),
    ],
)  # fmt: skip
def test_a_change_breaks_the_signature(before: bytes, after: bytes) -> None:
    """Neither the text nor what a reader sees or unsubscribes by can be changed, nor a second header slipped in."""
    signed = rsa_signed(DIGEST)
    assert before in signed and not verified(signed.replace(before, after, 1))


def test_what_relays_change_does_not_matter() -> None:
    """Folded headers, headers added in front and blank lines at the end leave the signature whole."""
    signed = rsa_signed(DIGEST)
    changed = (
        b"Received: from a by b\r\n" + signed.replace(b"To: ana", b"To:\r\n  ana").replace(b"Date: ", b"DATE:  ") + b"\r\n\r\n"
    )
    assert changed != signed and verified(changed)


@hypothesis.settings(max_examples=30)  # a signature is verified in pure Python
@given(st.text(st.sampled_from(" \t\r\nab.=")), st.text(st.sampled_from(" \tab:;")))
def test_any_white_space_is_canonical(body: str, header: str) -> None:
    """Odd white space and empty bodies are hashed as the verifier hashes them."""
    text = "".join(line + "\r\n" for line in body.splitlines())
    assert verified(rsa_signed(f"From: a@example.com\r\nSubject: x{header}\r\n\r\n{text}".encode()))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: b"",
        lambda: b"nonsense",
        lambda: pem(ec.generate_private_key(ec.SECP256R1())),
        lambda: key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    ],
    ids=["empty", "nonsense", "other kind", "public"],
)
def test_a_key_that_cannot_sign_is_refused_at_the_start(wrong: Callable[[], bytes]) -> None:
    """A wrong key stops the start, not the first mail."""
    with pytest.raises(KeyRefused):
        Signer("example.com", "r1", wrong())


@pytest.mark.parametrize("name", [b"Feedback-ID", b"CFBL-Address", b"CFBL-Feedback-ID"])
def test_headers_of_complaints_are_signed(name: bytes) -> None:
    """Providers believe them only where the signature covers them (RFC 9477 3.1): a changed one breaks it."""
    prepared = prepare(render_shared(CONTENT), SENDER, LIST_ID, "issue-1:weekly:digest:example-com")
    signed = rsa_signed(prepared.fill(READER._replace(complaint_id="reader:signature")))
    assert verified(signed)
    assert signed.count(b"\r\n%s: " % name) == 1
    assert not verified(signed.replace(b"\r\n%s: " % name, b"\r\n%s: x" % name))
