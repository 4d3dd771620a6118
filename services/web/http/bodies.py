"""Bodies: JSON and forms read strictly into msgspec Structs, and the patterns of what may stand in them.

A fault in a body is a `BadInput` that names the place by JSON pointer: unknown fields, wrong types, broken UTF-8, lone
surrogates, NUL (PostgreSQL's text can't hold one), nesting beyond reason. Forms may have fields we don't know.
"""

import re
from typing import Annotated, Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from events.log.ids import ID, SLUG
from services.json_input import UNREADABLE, JsonReader, bad_texts, fault_of
from services.web.http.problems import BadInput, FieldError, WrongMediaType

Slug = Annotated[str, Meta(pattern=SLUG, max_length=120)]
Id = Annotated[str, Meta(pattern=ID, max_length=22)]

# What strangers write stands beside our own words, so it holds nothing that steers the direction of text (Unicode UAX 9) and
# nothing that shows nothing: soft hyphens, fillers, zero-width and blank characters. Joiners and variants, which scripts and
# emoji need, may not begin it. A line has no control characters and no line or paragraph separators either.
NAME_MOST: Final = 60
REASON_MOST: Final = 500
WORDS_MOST: Final = 1000
PROSE_LEAST, PROSE_MOST = 20, 4000

_HIDDEN: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f"
    r"\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0"
)
_JOINERS: Final = r"\u200c\u200d\ufe00-\ufe0f"
_UNSEEN: Final = rf"\x00-\x1f\x7f-\x9f\u2028\u2029{_HIDDEN}"
_LINE: Final = rf"^ *[^\s{_UNSEEN}{_JOINERS}][^{_UNSEEN}]*$(?!\n)"
_PROSE: Final = rf"^\s*[^\s\x00{_HIDDEN}{_JOINERS}][^\x00{_HIDDEN}]{{{PROSE_LEAST - 2},{PROSE_MOST - 2}}}[^\s\x00{_HIDDEN}]\s*$"
_WORDS: Final = rf"^(?!\s*[{_JOINERS}])[^\x00{_HIDDEN}]*$(?!\n)"
_LINE_RE: Final = re.compile(_LINE)
_HIDDEN_RE: Final = re.compile(rf"[{_HIDDEN}]|^\s*[{_JOINERS}]")
_JOINERS_RE: Final = re.compile(rf"[{_JOINERS}]")

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MOST, extra_json_schema={"pattern": _LINE})]
Reason = Annotated[str, Meta(min_length=1, max_length=REASON_MOST, extra_json_schema={"pattern": _LINE})]
Words = Annotated[str, Meta(min_length=1, max_length=WORDS_MOST, extra_json_schema={"pattern": _WORDS})]
Prose = Annotated[str, Meta(extra_json_schema={"pattern": _PROSE})]

T = TypeVar("T")

_MEDIA = re.compile(rb"\s*[\w.!#$&^+-]+/(?:[\w.!#$&^+-]+\+)?json\s*(?:;\s*(?:charset\s*=\s*\"?utf-8\"?\s*)?)*", re.ASCII | re.I)
FORM: Final = b"application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 200


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every body: unknown fields are refused."""


class BodyReader(Generic[T]):
    """Reads the bodies of one Struct: JSON, and forms as well if `takes_forms`."""

    __slots__ = ("_reader", "_takes_forms", "_type")

    def __init__(self, type_: type[T], *, takes_forms: bool = False) -> None:
        self._type = type_
        self._takes_forms = takes_forms
        self._reader = JsonReader(type_)

    def read(self, media: bytes | None, raw: bytes) -> T:
        """Decode a body. Raises BadInput, WrongMediaType."""
        if media != b"application/json" and (media is None or not _MEDIA.fullmatch(media)):
            if self._takes_forms and is_form(media):
                return read_form(self._type, raw)
            raise WrongMediaType("The body must be JSON, with a Content-Type of application/json.")
        try:
            value = self._reader.read(raw)
        except msgspec.ValidationError as error:
            raise bad_input(error, self._type) from None
        except UNREADABLE as error:
            raise _unreadable(raw, error) from None
        if b"\\u0000" in raw and (errors := _bad_texts(raw)):
            raise BadInput("The body holds characters that can't be stored.", errors=errors)
        return value


def bad_input(error: msgspec.ValidationError, type_: Any) -> BadInput:
    """Return the refusal of a value that doesn't fit its Struct."""
    return BadInput.at(*fault_of(error, type_))


def _unreadable(raw: bytes, error: Exception) -> BadInput:
    if isinstance(error, RecursionError):
        return BadInput.at("", "The JSON is nested too deeply.")
    if errors := _bad_texts(raw):
        return BadInput("The body holds text that isn't valid UTF-8 or Unicode.", errors=errors)
    return BadInput.at("", "The body isn't valid JSON in UTF-8.")


def _bad_texts(raw: bytes) -> list[FieldError]:
    return [FieldError(*fault) for fault in bad_texts(raw)]


def is_form(media: bytes | None) -> bool:
    """Tell whether a Content-Type is that of a form."""
    return media is not None and media.partition(b";")[0].strip().lower() == FORM


def fields(raw: bytes) -> dict[str, list[str]]:
    """Return a form's fields, each with its values in order. Raises BadInput."""
    try:
        pairs = parse_qsl(raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise BadInput("The form isn't valid UTF-8, or has too many fields.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in value:
            raise BadInput.at(f"/{name}", "NUL can't be stored")
        found.setdefault(name, []).append(value)
    return found


def read_form(type_: type[T], raw: bytes) -> T:
    """Read a form of single values. Empty ones are as if not sent, unknown fields are ignored. Raises BadInput."""
    known = {field.encode_name for field in msgspec.structs.fields(type_)}  # type: ignore[arg-type]
    sent = fields(raw)
    values = {name: given[-1].replace("\r\n", "\n") for name, given in sent.items() if name in known and given[-1].strip()}
    try:
        return msgspec.convert(values, type_, strict=False)
    except msgspec.ValidationError as error:
        raise bad_input(error, type_) from None


def check_line(pointer: str, text: str | None) -> None:
    """Refuse a text that shows nothing or isn't one line; None passes. Raises BadInput."""
    if text is not None and not _LINE_RE.search(text):
        raise BadInput.at(pointer, "must be one line with something to read in it, without invisible or direction characters")


def check_words(pointer: str, text: str | None) -> None:
    """Refuse words that hide characters; None passes. Raises BadInput."""
    if text is not None and (found := _HIDDEN_RE.search(text)):
        raise BadInput.at(pointer, _hidden(found))


def check_prose(pointer: str, text: str) -> None:
    """Refuse prose that is too short or too long, or hides characters. Raises BadInput."""
    if found := _HIDDEN_RE.search(text):
        raise BadInput.at(pointer, _hidden(found))
    if len(_JOINERS_RE.sub("", text.strip())) < PROSE_LEAST or len(text.strip()) > PROSE_MOST:
        raise BadInput.at(pointer, f"must have {PROSE_LEAST} to {PROSE_MOST} characters; space around them doesn't count")


def _hidden(found: re.Match[str]) -> str:
    return f"has a character that can't be seen, U+{ord(found[0].strip() or ' '):04X}: leave it out"
