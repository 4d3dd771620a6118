"""Cursors: the place where a list goes on, signed so that callers can't make one up or carry it to another list."""

from collections.abc import Sequence
from hashlib import sha384
from typing import Any, Final, TypeVar

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from services.web.http.problems import BadInput

T = TypeVar("T")

# 48 bytes fill base64 exactly: a shorter signature's last character would have a second spelling.
SIGNED: Final[dict[str, Any]] = {"digest_method": sha384}


class Cursors:
    """Seals and opens cursors. The first secret key signs; all of them verify, so keys can be rotated."""

    __slots__ = ("_oldest_first",)

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._oldest_first = [*reversed(secret_keys)]  # itsdangerous signs with the last

    def seal(self, list_: str, place: object) -> str:
        """Return the cursor of a place in a list; `list_` names the list with its sort and filters."""
        return self._serializer(list_).dumps(msgspec.to_builtins(place))

    def open(self, list_: str, cursor: str, type_: type[T]) -> T:
        """Return the place in a cursor as `type_`. Raises BadInput if it isn't a cursor of this list."""
        try:
            return msgspec.convert(self._serializer(list_).loads(cursor), type_)
        except (BadData, UnicodeEncodeError):
            raise BadInput.at("/cursor", "not a cursor of this list") from None

    def _serializer(self, list_: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._oldest_first, salt=f"cursor {list_}", signer_kwargs=SIGNED)
