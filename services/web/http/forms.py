"""Forms: what a plain HTML form sends, read as strictly as a query; fields we don't know are ignored."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from services.web.http.bodies import BodyReader, bad_input
from services.web.http.problems import BadInput

T = TypeVar("T")

FORM = b"application/x-www-form-urlencoded"
_MOST_FIELDS = 200


def is_form(media: bytes | None) -> bool:
    """Tell whether a body is said to be a form."""
    return media is not None and media.partition(b";")[0].strip().lower() == FORM


def fields(raw: bytes) -> dict[str, list[str]]:
    """Give a form's fields, each with its values in order; BadInput."""
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


class FormReader(BodyReader[T]):
    """Reads a body that a form or a program may send."""

    __slots__ = ("_names", "_type")

    def __init__(self, type_: type[T]) -> None:
        super().__init__(type_)
        self._type = type_
        self._names = {field.encode_name for field in msgspec.inspect.type_info(type_).fields}  # type: ignore[attr-defined]

    def read(self, media: bytes | None, raw: bytes) -> T:
        """Decode a form of single values, or JSON; BadInput, WrongMediaType."""
        if not is_form(media):
            return super().read(media, raw)
        values = {name: given[-1] for name, given in fields(raw).items() if name in self._names}
        try:
            return msgspec.convert(values, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise bad_input(error) from None
