"""Cursors: the place where a list goes on, sealed so that callers can't make one up or carry it to another list."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from services.web.http.problems import BadInput

T = TypeVar("T")


class Cursors:
    """Seals and opens cursors. The first secret key signs; all of them verify, so keys can be rotated."""

    __slots__ = ("_keys",)

    _MAC_BYTES: Final = 12

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [hmac.digest(key.encode(), b"ballotpress cursor", "sha256") for key in secret_keys]

    def seal(self, list_: str, place: object) -> str:
        """Return the cursor of a place in a list; `list_` names the list with its sort and filters."""
        payload = msgspec.msgpack.encode(place)
        return base64.urlsafe_b64encode(self._mac(self._keys[0], list_, payload) + payload).rstrip(b"=").decode("ascii")

    def open(self, list_: str, cursor: str, type_: type[T]) -> T:
        """Return the place in a cursor as `type_`. Raises BadInput if it isn't a cursor of this list."""
        try:
            raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raw = b""
        mac, payload = raw[: self._MAC_BYTES], raw[self._MAC_BYTES :]
        if not any(hmac.compare_digest(self._mac(key, list_, payload), mac) for key in self._keys):
            raise BadInput.at("/cursor", "not a cursor of this list")
        return msgspec.msgpack.decode(payload, type=type_)

    def _mac(self, key: bytes, list_: str, payload: bytes) -> bytes:
        return hmac.digest(key, list_.encode() + b"\0" + payload, "sha256")[: self._MAC_BYTES]
