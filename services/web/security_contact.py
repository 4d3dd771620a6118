"""The address for reports of weaknesses, where researchers and their tools look for it (RFC 9116)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

from services.clock import now
from services.web.http.answers import Answer
from services.web.http.pages import page
from services.web.http.problems import NotFound
from services.web.http.queries import Query
from services.web.site import Call

PATH: Final = "/.well-known/security.txt"
TEXT: Final = b"text/plain; charset=utf-8"
HOLDS_FOR: Final = timedelta(days=180)
"""How long the text may be relied on, counted from the day that it is asked for: a site that is gone promises nothing."""
_A_DAY: Final = ((b"cache-control", b"public, max-age=86400"),)


@page(PATH, Query)
async def security_text(call: Call, query: Query) -> Answer:
    """Say where to report a weakness. Raises NotFound where the settings name no address."""
    settings = call.site.settings
    if not settings.security_contacts:
        raise NotFound("This site names no address for reports of weaknesses.")
    lines = _lines(settings.security_contacts, settings.base_url, now())
    return Answer("".join(f"{line}\n" for line in lines).encode(), media=TEXT, headers=_A_DAY)


def _lines(contacts: Sequence[str], base_url: str, moment: datetime) -> Iterator[str]:
    for contact in contacts:
        yield f"Contact: {contact}"
    ends = datetime.combine(moment.astimezone(UTC).date() + HOLDS_FOR, time(), UTC)
    yield f"Expires: {ends:%Y-%m-%dT%H:%M:%SZ}"
    yield "Preferred-Languages: en"
    yield f"Canonical: {base_url}{PATH}"
