"""Read the dates of other people's files. One that could be of two days is refused, unless the order is said. Pure."""

import re
from datetime import datetime
from typing import Final, Literal

Order = Literal["day-first", "month-first"]

_NUMBERS: Final = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:,?[ T]+(.+))?")
_YEAR_FIRST: Final = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(.*)")
_ZONE: Final = re.compile(r"\s*(?:UTC|GMT|Z)$", re.I)
_FORMATS: Final = tuple(
    f"{day}{time}"
    for day in ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%a, %d %b %Y", "%a %b %d %Y", "%Y-%m-%d")
    for time in (
        "",
        " %H:%M",
        " %H:%M:%S",
        " %H:%M:%S %z",
        " %I:%M %p",
        " %I:%M:%S %p",
        ", %I:%M %p",
        ", %I:%M:%S %p",
        ", %H:%M",
    )
)
_TIMES: Final = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H:%M:%S %z", "%H:%M:%S%z")


class DateRefused(ValueError):
    """The text is no date, or could be of two days; the message says which."""


def read_date(text: str, order: Order | None) -> str:
    """Return a date, with its time if it has one, in ISO 8601. Raises DateRefused."""
    plain = _ZONE.sub("+00:00" if ":" in text else "", text.strip())
    found = _by_numbers(plain, order) or _by_format(_YEAR_FIRST.sub(r"\1-\2-\3\4", plain))
    if found is None:
        raise DateRefused("it isn't a date")
    return found.date().isoformat() if len(plain) <= 12 and ":" not in plain else found.isoformat(sep=" ")


def _by_numbers(text: str, order: Order | None) -> datetime | None:
    """Read dates such as 31/12/2026, 12/31/2026 and 31.12.2026. Dots are day first everywhere."""
    match = _NUMBERS.fullmatch(text)
    if match is None:
        return None
    first, second = int(match[1]), int(match[3])
    is_day_first = match[2] == "." or order == "day-first" or first > 12
    if match[2] != "." and order is None and max(first, second) <= 12 and first != second:
        raise DateRefused("it could be of two days: say --dates day-first or --dates month-first")
    day, month = (first, second) if is_day_first else (second, first)
    time = _time(match[5] or "00:00")
    try:
        return None if time is None else time.replace(year=int(match[4]), month=month, day=day)
    except ValueError:
        raise DateRefused("there is no such day") from None


def _time(text: str) -> datetime | None:
    return _first(text.replace("+00:00", " +0000"), _TIMES) or _first(text, _TIMES)


def _by_format(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return _first(
            text.replace("+00:00", " +0000"), (*_FORMATS, "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %H:%M")
        )


def _first(text: str, formats: tuple[str, ...]) -> datetime | None:
    for form in formats:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - a file's times name their zone or none
        except ValueError:
            continue
    return None
