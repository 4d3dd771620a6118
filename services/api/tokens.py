"""Tokens: who is calling, without a look-up.

A visitor's token is the visitor's id and a signature, and nothing else; so it reveals only when it was issued. An
operator's token is a secret from the settings. Comparisons take the same time whatever is wrong.
"""

import hashlib
import hmac
from collections.abc import Sequence

from itsdangerous import Signer

from events.ids import is_id
from services.settings import OperatorToken

_SALT = b"ballotpress visitor token"


class VisitorTokens:
    """Issues and reads visitors' tokens. The first secret key signs; all of them verify, so keys can be rotated."""

    __slots__ = ("_signers",)

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._signers = [_signer(key) for key in secret_keys]

    def issue(self, visitor: str) -> str:
        """Sign a visitor's id under the newest key."""
        return self._signers[0].sign(visitor).decode("ascii")

    def visitor_of(self, token: bytes) -> str | None:
        """Give back the id in a token, or None if it was cut, changed, or signed by nobody we know.

        The signature is compared as it is spelled: base64's second spelling of the same bytes isn't a token of ours.
        """
        visitor, _, signature = token.partition(b".")
        for signer in self._signers:
            if hmac.compare_digest(signer.get_signature(visitor), signature):
                text = visitor.decode("ascii", "replace")
                return text if is_id(text) else None
        return None


def _signer(secret_key: str) -> Signer:
    """Derive the purpose's own key once; letting Signer do it would double the cost of each look."""
    derived = hmac.digest(secret_key.encode(), _SALT, "sha256")
    return Signer(derived, key_derivation="none", digest_method=hashlib.sha256)


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
