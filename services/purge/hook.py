"""The call that tells a cache what to forget: one POST with the tags, in the forms that providers take.

The body is JSON, `{"tags": ["list", "tool-ollama"]}`, under a name that the operator may set; the same stands in the headers
`Surrogate-Key`, with spaces between, and `Cache-Tag`, with commas. Any 2xx is a success. No redirect is followed: the key is
for the address that the operator named, and for no other. Nothing of the address or of the key is ever told.
"""

import asyncio
import json
import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from services.setting_groups import Header
from services.settings import Settings

PATIENCE: Final = 5.0
"""Seconds for all of a call: a cache that answers byte by byte holds up nothing for longer."""


class PurgeFailed(Exception):
    """No cache was told what to forget; the message says why."""


class Hook(msgspec.Struct, frozen=True):
    """Where to call, the header that proves who calls, and the name of the tags in the body."""

    url: str
    header: Header | None
    field: str


def hook_of(settings: Settings) -> Hook | None:
    """Return the hook that the settings describe; None without one."""
    ours = settings.caching
    return None if ours.purge_url is None else Hook(ours.purge_url, ours.purge_header, ours.purge_field)


async def call(hook: Hook, tags: Sequence[str]) -> str | None:
    """Have the answers with any of these tags forgotten. Return what went wrong, in a few words without a secret; else None."""
    import httpcore2 as httpcore  # few sites have a cache to tell

    headers = {"Content-Type": "application/json", "Surrogate-Key": " ".join(tags), "Cache-Tag": ",".join(tags)}
    headers |= dict([hook.header] if hook.header else [])
    body = json.dumps({hook.field: list(tags)}).encode()
    try:
        async with (
            asyncio.timeout(PATIENCE),
            httpcore.AsyncConnectionPool(ssl_context=_authorities(), max_keepalive_connections=0) as pool,
            pool.stream("POST", hook.url, headers=list(headers.items()), content=body) as answer,
        ):
            return None if 200 <= answer.status < 300 else f"it answered {answer.status}"
    except TimeoutError:
        return f"it took longer than {PATIENCE:g} seconds"
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError) as error:
        return _said(error)


@lru_cache(1)
def _authorities() -> ssl.SSLContext:
    """Return the settings of TLS: this machine's authorities, which may be an operator's own."""
    return ssl.create_default_context()


def _said(error: Exception) -> str:
    """Say what went wrong by its kind alone: a message could repeat the address, which may hold a key."""
    reason = error.args[0] if error.args and isinstance(error.args[0], OSError) else error
    words = getattr(reason, "strerror", None)
    return f"it can't be reached: {words or type(error).__name__}"
