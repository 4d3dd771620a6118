"""Counters: what is limited, and whose writes are counted against it."""

from dataclasses import dataclass
from functools import cached_property

from services.web.http.problems import TooManyRequests

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, eq=False)
class Limit:
    """At most `most` in `seconds`, for each owner. It is made once a process.

    `item` is its name in the RateLimit headers, and `what` says to a caller what is counted, and whose.

    Parts of a limit may be lent (`leases.py`) where an owner stands for many callers; of one caller's nothing is.
    """

    item: str
    most: int
    seconds: int
    what: str
    is_lent: bool = True

    @cached_property
    def name(self) -> bytes:
        """The item's name as bytes."""
        return self.item.encode("ascii")

    @cached_property
    def policy(self) -> bytes:
        """The limit as an item of the RateLimit-Policy header."""
        return f'"{self.item}";q={self.most};w={self.seconds}'.encode("ascii")

    def refusal(self, milliseconds: int, headers: Headers = ()) -> TooManyRequests:
        """Return the refusal of one more, with the time until there is room."""
        seconds = -(-milliseconds // 1000)
        detail = f"No more than {self.most:,} {self.what} in {_window(self.seconds)}; try again in {_time(seconds)}."
        told = headers or (
            (b"ratelimit-policy", self.policy),
            (b"ratelimit", b'"%s";r=0;t=%d' % (self.name, seconds)),
        )
        return TooManyRequests(detail, headers=[*told, (b"retry-after", str(seconds).encode("ascii"))])


def _window(seconds: int) -> str:
    return {60: "a minute", 3600: "an hour", 86400: "a day"}.get(seconds) or _time(seconds)


def _time(seconds: int) -> str:
    """Return a time in the largest unit of which it is at least two, rounded up: who comes then finds room."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{-(-seconds // length)} {unit}"
    return f"{seconds} seconds" if seconds != 1 else "1 second"


Counter = tuple[Limit, str]
"""A limit, and whose writes are counted against it."""


def told(counters: tuple[Counter, ...], scarcest: Limit, remaining: int, milliseconds: int) -> Headers:
    """Return the headers for whoever was counted (draft-ietf-httpapi-ratelimit-headers-10), with the scarcest limit's rest."""
    return (
        (b"ratelimit-policy", b", ".join([limit.policy for limit, _ in counters])),
        (b"ratelimit", b'"%s";r=%d;t=%d' % (scarcest.name, remaining, -(-milliseconds // 1000))),
    )
