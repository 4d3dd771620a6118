"""An operator's session at a browser: a cookie for /ops alone that scripts can't read and other sites can't send.

It says who and until when, under a signature that depends on the operator's token: a token that is taken from the settings, or
changed, ends its sessions. The token itself is in no cookie, page or address.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from services.settings import OperatorToken, Settings

COOKIE: Final = b"ballotpress_ops"
SECONDS: Final = 2 * 3600
_PURPOSE: Final = b"operator page"


class Sessions:
    """Signs and reads operators' cookies."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [blake2b(key.encode(), person=_PURPOSE).digest() for key in settings.secret_keys]
        self._operators = settings.operator_tokens
        self._secure = b"; Secure" if settings.base_url.startswith("https:") else b""

    def begin(self, operator: OperatorToken, now: float) -> tuple[bytes, bytes]:
        """Make the header that signs an operator in, at a Unix time."""
        expires = int(now) + SECONDS
        value = f"{expires}.{self._signature(self._keys[0], operator, expires)}.{operator.name}"
        return self._header(urlsafe_b64encode(value.encode()), SECONDS)

    def end(self) -> tuple[bytes, bytes]:
        """Make the header that signs out."""
        return self._header(b"", 0)

    def operator(self, head: Mapping[bytes, bytes], now: float) -> OperatorToken | None:
        """Tell whose session a request carries; None without one that holds now."""
        expires, signature, name = _parts(head)
        if expires <= now:
            return None
        for operator in self._operators:
            for key in self._keys:
                ours = self._signature(key, operator, expires)
                if operator.name == name and hmac.compare_digest(ours, signature):
                    return operator
        return None

    def _signature(self, key: bytes, operator: OperatorToken, expires: int) -> str:
        signed = f"{expires}\0{operator.name}\0{operator.token}".encode()
        return blake2b(signed, digest_size=32, key=key).hexdigest()

    def _header(self, value: bytes, seconds: int) -> tuple[bytes, bytes]:
        how = b"; Path=/ops; Max-Age=%d; HttpOnly; SameSite=Strict%s" % (seconds, self._secure)
        return b"set-cookie", COOKIE + b"=" + value + how


def _parts(head: Mapping[bytes, bytes]) -> tuple[int, str, str]:
    """Take a cookie apart, unread: until when, signature, name."""
    for pair in head.get(b"cookie", b"").split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == COOKIE:
            return _read(value.strip(b'"'))
    return 0, "", ""


def _read(value: bytes) -> tuple[int, str, str]:
    try:
        expires, signature, name = urlsafe_b64decode(value).decode().split(".", 2)
        return int(expires), signature, name
    except ValueError:  # binascii.Error and UnicodeDecodeError too
        return 0, "", ""
