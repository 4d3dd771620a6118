"""The mail check: what was found last of whether mail arrives, asking for another, and letting a first issue go in spite of it.

The worker checks, since it is the process that sends.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from services.mail_check import store
from services.mail_check.lines import TITLES
from services.mail_check.store import Checked, KeptLine
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call

_PATH: Final = "/ops/mail"
_URGENCY: Final = ("wrong", "unknown", "right", "note")
_FLASHES: Final[dict[str | None, str]] = {
    "asked": "A worker checks within a minute. Load this page again then.",
    "waived": "Done. The first issue goes, whatever the check says.",
    "held": "Done. Red lines hold the first issue.",
}


class Waiver(msgspec.Struct, frozen=True):
    """Who let the first issue go in spite of red lines, when and why."""

    by: str
    at: datetime
    reason: str


class MailCheckAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The last check; `checked_at` is null where there was none. `first_waits` says that red lines hold the first issue."""

    checked_at: datetime | None
    is_asked_for: bool
    first_waits: bool
    waiver: Waiver | None
    lines: Sequence[KeptLine]


class NewWaiver(Input, frozen=True, kw_only=True):
    """The reason, which is kept."""

    reason: Reason


class MailCheckQuery(Query, frozen=True, kw_only=True):
    """The query of the page; `said` names the message to show."""

    said: Literal["asked", "waived", "held"] | None = None


class MailCheckForm(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: check anew, let the first issue go for a reason, or let red lines hold it again."""

    do: Literal["check", "waive", "hold"]
    reason: Annotated[str, Meta(max_length=REASON_MOST)] = ""


async def read_check(call: Call) -> MailCheckAnswer:
    """Return the last check."""
    checked = await store.read(call.site.database)
    return MailCheckAnswer(
        checked_at=checked.checked_at,
        is_asked_for=checked.is_asked_for,
        first_waits=checked.holds_first,
        waiver=_waiver(checked),
        lines=checked.lines,
    )


def _waiver(checked: Checked) -> Waiver | None:
    if checked.waived_at is None or checked.waived_by is None or checked.waived_for is None:
        return None
    return Waiver(checked.waived_by, checked.waived_at, checked.waived_for)


@endpoint("GET", "/v1/ops/mail-check", by=operator("digest"), gives=MailCheckAnswer)
async def get_mail_check(call: Call) -> MailCheckAnswer:
    """Return what the last check found of whether mail arrives: each line right, wrong, unknown or a note."""
    return await read_check(call)


@endpoint("POST", "/v1/ops/mail-check", by=operator("digest"), gives=MailCheckAnswer)
async def post_mail_check(call: Call) -> MailCheckAnswer:
    """Ask a worker to check anew, within a minute; return the last check."""
    await store.ask(call.site.database)
    return await read_check(call)


@endpoint("PUT", "/v1/ops/mail-check/waiver", by=operator("digest"), takes=NewWaiver, gives=MailCheckAnswer)
async def put_waiver(call: Call, given: NewWaiver) -> MailCheckAnswer:
    """Let the first issue go, also the scheduled one, though lines are red."""
    check_line("/reason", given.reason)
    await store.waive(call.site.database, call.operator, given.reason)
    return await read_check(call)


@endpoint("DELETE", "/v1/ops/mail-check/waiver", by=operator("digest"), gives=MailCheckAnswer)
async def delete_waiver(call: Call) -> MailCheckAnswer:
    """Let red lines hold the first issue again."""
    await store.unwaive(call.site.database, call.operator)
    return await read_check(call)


@page(_PATH, MailCheckQuery, operator("digest"))
async def mail_check_page(call: Call, query: MailCheckQuery) -> Answer:
    """Show what the last check found, when it was, and what to mend."""
    checked = await read_check(call)
    first_red = sorted(checked.lines, key=lambda line: _URGENCY.index(line.state))
    has_relay = call.site.settings.smtp_url is not None or checked.checked_at is not None
    word = _FLASHES.get(query.said)
    values = {"checked": checked, "lines": first_red, "titles": TITLES, "has_relay": has_relay}
    return await show_ops(call, "ops_mail.html", _PATH, word=word, **values)


@action(_PATH, MailCheckForm, operator("digest"))
async def mail_check_form(call: Call, form: MailCheckForm) -> Answer:
    """Ask for a check, or decide whether red lines hold the first issue."""
    database = call.site.database
    match form.do:
        case "check":
            await store.ask(database)
            return back(_PATH, None, "asked")
        case "waive":
            check_line("/reason", form.reason)
            await store.waive(database, call.operator, form.reason)
            return back(_PATH, None, "waived")
        case "hold":
            await store.unwaive(database, call.operator)
            return back(_PATH, None, "held")
