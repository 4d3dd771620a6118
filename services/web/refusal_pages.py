"""Refusals as pages: what went wrong, in words, for people; programs get a problem (RFC 9457) of the same refusal."""

from collections.abc import Mapping
from typing import Final

from litestar.types import HTTPScope

from services.web.http.answers import Answer
from services.web.http.problems import headers_of, kind_of, problem_answer, words_of
from services.web.http.templates import POLICY, render

_FOR_PROGRAMS: Final = ("/v1/", "/schema", "/metrics", "/health/")
_HTML: Final = b"text/html; charset=utf-8"
_ADVICE: Final = {
    404: "It may have been renamed or taken off the site.",
    429: "That was a lot at once. Wait a little and try again.",
    503: "Nothing is lost. Try again in a moment.",
}


def refusal(error: Exception, request_id: str, scope: HTTPScope, head: Mapping[bytes, bytes]) -> Answer:
    """Write an exception for whoever asked: a page for a person at a browser, else a problem."""
    if scope["path"].startswith(_FOR_PROGRAMS) or b"text/html" not in head.get(b"accept", b""):
        return problem_answer(error, request_id)
    kind = kind_of(error)
    html = render(
        "refusal.html",
        title=kind.title,
        status=kind.status,
        detail=words_of(error, kind),
        faults=[(fault.pointer.lstrip("/").replace("_", " "), fault.detail) for fault in getattr(error, "errors", ())],
        advice=_ADVICE.get(kind.status),
        request_id=request_id if kind.status >= 500 else None,
    )
    headers = ((b"cache-control", b"private, no-store"), POLICY, *headers_of(error, kind))
    return Answer(html, kind.status, _HTML, headers)
