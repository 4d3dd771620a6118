"""What operators did: a page, a list for programs, and a file. All see what their scopes open, and their own sign-ins."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from itertools import groupby
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from services.operators import log
from services.operators.deeds import KINDS, Kind, Named, opened
from services.operators.export import Form, lines
from services.operators.log import PLACE, TOP, Action, Asked
from services.web.http.answers import NO_STORE, Answer, json_answer
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.negotiation import asks_for
from services.web.http.pages import page
from services.web.http.problems import BadInput
from services.web.http.queries import Query, Time, next_link
from services.web.http.streamed import Streamed
from services.web.operators import show_ops
from services.web.site import Call

_PAGE: Final = 50
_MOST: Final = 1_000_000
_OWN: Final[frozenset[Kind]] = frozenset({"sessions"})
"""The kinds of which everybody sees their own."""
_NAMES: Final = 200
_MEDIA: Final[dict[Form, str]] = {"jsonl": "application/x-ndjson", "csv": "text/csv"}
_TITLES: Final[dict[Kind, str]] = {
    "reviews": "Readers' reviews", "votes": "Votes and voters", "catalog": "The catalog", "readers": "Subscribers",
    "erasures": "Erasures and copies of data", "quarantine": "Quarantine", "proof": "The public log",
    "sessions": "Signing in and out", "mail": "Mail and the newsletter", "webhooks": "Webhooks",
    "upkeep": "Views, parts of the log, and keys",
}  # fmt: skip

Name = Annotated[str, Meta(max_length=120)]
About = Annotated[str, Meta(max_length=120)]
Day = Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$(?!\n)")]
Cursor = Annotated[str, Meta(pattern=PLACE)]


class ActionsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose actions, of which kind, about what (a slug, an id or a stream), and from which time on until before which."""

    operator: Name = ""
    kind: Named | None = None
    about: About = ""
    since: Time | None = None
    until: Time | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ActionsAnswer(msgspec.Struct, frozen=True):
    """What operators did, newest first; `next` is the cursor of the page below, null at the end."""

    items: Sequence[Action]
    next: str | None


class ActionsPageQuery(Query, frozen=True, kw_only=True):
    """The query of the page: days instead of times, as a form sends them, empty where nothing is chosen."""

    operator: Name = ""
    kind: Named | Literal[""] = ""
    about: About = ""
    since: Day = ""
    until: Day = ""
    cursor: Cursor | None = None


class ExportQuery(ActionsPageQuery, frozen=True, kw_only=True):
    """The same, and the form of the file."""

    form: Form = "csv"


class Run(NamedTuple):
    """Actions of one kind that an operator did at once, of which the page shows the newest."""

    first: Action
    more: int


@endpoint(
    "GET",
    "/v1/ops/actions",
    by=operator(""),
    takes=ActionsQuery,
    gives=ActionsAnswer,
    streams=tuple(_MEDIA.values()),
)
async def get_actions(call: Call, query: ActionsQuery) -> Answer:
    """Return what operators did, newest first, as far as the caller's scopes open it.

    `read` opens all that stands in the log; without it, `moderate`, `voters`, `catalog` and `digest` each open their own kind.
    `operators` opens sign-ins and ended sessions, `digest` also what was done to the mail, `webhooks` what was done to
    those, and `read` the upkeep of views, log and keys.
    With `Accept: application/x-ndjson` or `text/csv` all is sent, as a file.
    """
    since, until = _moment("since", query.since), _moment("until", query.until)
    asked = _asked(call, query.operator, query.kind, query.about, since, until)
    for form, media in _MEDIA.items():
        if asks_for(media, call.head.get(b"accept"), instead_of="application/json"):
            return _file(call, asked, form)
    below = TOP if query.cursor is None else log.place_of(query.cursor)
    found = await log.read(call.site.database, asked, below, query.limit + 1)
    shown = found[: query.limit]
    more = shown[-1].place if len(found) > query.limit else None
    link = () if more is None else (next_link(call, "cursor", more),)
    return json_answer(ActionsAnswer(shown, more), headers=link)


@page("/ops/actions", ActionsPageQuery, operator(""))
async def actions_page(call: Call, query: ActionsPageQuery) -> Answer:
    """Show what operators did, newest first."""
    asked = _asked_by_days(call, query)
    below = TOP if query.cursor is None else log.place_of(query.cursor)
    found = await log.read(call.site.database, asked, below, _PAGE + 1)
    shown = found[:_PAGE]
    chosen = {
        name: str(getattr(query, name)) for name in ("operator", "kind", "about", "since", "until") if getattr(query, name)
    }
    return await show_ops(
        call,
        "ops_actions.html",
        "/ops/actions",
        runs=_runs(shown),
        query=query,
        kinds=[(kind, _TITLES[kind]) for kind in _TITLES if kind in _offered(call)],
        names=await log.read_operators(call.site.database, _NAMES) if {"read", "operators"} <= call.scopes else (),
        older=urlencode({**chosen, "cursor": shown[-1].place}) if len(found) > _PAGE else None,
        chosen=urlencode(chosen),
        may_read="read" in call.scopes,
        may_judge="voters" in call.scopes,
    )


@page("/ops/actions/export", ExportQuery, operator(""))
async def export_page(call: Call, query: ExportQuery) -> Answer:
    """Send the actions that the page shows, with all older ones, as a file."""
    return _file(call, _asked_by_days(call, query), query.form)


def _offered(call: Call) -> frozenset[Kind]:
    """Return the kinds that the caller may ask for: those that the scopes open, and their own sign-ins."""
    return opened(call.scopes) | _OWN


def _asked_by_days(call: Call, query: ActionsPageQuery) -> Asked:
    since = datetime.combine(_day("since", query.since), time(), UTC) if query.since else None
    until = datetime.combine(_day("until", query.until), time.max, UTC) if query.until else None
    return _asked(call, query.operator, query.kind or None, query.about, since, until)


def _moment(name: str, time: datetime | None) -> datetime | None:
    """Return a time in UTC. Raises BadInput where it lies outside of what can be counted."""
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError:
        raise BadInput.at(f"/{name}", "isn't a time of the years 1 to 9999") from None


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput.at(f"/{name}", "isn't a day") from None


def _asked(call: Call, name: str, kind: Kind | None, about: str, since: datetime | None, until: datetime | None) -> Asked:
    open_kinds = opened(call.scopes)
    wanted = frozenset(KINDS) if kind is None else frozenset({kind})
    return Asked(
        kinds=open_kinds & wanted,
        own=(_OWN & wanted) - open_kinds,
        viewer=call.operator,
        operator=name.strip() or None,
        about=about.strip() or None,
        since=since,
        until=until,
    )


def _file(call: Call, asked: Asked, form: Form) -> Answer:
    name = f'attachment; filename="actions.{form}"'.encode("ascii")
    pieces = lines(form, log.read_all(call.site.database, asked, _MOST))
    return Streamed(pieces, f"{_MEDIA[form]}; charset=utf-8".encode("ascii"), (*NO_STORE, (b"content-disposition", name)))


def _runs(actions: Sequence[Action]) -> list[Run]:
    """Return what was done at once, by one operator and of one kind, as one: an import is a line, not thousands."""

    def alike(action: Action) -> tuple[Any, ...]:
        return action.at, action.operator, action.kind

    runs = [list(run) for _, run in groupby(actions, key=alike)]
    return [Run(run[0], len(run) - 1) for run in runs]
