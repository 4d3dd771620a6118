"""Sessions: who has signed in to the operators' pages. All see and end their own, the scope `operators` those of everybody."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from services.operators import sessions
from services.operators.failures import read_failed
from services.operators.sessions import Session
from services.web.http.answers import Answer
from services.web.http.bodies import Id
from services.web.http.call import operator
from services.web.http.pages import action, back, page
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

SCOPE: Final = "operators"
_MOST: Final = 500
_FLASHES: Final[dict[str | None, str]] = {
    "ended": "Done. What was ended is worth nothing from now on.",
    "nothing": "Nothing to end: that session was over already.",
}


class SessionsQuery(Query, frozen=True, kw_only=True):
    """The query of the page; `said` names the message to show."""

    said: Literal["ended", "nothing"] | None = None


class EndForm(msgspec.Struct, frozen=True, kw_only=True):
    """The session to end; without one, all that the caller may end but this one."""

    session: Annotated[Id | None, Meta(description="A session's id.")] = None


async def read_shown(call: Call) -> Sequence[Session]:
    """Return the open sessions that the caller may see."""
    found = await call.site.sessions.read(_MOST)
    return found if SCOPE in call.scopes else [one for one in found if one.operator == call.operator]


@page("/ops/sessions", SessionsQuery, operator(""))
async def sessions_page(call: Call, query: SessionsQuery) -> Answer:
    """Show the open sessions, and how many sign-ins failed of late."""
    sees_all = SCOPE in call.scopes
    return await show_ops(
        call,
        "ops_sessions.html",
        "/ops/sessions",
        sessions=await read_shown(call),
        mine=call.signed_in.session,
        sees_all=sees_all,
        failed=await read_failed(call.site.database, 7) if sees_all else (),
        idle=call.site.settings.signing_in.idle_minutes,
        word=_FLASHES.get(query.said),
    )


@action("/ops/sessions", EndForm, operator(""))
async def end_form(call: Call, form: EndForm) -> Answer:
    """End a session, or all others."""
    others = [one.id for one in await read_shown(call) if one.id != call.signed_in.session]
    chosen = others if form.session is None else [one for one in (*others, call.signed_in.session) if one == form.session]
    ended = await sessions.end(call.site.database, call.operator, chosen)
    return back("/ops/sessions", None, "ended" if ended else "nothing")
