"""Who is calling: a visitor by Bearer token or cookie (Bearer wins), an operator by Bearer token and scope or by a session.

A visitor's token is the visitor's id and a signature, and nothing else, so it reveals only when it was issued. An operator's
token is a secret from the settings. A session's cookie is for /ops alone; scripts can't read it and other sites can't send
it. Comparisons take the same time whatever is wrong.
"""

import hmac
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Final

from itsdangerous import BadData, URLSafeSerializer, URLSafeTimedSerializer

from events.log.ids import is_id
from services.settings import OperatorToken, Settings
from services.web.http.cursors import SIGNED
from services.web.http.problems import MissingScope, NoToken

COOKIE: Final = b"ballotpress_visitor"
COOKIE_SECONDS: Final = 400 * 24 * 3600  # the longest that browsers keep one
OPS_COOKIE: Final = b"ballotpress_ops"
_HOST: Final = b"__Host-"  # a browser takes a cookie of such a name from this host alone, over https, for all paths
_MOST_COOKIES: Final = 100
_MOST_SESSIONS: Final = 8  # to try one costs a signature for every key
BEGUN_SECONDS: Final = 600
"""So long a sign-in at the provider may take."""
_BEARER: Final = b"bearer "
_VISITOR_TOKEN: Final = b"visitor token"
_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


class VisitorTokens:
    """Issues and reads visitors' tokens. The first secret key signs; all of them verify, so keys can be rotated.

    A token is `ID.SIGNATURE`, the signature a keyed BLAKE2b (RFC 7693) in base64url. Measured inside a request, an HMAC
    with SHA-256 costs twice as much, itsdangerous' Signer three times.
    """

    __slots__ = ("_keyed",)

    def __init__(self, secret_keys: Sequence[str]) -> None:
        keys = [blake2b(key.encode(), person=_VISITOR_TOKEN).digest() for key in secret_keys]
        self._keyed = [blake2b(digest_size=33, key=key) for key in keys]

    def issue(self, visitor: str) -> str:
        """Sign a visitor's id under the newest key."""
        return f"{visitor}.{_signature(self._keyed[0], visitor.encode()).decode('ascii')}"

    def visitor_of(self, token: bytes) -> str | None:
        """Return the id in a token, or None if the token was cut, changed, or signed under another key.

        The signature is compared as it is spelled: base64's second spelling of the same bytes isn't a token.
        """
        visitor, _, signature = token.partition(b".")
        for keyed in self._keyed:
            if hmac.compare_digest(_signature(keyed, visitor), signature):
                text = visitor.decode("ascii")
                return text if is_id(text) else None
        return None


def _signature(keyed: blake2b, visitor: bytes) -> bytes:
    """Return a signature: a key's hash of nothing yet is copied in less time than the key is read."""
    hashed = keyed.copy()
    hashed.update(visitor)
    return b2a_base64(hashed.digest(), newline=False).translate(_URLSAFE)


class OperatorTokens:
    """Finds operators by their tokens."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Sequence[OperatorToken]) -> None:
        self._tokens = [(token.token.encode(), token) for token in tokens]

    def operator_of(self, token: bytes) -> OperatorToken | None:
        """Return the operator with this token, or None; every token is compared."""
        found = None
        for secret, operator in self._tokens:
            if hmac.compare_digest(secret, token):
                found = operator
        return found


def bearer(head: Mapping[bytes, bytes]) -> bytes | None:
    """Return the credentials of `Authorization: Bearer`, or None."""
    value = head.get(b"authorization")
    if value is None or value[:7].lower() != _BEARER:
        return None
    return value[7:].strip()


def _cookies(head: Mapping[bytes, bytes], name: bytes, prefixes: Sequence[bytes] = (_HOST, b"")) -> list[bytes]:
    """Return the cookies of a name, those first that no sibling site can set; of each sort only the first few."""
    pairs = [pair.strip().partition(b"=") for pair in head.get(b"cookie", b"").split(b";", _MOST_COOKIES)]
    values = [(given, value.strip(b'"')) for given, _, value in pairs]
    return [value for prefix in prefixes for given, value in values if given == prefix + name]


def _own_cookies(head: Mapping[bytes, bytes], name: bytes, *, is_https: bool) -> list[bytes]:
    """Return the operators' cookies of a name: on https none that a sibling site may have set, to have its own session used."""
    return _cookies(head, name, (_HOST,) if is_https else (b"",))


def visitor_cookie(token: str, base_url: str) -> tuple[bytes, bytes]:
    """Return the header that keeps a visitor's token in the browser."""
    how = b"Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % COOKIE_SECONDS
    name, secure = (_HOST + COOKIE, b"; Secure") if _is_https(base_url) else (COOKIE, b"")
    return b"set-cookie", b"%s=%s; %s%s" % (name, token.encode("ascii"), how, secure)


def _is_https(base_url: str) -> bool:
    return base_url.startswith("https:")


def find_visitor(head: Mapping[bytes, bytes], tokens: VisitorTokens) -> str | None:
    """Return the calling visitor, or None without a valid token. A Bearer token, valid or not, silences the cookie.

    Of several cookies the first valid one counts: a sibling site may have set another of the name.
    """
    if (token := bearer(head)) is not None:
        return tokens.visitor_of(token)
    given = _cookies(head, COOKIE)
    return next((visitor for one in given if (visitor := tokens.visitor_of(one)) is not None), None)


def require_visitor(head: Mapping[bytes, bytes], tokens: VisitorTokens) -> str:
    """Return the calling visitor. Raises NoToken."""
    if visitor := find_visitor(head, tokens):
        return visitor
    raise NoToken("This needs a visitor's token: POST /v1/visitors gives one.")


def require_operator(head: Mapping[bytes, bytes], tokens: OperatorTokens, scope: str) -> OperatorToken:
    """Return the calling operator; any if `scope` is empty. Raises NoToken, or MissingScope if the token doesn't carry it."""
    token = bearer(head)
    operator = tokens.operator_of(token) if token else None
    if operator is None:
        raise NoToken("This needs an operator's token.")
    if scope and scope not in operator.scopes:
        raise MissingScope(f"This needs a token with the scope {scope!r}.")
    return operator


class SessionCookies:
    """Makes and reads the cookies of operators' sessions: a random secret, signed, so no made-up one reaches the database.

    `services.operators.sessions` knows whose session it is.
    """

    def __init__(self, settings: Settings) -> None:
        oldest_first = [*reversed(settings.secret_keys)]  # itsdangerous signs with the last
        self._serializer = URLSafeSerializer(oldest_first, salt="operator session", signer_kwargs=SIGNED)
        self._seconds = settings.signing_in.session_minutes * 60
        self._is_https = _is_https(settings.base_url)

    def begin(self, secret: str) -> tuple[bytes, bytes]:
        """Return the header that keeps a session's secret in the browser."""
        return self._header(self._serializer.dumps(secret), self._seconds)

    def end(self) -> tuple[bytes, bytes]:
        """Return the header that takes it away."""
        return self._header("", 0)

    def secrets(self, head: Mapping[bytes, bytes]) -> list[str]:
        """Return the secrets of the sessions that a request carries: few, as anybody can send a hundred cookies."""
        found = []
        for value in _own_cookies(head, OPS_COOKIE, is_https=self._is_https)[:_MOST_SESSIONS]:
            with suppress(BadData):
                secret = self._serializer.loads(value) if value.isascii() else None
                found += [secret] if isinstance(secret, str) else []
        return found

    def _header(self, value: str, seconds: int) -> tuple[bytes, bytes]:
        name, where = (_HOST + OPS_COOKIE, "/; Secure") if self._is_https else (OPS_COOKIE, "/ops")
        how = f"{value}; Path={where}; Max-Age={seconds}; HttpOnly; SameSite=Strict"
        return b"set-cookie", name + b"=" + how.encode("ascii")


class BegunSignIns:
    """Makes and reads the cookies of sign-ins that were begun at the provider, one each: so several windows don't mix.

    The provider's answer comes from another site, so such a cookie is `Lax`; it opens nothing by itself.
    """

    def __init__(self, settings: Settings) -> None:
        oldest_first = [*reversed(settings.secret_keys)]
        self._serializer = URLSafeTimedSerializer(oldest_first, salt="operator signing in", signer_kwargs=SIGNED)
        self._is_https = _is_https(settings.base_url)

    def begin(self, state: str, what: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Return the header that keeps what a sign-in was begun with until its state comes back."""
        return self._header(state, self._serializer.dumps(dict(what)), BEGUN_SECONDS)

    def end(self, state: str) -> tuple[bytes, bytes]:
        """Return the header that takes it away."""
        return self._header(state, "", 0)

    def of(self, head: Mapping[bytes, bytes], state: str) -> Mapping[str, str] | None:
        """Return what the sign-in of a state was begun with; None if this browser began none, or long ago."""
        for value in _own_cookies(head, _begun(state), is_https=self._is_https)[:1]:
            with suppress(BadData):
                what: Mapping[str, str] = self._serializer.loads(value, max_age=BEGUN_SECONDS)
                return what
        return None

    def _header(self, state: str, value: str, seconds: int) -> tuple[bytes, bytes]:
        name, where = (_HOST + _begun(state), "/; Secure") if self._is_https else (_begun(state), "/ops/sign-in")
        how = f"{value}; Path={where}; Max-Age={seconds}; HttpOnly; SameSite=Lax"
        return b"set-cookie", name + b"=" + how.encode("ascii")


def _begun(state: str) -> bytes:
    return b"ballotpress_begun_" + blake2b(state.encode(), digest_size=6).hexdigest().encode("ascii")
