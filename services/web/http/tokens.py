"""Tokens: who is calling, without a look-up.

A visitor's token is the visitor's id and a signature, and nothing else; so it reveals only when it was issued. An
operator's token is a secret from the settings. Comparisons take the same time whatever is wrong.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from events.log.ids import is_id
from services.settings import OperatorToken

_PURPOSE: Final = b"visitor token"


class VisitorTokens:
    """Issues and reads visitors' tokens. The first secret key signs; all of them verify, so keys can be rotated.

    A token is `ID.SIGNATURE`, the signature a keyed BLAKE2b (RFC 7693) in base64url. Measured inside a request, an HMAC
    with SHA-256 costs twice as much, itsdangerous' Signer three times.
    """

    __slots__ = ("_keys",)

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [blake2b(key.encode(), person=_PURPOSE).digest() for key in secret_keys]

    def issue(self, visitor: str) -> str:
        """Sign a visitor's id under the newest key."""
        return f"{visitor}.{_signature(self._keys[0], visitor.encode()).decode('ascii')}"

    def visitor_of(self, token: bytes) -> str | None:
        """Give back the id in a token, or None if it was cut, changed, or signed by nobody we know.

        The signature is compared as it is spelled: base64's second spelling of the same bytes isn't a token of ours.
        """
        visitor, _, signature = token.partition(b".")
        for key in self._keys:
            if hmac.compare_digest(_signature(key, visitor), signature):
                text = visitor.decode("ascii")
                return text if is_id(text) else None
        return None


def _signature(key: bytes, visitor: bytes) -> bytes:
    return urlsafe_b64encode(blake2b(visitor, digest_size=33, key=key).digest())


class OperatorTokens:
    """Tells operators by their tokens."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Sequence[OperatorToken]) -> None:
        self._tokens = [(token.token.encode(), token) for token in tokens]

    def operator_of(self, token: bytes) -> OperatorToken | None:
        """Find the operator whose token this is; every one is compared."""
        found = None
        for secret, operator in self._tokens:
            if hmac.compare_digest(secret, token):
                found = operator
        return found
