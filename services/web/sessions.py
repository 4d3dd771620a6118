"""Sessions: who has signed in to the operators' pages. All see and end their own, the scope `operators` those of everybody."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from services.operators import sessions
from services.operators.failures import read_failed
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
    """The session to end; or by a word of its own, all that the caller may end but this one."""

    session: Annotated[Id | None, Meta(description="A session's id.")] = None
    do: Literal["all"] | None = None

    def __post_init__(self) -> None:
        """Check that one of both is given. Raises ValueError."""
        if (self.session is None) == (self.do is None):
            raise ValueError("give the session to end, or do=all for all others")


def _whose(call: Call) -> str | None:
    """Return whose sessions the caller may see and end; None says everybody's."""
    return None if SCOPE in call.scopes else call.operator


@page("/ops/sessions", SessionsQuery, operator(""))
async def sessions_page(call: Call, query: SessionsQuery) -> Answer:
    """Show the open sessions, and how many sign-ins failed of late."""
    sees_all = SCOPE in call.scopes
    return await show_ops(
        call,
        "ops_sessions.html",
        "/ops/sessions",
        sessions=await call.site.sessions.read(_MOST, _whose(call)),
        mine=call.signed_in.session,
        sees_all=sees_all,
        failed=await read_failed(call.site.database, 7) if sees_all else (),
        idle=call.site.settings.signing_in.idle_minutes,
        word=_FLASHES.get(query.said),
    )


@action("/ops/sessions", EndForm, operator(""))
async def end_form(call: Call, form: EndForm) -> Answer:
    """End a session, or all others."""
    chosen = None if form.session is None else [form.session]
    but = call.signed_in.session if chosen is None else None
    ended = await sessions.end(call.site.database, call.operator, chosen, _whose(call), but)
    return back("/ops/sessions", None, "ended" if ended else "nothing")
