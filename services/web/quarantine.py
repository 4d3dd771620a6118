"""Quarantine: where views have halted, and the decision to let them skip an event."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from events.commands.quarantine import DropEvent
from events.quarantine import WHOLE, can_pass
from services.status.model import ProjectionStatus
from services.status.views import read_present_views
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput, NotFound
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

_DROPPED: Final = "The views that halted there will skip that event, now and in every rebuild."


class QuarantineQuery(Query, frozen=True, kw_only=True):
    """The query of the quarantine's page; `said` names the message to show."""

    said: Literal["dropped"] | None = None


class Halted(Struct, frozen=True):
    """A view that has halted before the event at a position, and the error there; `can_skip` tells whether it may skip one."""

    view: str
    position: int
    error: str
    since: datetime
    can_skip: bool


class HaltedAnswer(Struct, frozen=True):
    """The views that have halted."""

    items: list[Halted]


class NewDrop(Input, frozen=True, kw_only=True):
    """The reason, which the log keeps."""

    reason: Reason


class DropAnswer(Struct, frozen=True):
    """The views that skip the event at a position, now and in every rebuild."""

    position: int
    views: list[str]


class DropForm(Struct, frozen=True, kw_only=True):
    """The position of the event that the views halted there are to skip, and the reason."""

    position: Annotated[int, Meta(ge=1)]
    reason: Annotated[str, Meta(max_length=REASON_MOST)]


async def read_halted(call: Call) -> Sequence[ProjectionStatus]:
    """Return the views that have halted."""
    return [view for view in await read_present_views(call.site.database) if view.halt is not None]


@endpoint("GET", "/v1/ops/quarantine", by=operator("read"), gives=HaltedAnswer)
async def get_quarantine(call: Call) -> HaltedAnswer:
    """Return the views that have halted, each with the event's position and the error."""
    halts = [(view.name, view.halt) for view in await read_halted(call) if view.halt is not None]
    return HaltedAnswer([Halted(name, at.position, at.error, at.since, name not in WHOLE) for name, at in halts])


@endpoint(
    "POST",
    "/v1/ops/quarantine/{entry}/drop",
    by=operator("quarantine"),
    takes=NewDrop,
    gives=DropAnswer,
    problems=(409,),
)
async def post_drop(call: Call, given: NewDrop) -> DropAnswer:
    """Let every view that has halted at a position, and can, skip the event there; 404 if none has."""
    check_line("/reason", given.reason)
    position = int(call.path["entry"])
    if not (views := await _drop(call, position, given.reason)):
        raise NotFound("No view has halted at this position.")
    return DropAnswer(position, views)


async def _drop(call: Call, position: int, reason: str) -> list[str]:
    """Let the views that have halted at a position skip its event; return their names. Raises NothingPassed."""
    names = [view.name for view in await read_halted(call) if view.halt is not None and view.halt.position == position]
    if names:
        names = can_pass(names)
        await call.site.committer.submit(DropEvent(names, position, reason, call.operator))
    return names


@page("/ops/quarantine", QuarantineQuery, operator("read"))
async def quarantine_page(call: Call, query: QuarantineQuery) -> Answer:
    """Show where views have halted."""
    word = _DROPPED if query.said else None
    halted = await read_halted(call)
    may_drop = "quarantine" in call.scopes
    return await show_ops(
        call, "ops_quarantine.html", "/ops/quarantine", halted=halted, whole=WHOLE, word=word, may_drop=may_drop
    )


@action("/ops/quarantine", DropForm, operator("quarantine"))
async def drop_form(call: Call, form: DropForm) -> Answer:
    """Let every view that has halted at a position, and can, skip the event there."""
    check_line("/reason", form.reason)
    if not await _drop(call, form.position, form.reason):
        raise BadInput.at("/position", "isn't one that a view has halted at")
    return back("/ops/quarantine", None, "dropped")
