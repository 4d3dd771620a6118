"""Held mails: the providers whose digests wait because they refused us, and the decision to let them go on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from services.newsletter import holds
from services.newsletter.doorbell import ring
from services.newsletter.holds import Hold
from services.web.http.answers import Answer
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import NotFound
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

_PATH: Final = "/ops/holds"
_FLASHES: Final[dict[str | None, str]] = {
    "resumed": "Done. Its mails go on.",
    "nothing": "Nothing is held for this provider any more.",
}

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class HeldProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider (`relay`: all of them) since when it is held, what it said, how many mails wait, and when one is tried."""

    provider: str
    since: datetime
    reason: str
    mails: int
    probe_at: datetime


class HoldsAnswer(msgspec.Struct, frozen=True):
    """The providers that are held, the longest held first."""

    items: Sequence[HeldProvider]


class ResumedAnswer(msgspec.Struct, frozen=True):
    """The provider whose mails go on."""

    provider: str


class HoldsQuery(Query, frozen=True, kw_only=True):
    """The query of the page; `said` names the message to show."""

    said: Literal["resumed", "nothing"] | None = None


class ResumeForm(msgspec.Struct, frozen=True, kw_only=True):
    """The provider whose mails are to go on."""

    provider: Name


@endpoint("GET", "/v1/ops/holds", by=operator("digest"), gives=HoldsAnswer)
async def get_holds(call: Call) -> HoldsAnswer:
    """Return the providers whose mails are held because they refused us."""
    return HoldsAnswer(await _read(call))


@endpoint("POST", "/v1/ops/holds/{provider}/resumption", by=operator("digest"), gives=ResumedAnswer)
async def post_resumption(call: Call) -> ResumedAnswer:
    """Let the mails go on that are held for a provider, or for the relay."""
    if not await _resume(call, call.path["provider"]):
        raise NotFound("Nothing is held for this provider.")
    return ResumedAnswer(call.path["provider"])


@page(_PATH, HoldsQuery, operator("digest"))
async def holds_page(call: Call, query: HoldsQuery) -> Answer:
    """Show the providers that are held, and the button that lets each go on."""
    return await show_ops(call, "ops_holds.html", _PATH, held=await _read(call), word=_FLASHES.get(query.said))


@action(_PATH, ResumeForm, operator("digest"))
async def resume_form(call: Call, form: ResumeForm) -> Answer:
    """Let a provider's mails go on."""
    return back(_PATH, None, "resumed" if await _resume(call, form.provider) else "nothing")


async def _read(call: Call) -> Sequence[HeldProvider]:
    return [_told(hold) for hold in await holds.read_holds(call.site.database)]


def _told(hold: Hold) -> HeldProvider:
    return HeldProvider(**{**msgspec.structs.asdict(hold), "provider": holds.named(hold.provider)})


async def _resume(call: Call, name: str) -> bool:
    resumed = await holds.resume(call.site.database, call.operator, holds.unnamed(name))
    if resumed:
        await ring(call.site.valkey)
    return bool(resumed)
