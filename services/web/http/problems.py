"""Problems (RFC 9457): how every refusal is written.

`KINDS` is the one table where an exception gets its status, title and type. Its rows here are this kit's own refusals and the
database's; the site adds those of its domain once, as it is wired. An exception without a row is a 500 without internals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import asyncpg
import msgspec
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from events.log import postgres
from services.web.http.answers import Answer, encoder

MEDIA = b"application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """One fault in the input. The pointer is a JSON pointer into the body, or `/name` of a parameter."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every refusal."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """How one sort of refusal is shown.

    `detail` replaces the exception's own words, and `advice` follows them; `members` names its attributes that become members
    of the problem.
    """

    status: int
    name: str
    title: str
    detail: str | None = None
    retry_after: int | None = None
    members: tuple[str, ...] = ()
    advice: str = ""

    @property
    def type(self) -> str:
        """The problem's type, a path on this site."""
        return f"/problems/{self.name}"


class Refusal(Exception):
    """A refusal by the web process itself; rules raise plain exceptions."""

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)
        self.headers = tuple(headers)


class BadInput(Refusal):
    """The body, a parameter or a header can't be understood; `errors` names where."""

    @classmethod
    def at(cls, pointer: str, detail: str) -> "BadInput":
        """Refuse one field."""
        return cls(detail, errors=[FieldError(pointer, detail)])


class NoToken(Refusal):
    """The call needs a valid token and has none."""


class MissingScope(Refusal):
    """The operator is known, and doesn't have the scope."""


class NotFound(Refusal):
    """There is nothing under this path."""


class Unread(Refusal):
    """The request was not read to its end, so the connection can't be used for another."""


class HeadTooLarge(Unread):
    """The request's head is larger than any that this site takes."""


class BodyTooLarge(Unread):
    """The body is over the limit of its route."""


class BodyBroken(Unread):
    """The body broke off, or isn't framed as HTTP says."""


class WrongMediaType(Refusal):
    """The body's Content-Type isn't one that the route takes."""


class TooManyRequests(Refusal):
    """A limit is used up; the headers say when to come back."""


class BodyTooSlow(Unread):
    """The body didn't arrive in time."""


class Overloaded(Refusal):
    """The process has more to do than it can in time."""


class Unmigrated(Refusal):
    """The database lacks what this release needs, since `migrate` was not run on it."""


class NotFromHere(Refusal):
    """Another site posted the form."""


class NotByHead(Refusal):
    """A GET of this page changes something, so a HEAD, which must not, is refused (RFC 9110, 9.2.1)."""

    def __init__(self) -> None:
        super().__init__("This page is shown by GET alone.", headers=((b"allow", b"GET"),))


class CookieRefused(Refusal):
    """The browser doesn't keep our cookie."""


UNAVAILABLE = Kind(
    503, "unavailable", "Temporarily unavailable", "The database can't be reached at the moment; try again.", retry_after=1
)
UNEXPECTED = Kind(500, "internal", "Internal error", "Something went wrong here; the request id says where to look.")

LACKING = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidSchemaNameError,
)
"""What a statement raises in a database that `migrate` was not run on; in any other it is a defect."""

KINDS: dict[type[Exception], Kind] = {
    BadInput: Kind(400, "bad-input", "Bad input"),
    NoToken: Kind(401, "unauthorized", "Token required"),
    MissingScope: Kind(403, "forbidden", "Not allowed"),
    NotFound: Kind(404, "not-found", "Not found"),
    BodyBroken: Kind(400, "body-broken", "Body broken off", "The body broke off, or isn't framed as HTTP says."),
    HeadTooLarge: Kind(431, "head-too-large", "Head too large"),
    BodyTooSlow: Kind(408, "body-too-slow", "Body too slow"),
    BodyTooLarge: Kind(413, "body-too-large", "Body too large"),
    WrongMediaType: Kind(415, "wrong-media-type", "Wrong media type"),
    TooManyRequests: Kind(429, "too-many-requests", "Too many requests"),
    Overloaded: Kind(
        503, "overloaded", "Too busy", "More requests came than can be answered in time; try again in a moment.", retry_after=1
    ),
    Unmigrated: Kind(
        503,
        "unmigrated",
        "Not ready yet",
        "The database lacks what this release needs: once an operator ran `ballotpress migrate`, the site goes on by itself.",
        retry_after=5,
    ),
    NotFromHere: Kind(403, "cross-origin", "Not from here", "This form was sent from another site, so nothing was done."),
    CookieRefused: Kind(
        403,
        "cookie-refused",
        "Your browser refused our cookie",
        "So this can't count: the cookie is all that keeps one reader to one vote. It holds a random number and nothing"
        " about you. Allow cookies for this site, go back, and press the button again.",
    ),
    NotFoundException: Kind(404, "not-found", "Not found", "Nothing is served at this path."),
    **dict.fromkeys(
        (MethodNotAllowedException, NotByHead),
        Kind(405, "method-not-allowed", "Method not allowed", "`Allow` names what this path takes."),
    ),
    # What PostgreSQL and its connections throw while it is away, starting, stopping, or slow.
    **dict.fromkeys(postgres.UNAVAILABLE, UNAVAILABLE),
    asyncpg.UndefinedTableError: UNAVAILABLE,  # views that no projector has built yet
}


def add_kinds(kinds: dict[type[Exception], Kind]) -> None:
    """Add a site's own exceptions to the table. Raises ValueError if one is there already."""
    if known := kinds.keys() & KINDS.keys():
        raise ValueError(f"already in the table: {known}")
    KINDS.update(kinds)


def kind_of(error: Exception) -> Kind:
    """Return an exception's row by its nearest class; an exception without one is unexpected."""
    for cls in type(error).__mro__:
        if found := KINDS.get(cls):
            return found
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        return Kind(error.status_code, phrase.lower().replace(" ", "-"), phrase)
    return UNEXPECTED


def problem_answer(error: Exception, request_id: str | None) -> Answer:
    """Answer an exception with a problem. A 5xx says nothing of its cause but the request id under which it was logged."""
    kind = kind_of(error)
    problem = ProblemDetails(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=words_of(error, kind),
        errors=getattr(error, "errors", ()),
        request_id=request_id if kind.status >= 500 else None,
    )
    body: dict[str, object] = msgspec.to_builtins(problem)
    body.update({member: getattr(error, member) for member in kind.members})
    return Answer(encoder.encode(body), kind.status, MEDIA, headers_of(error, kind))


def words_of(error: Exception, kind: Kind) -> str:
    """Return what went wrong, in the words of its kind, else its own."""
    said = kind.detail or (error.detail if isinstance(error, HTTPException) else str(error)) or kind.title
    return f"{said[:1].upper()}{said[1:]}. {kind.advice}" if kind.advice else said


def headers_of(error: Exception, kind: Kind) -> list[tuple[bytes, bytes]]:
    """Return a refusal's headers: its own, when to come back, which methods the path takes."""
    headers = [*getattr(error, "headers", ())] if isinstance(error, Refusal) else []
    if kind.retry_after is not None:
        headers.append((b"retry-after", str(kind.retry_after).encode("ascii")))
    if kind.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, HTTPException) and error.headers and (allow := error.headers.get("allow")):
        headers.append((b"allow", _allow(allow).encode("ascii")))
    return headers


def _allow(methods: str) -> str:
    """Return a path's methods, with HEAD where GET is one of them."""
    names = {name.strip() for name in methods.split(",")}
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))
