"""Answers that are the same for everybody: what shared caches may do with them, and by which tags to forget them.

Such an answer depends on its address and on what its `Vary` names, and on nothing else of a request: neither on a cookie nor on
the host that was asked for. Its tags say what it shows, so that a change can be followed by a purge.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from services.clock import now
from services.purge.tags import EVERYTHING, LISTS, tool_tag
from services.web.http.answers import Headers
from services.web.http.call import Call

_LAG_SECONDS: Final = 0.25
"""A card may be as much older than the answer that shows it."""


def shared(call: Call, *tools: str, many: bool = False, vary: Sequence[bytes] = ()) -> Headers:
    """Return the headers of an answer that is the same for everybody and shows these tools, by their slugs, or many.

    Browsers ask again each time; shared caches (RFC 9111, 5.2.2.10) after BALLOTPRESS_SHARED_SECONDS, and as long again they
    may show what they have while they ask (RFC 5861). nginx counts whole seconds, and would keep one second for up to two: it
    is told by the clock which second is the last.
    """
    last = int(now().timestamp() - _LAG_SECONDS)
    return _headers(last, call.site.settings.caching.shared_seconds, tools, many, tuple(vary))


@lru_cache(1024)
def _headers(last: int, seconds: int, tools: Sequence[str], many: bool, vary: Sequence[bytes]) -> Headers:
    """Return the headers of an answer that is made in this second; a page that is asked for all the time needs them once."""
    return (
        (b"cache-control", b"public, max-age=0, s-maxage=%d, stale-while-revalidate=%d" % (seconds, seconds)),
        (b"x-accel-expires", b"@%d" % (last + seconds - 1)),
        (b"vary", b", ".join((b"Accept-Encoding", *vary))),
        *tagged(*tools, many=many),
    )


def tagged(*tools: str, many: bool = False) -> Headers:
    """Return the headers that name the tags of an answer that shows these tools, by their slugs, or many."""
    tags = [EVERYTHING, *([LISTS] if many else []), *map(tool_tag, dict.fromkeys(tools))]
    return ((b"cache-tag", ",".join(tags).encode("ascii")), (b"surrogate-key", " ".join(tags).encode("ascii")))


def is_shared(cache_control: bytes | None) -> bool:
    """Tell whether an answer under this header may be shown to others than who asked for it."""
    return cache_control is not None and b"s-maxage" in cache_control
