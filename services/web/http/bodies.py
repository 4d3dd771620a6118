"""Bodies: JSON read strictly into msgspec Structs.

Whatever is wrong with a body is a `BadInput` that names the place by JSON pointer: unknown fields, wrong types, broken
UTF-8, lone surrogates, NUL (PostgreSQL's text can't hold one), nesting beyond reason.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Generic, TypeVar

import msgspec

from services.web.http.problems import BadInput, FieldError, WrongMediaType

# `$` alone would let a newline follow.
SLUG = r"^[a-z0-9-]{1,120}$(?!\n)"
ID = r"^[A-Za-z0-9_-]{21}[AQgw]$(?!\n)"
Slug = Annotated[str, msgspec.Meta(pattern=SLUG, max_length=120)]
Id = Annotated[str, msgspec.Meta(pattern=ID, max_length=22)]

T = TypeVar("T")

_MEDIA = re.compile(rb"\s*[\w.!#$&^+-]+/(?:[\w.!#$&^+-]+\+)?json\s*(?:;\s*(?:charset\s*=\s*\"?utf-8\"?\s*)?)*", re.ASCII | re.I)
_PLACE = re.compile(r"(?s)(?P<detail>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.S)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every body of ours extends: fields we don't know are refused."""


class BodyReader(Generic[T]):
    """Reads one sort of body."""

    __slots__ = ("_decoder", "_type")

    def __init__(self, type_: type[T]) -> None:
        self._type = type_
        self._decoder = msgspec.json.Decoder(type_)

    def read(self, media: bytes | None, raw: bytes) -> T:
        """Decode a body; BadInput (400) or WrongMediaType (415)."""
        if media != b"application/json" and (media is None or not _MEDIA.fullmatch(media)):
            raise WrongMediaType("The body must be JSON, with a Content-Type of application/json.")
        try:
            value = self._decoded(raw)
        except msgspec.ValidationError as error:
            raise bad_input(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(raw, error) from None
        if b"\\u0000" in raw and (errors := list(_bad_texts(raw))):
            raise BadInput("The body holds characters that can't be stored.", errors=errors)
        return value

    def _decoded(self, raw: bytes) -> T:
        """Decode; a number like 63.0 is an integer in JSON Schema, and so it is here, though msgspec would refuse it."""
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
        return msgspec.convert(json.loads(raw, parse_float=_number), self._type)


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def bad_input(error: msgspec.ValidationError) -> BadInput:
    """Say where and how a value doesn't fit its Struct: `$.tools[0].name` becomes `/tools/0/name`.

    A field that is missing, or that we don't know, is itself what the pointer names; of a mapping's value, msgspec tells
    the mapping only (`[...]`).
    """
    found = _PLACE.fullmatch(str(error))
    detail, path = (found["detail"], found["path"] or "") if found else (str(error), "")
    pointer = "".join("/" + _escaped(step["name"] or step["index"]) for step in _STEP.finditer(path.partition("[...]")[0]))
    if field := _FIELD.fullmatch(detail):
        pointer += "/" + _escaped(field["name"])
    return BadInput.at(pointer, detail)


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _unreadable(raw: bytes, error: Exception) -> BadInput:
    if isinstance(error, RecursionError):
        return BadInput.at("", "The JSON is nested too deeply.")
    if errors := list(_bad_texts(raw)):
        return BadInput("The body holds text that isn't valid UTF-8 or Unicode.", errors=errors)
    return BadInput.at("", "The body isn't valid JSON in UTF-8.")


def _bad_texts(raw: bytes) -> Iterator[FieldError]:
    """Find the strings that hold NUL, lone surrogates or broken UTF-8; none, if even their places can't be read."""
    try:
        yield from _bad_texts_in("", json.loads(raw.decode("utf-8", "surrogateescape")))
    except (ValueError, RecursionError):
        return


def _bad_texts_in(pointer: str, value: object) -> Iterator[FieldError]:
    if isinstance(value, str):
        if "\0" in value:
            yield FieldError(pointer, "NUL can't be stored")
        elif _SURROGATE.search(value):
            yield FieldError(pointer, "not valid Unicode")
    elif isinstance(value, dict):
        for name, member in value.items():
            clean = _SURROGATE.sub("\ufffd", name)
            yield from _bad_texts_in(pointer, name)
            yield from _bad_texts_in(f"{pointer}/{_escaped(clean)}", member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _bad_texts_in(f"{pointer}/{index}", member)
