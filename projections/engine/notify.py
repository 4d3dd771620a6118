"""Wake-ups by PostgreSQL's NOTIFY: a hint that something moved, never the truth. Listeners poll as well."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from events.log import postgres

logger = logging.getLogger(__name__)

LOG = "ballotpress_log"
VIEWS = "ballotpress_views"

HURRY: Final = "hurry"
"""The word that somebody waits for the views, which may rest longer otherwise."""

LEAST_PACE: Final = 0.01
"""Seconds between two notifications, at least."""

MOST_WORDS: Final = 80
"""A notification holds 8,000 bytes; a word has 70 at most."""


class Bell:
    """Rings a channel off the caller's path, because NOTIFY holds a cluster-wide lock until its transaction has committed.

    Rings that come while one is on its way, or within `pace` seconds of it, are sent as one, with the words of all. What has
    words waits for `LEAST_PACE` alone.
    """

    def __init__(self, dsn: str, channel: str, pace: float = LEAST_PACE) -> None:
        self._dsn = dsn
        self._channel = channel
        self._pace = pace
        self._rung, self._worded = asyncio.Event(), asyncio.Event()
        self._words: list[str] = []
        self._hurries = False

    def ring(self) -> None:
        """Ask for a notification soon."""
        self._rung.set()

    def say(self, word: str) -> None:
        """Send a short word along, to those who listen now: too many at once are left out."""
        if len(self._words) < MOST_WORDS:
            self._words.append(word)
        self._worded.set()
        self._rung.set()

    def hurry(self) -> None:
        """Ask for a notification that says that somebody waits."""
        self._hurries = True
        self._worded.set()
        self._rung.set()

    async def run(self) -> None:
        """Send notifications until cancelled; a lost one delays its listeners until their next poll."""
        while True:
            try:
                connection = await postgres.connect(self._dsn, "notify", seconds=5, synchronous_commit="off")
                try:
                    while True:
                        await self._rung.wait()
                        self._rung.clear()
                        await connection.execute("select pg_notify($1, $2)", self._channel, self._said())
                        await self._rest()
                finally:
                    connection.terminate()
            except Exception as error:  # whatever a dying connection raises: nobody starts a bell that has ended
                logger.info("cannot ring %s: %r", self._channel, error)
                await asyncio.sleep(0.5)

    async def _rest(self) -> None:
        await asyncio.sleep(LEAST_PACE)
        if self._pace > LEAST_PACE:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace - LEAST_PACE):
                    await self._worded.wait()

    def _said(self) -> str:
        """Return what is to be said, and forget it."""
        self._worded.clear()
        words, self._words = [*([HURRY] if self._hurries else []), *self._words], []
        self._hurries = False
        return " ".join(words)


async def listen(dsn: str, channel: str, heard: Callable[[], None], told: Callable[[str], None] | None = None) -> None:
    """Call `told` with the words of each notification, then `heard`, until cancelled; connect again when that is lost."""

    def take(connection: object, pid: int, channel: str, words: object) -> None:
        if words and told is not None:
            told(str(words))
        heard()

    while True:
        try:
            connection = await postgres.connect(dsn, "listen", seconds=5)
            try:
                await connection.add_listener(channel, take)
                heard()
                await _until_lost(connection)
            finally:
                connection.terminate()
        except Exception as error:  # the same
            logger.info("cannot listen on %s: %r", channel, error)
            await asyncio.sleep(0.5)


async def _until_lost(connection: "asyncpg.Connection[Any]") -> None:
    """Return when the connection is lost; a silent one is checked every few seconds."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    while not lost.is_set():
        try:
            async with asyncio.timeout(5):
                await lost.wait()
        except TimeoutError:
            await connection.execute("select 1")
