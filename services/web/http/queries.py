"""Queries: parameters read strictly into msgspec Structs, and pages of lists.

A parameter that doesn't fit is a `BadInput` whose pointer is `/name`. Unknown parameters are ignored.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from msgspec import Meta

from services.web.http.answers import PUBLIC, Answer, Headers, Versioned, encoder
from services.web.http.bodies import bad_input
from services.web.http.call import Call
from services.web.http.problems import BadInput
from services.web.http.shared import tagged

Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
CategoryName = Annotated[str, Meta(max_length=200)]
"""The category that a list is narrowed to."""

T = TypeVar("T")
Place = TypeVar("Place")

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_MOST_PARAMETERS: Final = 100
_PUBLIC_LIST: Final = (*PUBLIC, *tagged(many=True))


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every query; `after` is the position that the views must have reached."""

    after: Position | None = None


class ListQuery(Query, frozen=True, kw_only=True):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(max_length=1024)] | None = None


class QueryReader(Generic[T]):
    """Reads the query strings of one route."""

    __slots__ = ("_casts", "_empty", "_lists", "_type")

    def __init__(self, type_: type[T]) -> None:
        fields = msgspec.inspect.type_info(type_).fields  # type: ignore[attr-defined]
        self._type = type_
        self._lists = {field.encode_name for field in fields if isinstance(field.type, msgspec.inspect.ListType)}
        self._casts: dict[str, Callable[[str], object]] = {f.encode_name: _cast_for(f.type) for f in fields}
        self._empty = None if any(field.required for field in fields) else type_()

    def read(self, raw: bytes) -> T:
        """Decode a query string. Raises BadInput."""
        if not raw and self._empty is not None:
            return self._empty
        values: dict[str, object] = {}
        for name, text in _pairs(raw):
            if cast := self._casts.get(name):
                self._put(values, name, cast(text))
        try:
            return msgspec.convert(values, self._type)
        except msgspec.ValidationError as error:
            raise bad_input(error, self._type) from None

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
            raise BadInput.at(f"/{name}", "must not contain NUL")
    return pairs


def _cast_for(type_: msgspec.inspect.Type) -> Callable[[str], object]:
    """Return what turns a parameter's text into a value, which msgspec then checks as strictly as in a body."""
    kinds = type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,)
    if isinstance(type_, msgspec.inspect.ListType):
        kinds = (type_.item_type,)
    if any(isinstance(kind, msgspec.inspect.IntType) for kind in kinds):
        return lambda text: int(text) if _INTEGER.fullmatch(text) else text
    if any(isinstance(kind, msgspec.inspect.BoolType) for kind in kinds):
        return lambda text: {"true": True, "false": False}.get(text, text)
    return str


async def page_of(
    call: Call,
    name: str,
    query: ListQuery,
    type_: type[Place],
    read: Callable[[Place | None, int], Awaitable[Sequence[T]]],
    place: Callable[[T], Any] = attrgetter("position"),
) -> tuple[Sequence[T], str | None]:
    """Return the items of the page that a query asks for, and the cursor of the next page (None at the end).

    `name` names the list with its sort and filters; `read` takes the place to go on after (None: from the start) and how many
    items to read; `place` is that of an item, a `type_`. Raises BadInput if the cursor isn't one of this list.
    """
    start = call.site.cursors.open(name, query.cursor, type_) if query.cursor else None
    rows = await read(start, query.limit + 1)
    shown = rows[: query.limit]
    return shown, call.site.cursors.seal(name, place(shown[-1])) if len(rows) > query.limit else None


def listed(call: Call, page: object, cursor: str | None = None, cache: Headers = _PUBLIC_LIST) -> Answer:
    """Answer a list under an ETag of its content, with a link to the next page (RFC 8288) if there is a cursor."""
    body = encoder.encode(page)
    link = () if cursor is None else (next_link(call, "cursor", cursor),)
    return Versioned(body, cache=(*cache, *link)).answer(call.head.get(b"if-none-match"))


def next_link(call: Call, name: str, place: str) -> tuple[bytes, bytes]:
    """Return the header that links the next page: this request, with `place` in the parameter `name`."""
    query = parse_qsl(call.scope["query_string"].decode("utf-8"))
    kept = [(given, value) for given, value in query if given not in ("cursor", "after")]
    return b"link", f'<{quote(call.scope["path"])}?{urlencode([*kept, (name, place)])}>; rel="next"'.encode("ascii")
