"""The call that tells a cache what to forget: one POST with the tags, in the forms that providers take.

The body is JSON, `{"tags": ["list", "tool-ollama"]}`, under a name that the operator may set; the same stands in the headers
`Surrogate-Key`, with spaces between, and `Cache-Tag`, with commas. Any 2xx is a success. Nothing of the address or of the
header that proves who calls is ever told.
"""

import json
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError

import msgspec

from services.setting_groups import Header
from services.settings import Settings

PATIENCE: Final = 5.0
"""Seconds."""


class PurgeFailed(Exception):
    """No cache was told what to forget; the message says why."""


class Hook(msgspec.Struct, frozen=True):
    """Where to call, the header that proves who calls, and the name of the tags in the body."""

    url: str
    header: Header | None
    field: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect: the key is for the address that the operator named, and for no other."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


def hook_of(settings: Settings) -> Hook | None:
    """Return the hook that the settings describe; None without one."""
    ours = settings.caching
    return None if ours.purge_url is None else Hook(ours.purge_url, ours.purge_header, ours.purge_field)


def call(hook: Hook, tags: Sequence[str]) -> str | None:
    """Have the answers with any of these tags forgotten. Return what went wrong, in a few words without a secret; else None."""
    headers = {"Content-Type": "application/json", "Surrogate-Key": " ".join(tags), "Cache-Tag": ",".join(tags)}
    headers |= dict([hook.header] if hook.header else [])
    body = json.dumps({hook.field: list(tags)}).encode()
    try:
        request = urllib.request.Request(hook.url, body, headers, method="POST")  # noqa: S310 - an operator named it
        with _OPENER.open(request, timeout=PATIENCE):
            return None
    except HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        return _said(error)


def _said(error: Exception) -> str:
    """Say what went wrong by its kind alone: a message could repeat the address, which may hold a key."""
    reason = getattr(error, "reason", error)
    words = getattr(reason, "strerror", None)
    return f"it can't be reached: {words or type(reason).__name__}"
