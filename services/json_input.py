"""Read JSON strictly into msgspec Structs: the body of a request, or an operator's file.

A fault names its place by JSON pointer (RFC 6901).
"""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")

Fault = tuple[str, str]
"""A JSON pointer, and what is wrong there."""

MOST_FAULTS: Final = 100
"""As many are named at once: what names them all can be a thousand times as long as what is wrong."""
LONGEST_POINTER: Final = 500

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a reader raises for input that isn't JSON. A ValidationError is a DecodeError too: catch it first."""

_PLACE = re.compile(r"(?s)(?P<detail>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.S)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonReader(Generic[T]):
    """Reads JSON into one Struct."""

    __slots__ = ("_decoder", "_type")

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._decoder = msgspec.json.Decoder(type_)

    def read(self, raw: bytes) -> T:
        """Return the value. A number like 63.0 is an integer here, as in JSON Schema, though msgspec would refuse it.

        Raises msgspec.ValidationError for JSON that doesn't fit the Struct, and UNREADABLE for input that isn't JSON.
        """
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
        return msgspec.convert(_loaded(raw), self._type)


def _loaded(raw: bytes) -> object:
    """Return JSON as Python values. Raises DecodeError where msgspec would: json.loads alone lets lone surrogates pass."""
    try:
        value = json.loads(raw, parse_float=_number)
    except ValueError as error:  # what isn't JSON, and numbers of thousands of digits
        raise msgspec.DecodeError(str(error)) from None
    if any(bad_texts(raw)):
        raise msgspec.DecodeError("text that isn't valid Unicode")
    return value


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def fault_of(error: msgspec.ValidationError, type_: Any) -> Fault:
    """Return the fault of a value that doesn't fit its Struct: `$.tools[0].name` becomes `/tools/0/name`.

    A word that isn't one of a few is answered with those, and a day that isn't one with how it is written.

    The pointer names a missing or unknown field itself; of a mapping's value, msgspec names the mapping only (`[...]`).
    """
    found = _PLACE.fullmatch(str(error))
    detail, path = (found["detail"], found["path"] or "") if found else (str(error), "")
    pointer = "".join("/" + _escaped(step["name"] or step["index"]) for step in _STEP.finditer(path.partition("[...]")[0]))
    if field := _FIELD.fullmatch(detail):
        pointer += "/" + _escaped(field["name"])
    if detail.startswith("Invalid enum value") and (words := _words_at(inspect.type_info(type_), pointer.split("/")[1:])):
        detail += f"; it must be one of {', '.join(words)}"
    if detail == "Invalid RFC3339 encoded date":
        detail = "This must be a day that there is, such as 2026-04-21"
    return pointer, detail


def _words_at(type_: inspect.Type, steps: Sequence[str]) -> list[str]:
    """Return the words that a type allows at a place within it."""
    match type_:
        case inspect.Metadata():
            return _words_at(type_.type, steps)
        case inspect.UnionType():
            return [word for one in type_.types for word in _words_at(one, steps)]
        case inspect.LiteralType() if not steps:
            return [str(value) for value in type_.values]
        case inspect.StructType() if steps:
            return [
                word for field in type_.fields if field.encode_name == steps[0] for word in _words_at(field.type, steps[1:])
            ]
        case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() if steps:
            return _words_at(type_.item_type, steps[1:])
    return []


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def bad_texts(raw: bytes) -> Iterator[Fault]:
    """Return the first strings with NUL, lone surrogates or broken UTF-8; none if even their places can't be read."""
    try:
        yield from islice(_bad_texts_in([], json.loads(raw.decode("utf-8", "surrogateescape"))), MOST_FAULTS)
    except (ValueError, RecursionError):
        return


def _bad_texts_in(steps: list[str], value: object) -> Iterator[Fault]:
    """Return the bad strings at a place, which is spelled only where one is found: that may be long, and the strings many."""
    if isinstance(value, str):
        if "\0" in value:
            yield _pointer(steps), "NUL can't be stored"
        elif _SURROGATE.search(value):
            yield _pointer(steps), "not valid Unicode"
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _bad_texts_in(steps, name)
            yield from _bad_texts_below(steps, name, member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _bad_texts_below(steps, str(index), member)


def _bad_texts_below(steps: list[str], step: str, member: object) -> Iterator[Fault]:
    steps.append(step)
    yield from _bad_texts_in(steps, member)
    steps.pop()


def _pointer(steps: Sequence[str]) -> str:
    """Return the pointer to a place; where it would be too long to be of use, that to the nearest place around it."""
    pointer = ""
    for step in steps:
        if len(pointer) + len(step) >= LONGEST_POINTER:
            break
        pointer += "/" + _escaped(_SURROGATE.sub("\ufffd", step))
    return pointer
