"""Queries: parameters read strictly into msgspec Structs, and the cursors of lists.

A parameter that doesn't fit is a `BadInput` whose pointer is `/name`. Parameters we don't know are ignored.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from services.web.http.bodies import bad_input
from services.web.http.problems import BadInput

Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[datetime, Meta(tz=True)]

T = TypeVar("T")

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_MOST_PARAMETERS: Final = 100


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What every set of parameters extends; `after` is the position that the views must have reached."""

    after: Position | None = None


class Page(Query, frozen=True, kw_only=True):
    """The parameters of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(max_length=1024)] | None = None


class QueryReader(Generic[T]):
    """Reads the parameters of one route."""

    __slots__ = ("_casts", "_empty", "_lists", "_type")

    def __init__(self, type_: type[T]) -> None:
        fields = msgspec.inspect.type_info(type_).fields  # type: ignore[attr-defined]
        self._type = type_
        self._lists = {field.encode_name for field in fields if isinstance(field.type, msgspec.inspect.ListType)}
        self._casts: dict[str, Callable[[str], object]] = {f.encode_name: _cast_for(f.type) for f in fields}
        self._empty = None if any(field.required for field in fields) else type_()

    def read(self, raw: bytes) -> T:
        """Read a query string; BadInput."""
        if not raw and self._empty is not None:
            return self._empty
        values: dict[str, object] = {}
        for name, text in _pairs(raw):
            if cast := self._casts.get(name):
                self._put(values, name, cast(text))
        try:
            return msgspec.convert(values, self._type)
        except msgspec.ValidationError as error:
            raise bad_input(error) from None

    def _put(self, values: dict[str, object], name: str, value: object) -> None:
        if name in self._lists:
            values.setdefault(name, []).append(value)  # type: ignore[attr-defined]
        elif name in values:
            raise BadInput.at(f"/{name}", "given twice")
        else:
            values[name] = value


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise BadInput("The query isn't valid UTF-8.") from None
    except ValueError:
        raise BadInput(f"The query has more than {_MOST_PARAMETERS} parameters.") from None
    for name, text in pairs:
        if "\0" in text:
            raise BadInput.at(f"/{name}", "NUL is in no value of ours")
    return pairs


def _cast_for(type_: msgspec.inspect.Type) -> Callable[[str], object]:
    """Tell how a parameter's text becomes a value; msgspec judges it then, as strictly as in a body."""
    kinds = type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,)
    if isinstance(type_, msgspec.inspect.ListType):
        kinds = (type_.item_type,)
    if any(isinstance(kind, msgspec.inspect.IntType) for kind in kinds):
        return lambda text: int(text) if _INTEGER.fullmatch(text) else text
    if any(isinstance(kind, msgspec.inspect.BoolType) for kind in kinds):
        return lambda text: {"true": True, "false": False}.get(text, text)
    return str


class Cursors:
    """Seals the place where a list goes on, so that callers can't make one up or carry it to another list."""

    __slots__ = ("_keys",)

    _MAC_BYTES: Final = 12

    def __init__(self, secret_keys: Sequence[str]) -> None:
        self._keys = [hmac.digest(key.encode(), b"ballotpress cursor", "sha256") for key in secret_keys]

    def seal(self, list_: str, place: object) -> str:
        """Write a place in a list; `list_` names the list with its sort and filters."""
        payload = msgspec.msgpack.encode(place)
        return base64.urlsafe_b64encode(self._mac(self._keys[0], list_, payload) + payload).rstrip(b"=").decode("ascii")

    def open(self, list_: str, cursor: str, type_: type[T]) -> T:
        """Read a place back as `type_`; BadInput if it isn't a cursor of this list."""
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
