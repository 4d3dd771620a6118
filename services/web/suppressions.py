"""Suppressions: the subscribers to whom nothing is sent, and the decision to take one back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from emails.addresses import AddressRefused
from events.commands.subscribers import ReinstateSubscriber
from services.newsletter.subscribers import Suppressed, find, read_suppressed
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, Id, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

_MOST: Final = 100
_FLASHES: Final[dict[str | None, str]] = {
    "reinstated": "Done. Mail is sent there again.",
    "nothing": "No subscriber of this address is suppressed.",
}


class SuppressionsAnswer(msgspec.Struct, frozen=True):
    """The suppressed subscribers, the last suppressed first."""

    items: Sequence[Suppressed]


class NewReinstatement(Input, frozen=True, kw_only=True):
    """The reason, which the log keeps."""

    reason: Reason


class ReinstatementAnswer(msgspec.Struct, frozen=True):
    """The subscriber, who is suppressed no more, and the position of the last event on it."""

    subscriber: Id
    position: int | None


class SuppressionsQuery(Query, frozen=True, kw_only=True):
    """The query of the page; `said` names the message to show, `before` the time before which to look further."""

    said: Literal["reinstated", "nothing"] | None = None
    before: datetime | None = None


class ReinstateForm(msgspec.Struct, frozen=True, kw_only=True):
    """The address whose suppression is taken back, and the reason."""

    email: Annotated[str, Meta(max_length=254)]
    reason: Annotated[str, Meta(max_length=REASON_MOST)]


@endpoint("GET", "/v1/ops/suppressions", by=operator("digest"), gives=SuppressionsAnswer)
async def get_suppressions(call: Call) -> SuppressionsAnswer:
    """Return the subscribers who were suppressed last, up to 100."""
    return SuppressionsAnswer(await read_suppressed(call.site.database, call.site.vault, None, _MOST))


@endpoint(
    "POST",
    "/v1/ops/suppressions/{subscriber}/reinstatement",
    by=operator("digest"),
    takes=NewReinstatement,
    gives=ReinstatementAnswer,
)
async def post_reinstatement(call: Call, given: NewReinstatement) -> ReinstatementAnswer:
    """Take a subscriber's suppression back; 200 as well when there is none."""
    check_line("/reason", given.reason)
    subscriber = call.path["subscriber"]
    receipt = await call.site.committer.submit(ReinstateSubscriber(subscriber, given.reason, call.operator, key=call.key))
    return ReinstatementAnswer(subscriber, receipt.position)


@page("/ops/suppressions", SuppressionsQuery, operator("digest"))
async def suppressions_page(call: Call, query: SuppressionsQuery) -> Answer:
    """Show the suppressed subscribers, and the form that takes a suppression back."""
    found = await read_suppressed(call.site.database, call.site.vault, query.before, _MOST)
    earlier = found[-1].since.isoformat() if len(found) == _MOST else None
    word = _FLASHES.get(query.said)
    return await show_ops(call, "ops_suppressions.html", "/ops/suppressions", suppressed=found, earlier=earlier, word=word)


@action("/ops/suppressions", ReinstateForm, operator("digest"))
async def reinstate_form(call: Call, form: ReinstateForm) -> Answer:
    """Take the suppression of an address back."""
    check_line("/reason", form.reason)
    try:
        person, why = await find(call.site.database, await call.site.finder(), form.email)
    except AddressRefused:
        person, why = None, None
    if person is None or why is None:
        return back("/ops/suppressions", None, "nothing")
    await call.site.committer.submit(ReinstateSubscriber(person, form.reason, call.operator))
    return back("/ops/suppressions", None, "reinstated")
