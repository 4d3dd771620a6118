"""Limits on what is known only once it has happened: a first vote on a tool, a change of a ballot, a wrong token.

It is counted without waiting for Valkey, so it costs a vote nothing. Where a limit is used up, this process refuses at once
until there is room again.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from services.web.http.counters import Counter, Headers
from services.web.http.limits import Limits
from services.web.http.problems import TooManyRequests

MOST_KEPT: Final = 10_000
_LEFT: Final = re.compile(rb";r=(\d+);t=(\d+)$")


class Spent:
    """The limits that are used up, and until when."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._until: dict[tuple[str, str], float] = {}

    def check(self, counters: Callable[[], Iterable[Counter]]) -> None:
        """Raise TooManyRequests if one of the counters is used up; they are named only while any is."""
        if not self._until:
            return
        now = asyncio.get_running_loop().time()
        for limit, owner in counters():
            until = self._until.get((limit.item, owner), 0.0)
            if until > now:
                raise limit.refusal(int((until - now) * 1000) + 1)
            self._until.pop((limit.item, owner), None)

    def note(self, counters: Iterable[Counter]) -> None:
        """Count what has happened."""
        for counter in counters:
            if not self._limits.count_here(counter):
                self._limits.claim(counter).add_done_callback(partial(self._noted, counter))

    def _noted(self, counter: Counter, decided: "asyncio.Future[Headers]") -> None:
        if decided.cancelled():
            return
        error = decided.exception()
        headers = error.headers if isinstance(error, TooManyRequests) else decided.result()
        found = _LEFT.search(dict(headers).get(b"ratelimit", b""))
        if found is not None and found[1] == b"0":
            now = asyncio.get_running_loop().time()
            if len(self._until) >= MOST_KEPT:
                self._until = {key: until for key, until in self._until.items() if until > now}
            self._until[counter[0].item, counter[1]] = now + int(found[2])
