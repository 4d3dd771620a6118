"""Who is calling: a visitor by Bearer token or cookie (Bearer wins), an operator by Bearer token and scope."""

from collections.abc import Mapping

from services.web.http.problems import MissingScope, NoToken
from services.web.http.tokens import OperatorTokens, VisitorTokens

COOKIE = b"ballotpress_visitor"
_BEARER = b"bearer "


def bearer(head: Mapping[bytes, bytes]) -> bytes | None:
    """Give the credentials of `Authorization: Bearer`, or None."""
    value = head.get(b"authorization")
    if value is None or value[:7].lower() != _BEARER:
        return None
    return value[7:].strip()


def cookie(head: Mapping[bytes, bytes]) -> bytes | None:
    """Give the visitor's cookie, or None."""
    for pair in head.get(b"cookie", b"").split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE:
            return value.strip(b'"')
    return None


def find_visitor(head: Mapping[bytes, bytes], tokens: VisitorTokens) -> str | None:
    """Tell which visitor calls; None without a valid token. A Bearer token, valid or not, silences the cookie."""
    token = bearer(head)
    if token is None:
        token = cookie(head)
    return tokens.visitor_of(token) if token else None


def require_visitor(head: Mapping[bytes, bytes], tokens: VisitorTokens) -> str:
    """Tell which visitor calls, or raise NoToken."""
    if visitor := find_visitor(head, tokens):
        return visitor
    raise NoToken("This needs a visitor's token: POST /v1/visitors gives one.")


def require_operator(head: Mapping[bytes, bytes], tokens: OperatorTokens, scope: str) -> str:
    """Tell which operator calls, by name; NoToken, or MissingScope if the token doesn't carry the scope."""
    token = bearer(head)
    operator = tokens.operator_of(token) if token else None
    if operator is None:
        raise NoToken("This needs an operator's token.")
    if scope not in operator.scopes:
        raise MissingScope(f"This needs a token with the scope {scope!r}.")
    return operator.name
