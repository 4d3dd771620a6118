"""Look-ups of one check: each name is asked for once, and none after the time for all of them is over."""

import asyncio
from typing import Final

from services.mail_check.dns import Answer, Kind, LooksUp

_OVER: Final = "the time for look-ups was over"


class Remembered:
    """Looks up by another, within so many seconds in all; later look-ups are unknown."""

    def __init__(self, dns: LooksUp, seconds: float) -> None:
        self._dns = dns
        self._until = asyncio.get_running_loop().time() + seconds
        self._asked: dict[tuple[str, Kind], asyncio.Task[Answer]] = {}

    async def look_up(self, name: str, kind: Kind) -> Answer:
        """Return the answer for a name and a kind of record."""
        key = (name.lower().rstrip("."), kind)
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._within_time(*key))
        return await asyncio.shield(self._asked[key])

    async def _within_time(self, name: str, kind: Kind) -> Answer:
        if asyncio.get_running_loop().time() > self._until:
            return Answer("unknown", why=_OVER)
        return await self._dns.look_up(name, kind)
