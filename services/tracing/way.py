"""The way to the collector: one message by HTTP, two seconds for all of it, and never where a redirect leads.

The status says whether it was taken. What follows it is never read: nobody needs it, and it may have no end.
"""

import asyncio
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import httpcore2 as httpcore

from services.authorities import trusted
from services.setting_groups import Tracing

PATIENCE_SECONDS: Final = 2.0
"""How long one message may take: name, connection, TLS, request, and the answer's head; so about the end of a process too."""
_HEADERS: Final = {"content-type": "application/x-protobuf", "user-agent": f"Ballotpress/{version('ballotpress')}"}


class Way:
    """Sends messages, one at a time, from whichever thread calls it. It is closed once."""

    def __init__(self, settings: Tracing) -> None:
        self._url = urlsplit(f"{settings.endpoint}/v1/traces").geturl()  # the scheme in small letters
        self._headers = list({**_HEADERS, **{header.name.lower(): header.value for header in settings.headers}}.items())
        self._context = trusted()
        self._loop = asyncio.new_event_loop()

    def takes(self, message: bytes) -> bool:
        """Send a message, and tell whether the collector took it in time. Raises OSError and httpcore's errors."""
        return self._loop.run_until_complete(self._send(message))

    def close(self) -> None:
        """Close it; no message may be on its way."""
        self._loop.close()

    async def _send(self, message: bytes) -> bool:
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            httpcore.AsyncConnectionPool(ssl_context=self._context, max_connections=1, max_keepalive_connections=0) as pool,
            pool.stream("POST", self._url, headers=self._headers, content=message) as answer,
        ):
            return 200 <= answer.status < 300
