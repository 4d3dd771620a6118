"""Quarantine: where views have halted, and the decision to let them skip an event."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from events.commands.quarantine import DropEvent
from events.quarantine import WHOLE
from services.status.model import ProjectionStatus
from services.status.views import read_present_views
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, check_line
from services.web.http.call import operator
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

_DROPPED: Final = "The views that halted there will skip that event, now and in every rebuild."


class QuarantineQuery(Query, frozen=True, kw_only=True):
    """The query of the quarantine's page; `said` names the message to show."""

    said: Literal["dropped"] | None = None


class DropForm(Struct, frozen=True, kw_only=True):
    """The position of the event that the views halted there are to skip, and the reason."""

    position: Annotated[int, Meta(ge=1)]
    reason: Annotated[str, Meta(max_length=REASON_MOST)]


async def read_halted(call: Call) -> Sequence[ProjectionStatus]:
    """Return the views that have halted."""
    return [view for view in await read_present_views(call.site.database) if view.halt is not None]


@page("/ops/quarantine", QuarantineQuery, operator("read"))
async def quarantine_page(call: Call, query: QuarantineQuery) -> Answer:
    """Show where views have halted."""
    word = _DROPPED if query.said else None
    halted = await read_halted(call)
    return await show_ops(call, "ops_quarantine.html", "/ops/quarantine", halted=halted, whole=WHOLE, word=word)


@action("/ops/quarantine", DropForm, operator("voters"))
async def drop_form(call: Call, form: DropForm) -> Answer:
    """Let every view that has halted at a position, and can, skip the event there."""
    check_line("/reason", form.reason)
    names = [view.name for view in await read_halted(call) if view.halt is not None and view.halt.position == form.position]
    if not names:
        raise BadInput.at("/position", "isn't one that a view has halted at")
    await call.site.committer.submit(DropEvent(names, form.position, form.reason, call.operator))
    return back("/ops/quarantine", None, "dropped")
