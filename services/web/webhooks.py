"""Outgoing webhooks, for operators: who is told of what happens, how that fares, and everything that can be done about it."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from events.commands.webhooks import RemoveWebhook, ReplayWebhook, SwitchWebhook
from services.web.http.answers import Answer
from services.web.http.bodies import REASON_MOST, Id, Input, Reason, check_line
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import action, back, page
from services.web.http.problems import BadInput
from services.web.http.queries import Query
from services.web.operators import show_ops
from services.web.site import Call
from services.webhooks import operations
from services.webhooks.messages import KINDS, Kind
from services.webhooks.operations import NOTE_MOST, Made
from services.webhooks.posting import Reply
from services.webhooks.subscriptions import ROTATION_HOURS, Webhook, read_all, read_one
from services.webhooks.target import MOST_CHARACTERS, TargetRefused

QUIET_SECONDS: Final = 2.0
"""So long an answer waits for a delivery that is in flight while its webhook is turned off."""
MOST_HOURS: Final = 168
_SCOPE: Final = operator("webhooks")
_FLASHES: Final[dict[str | None, str]] = {
    "on": "Done. What happened meanwhile is sent now.",
    "off": "Done. Once nothing is in flight, nothing more is sent.",
    "replay": "Done. The messages from that position on are sent.",
    "removed": "Done. Nothing is sent there any more, and its secrets are destroyed.",
}

Url = Annotated[str, Meta(min_length=1, max_length=MOST_CHARACTERS)]
Note = Annotated[str, Meta(max_length=NOTE_MOST)]
Hours = Annotated[int, Meta(ge=0, le=MOST_HOURS)]
ReplayFrom = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class NewWebhook(Input, frozen=True, kw_only=True):
    """The address to tell, the kinds of messages (default: all), and a note for operators."""

    url: Url
    kinds: Annotated[list[Kind], Meta(min_length=1, max_length=len(KINDS))] = msgspec.field(default_factory=lambda: [*KINDS])
    note: Note = ""


class WebhookState(Input, frozen=True, kw_only=True):
    """Whether messages are sent, and for what reason they aren't."""

    on: bool
    reason: Reason | None = None


class WebhookReplay(Input, frozen=True, kw_only=True):
    """The position from which messages are sent, again if they were before."""

    position: ReplayFrom


class NewSecret(Input, frozen=True, kw_only=True):
    """For how many hours the secrets before it still sign."""

    hours: Hours = ROTATION_HOURS


class WebhooksAnswer(msgspec.Struct, frozen=True):
    """All webhooks, the oldest first."""

    items: Sequence[Webhook]


class RemovedWebhook(msgspec.Struct, frozen=True):
    """A webhook that was removed."""

    id: Id


class TrialAnswer(msgspec.Struct, frozen=True):
    """What came of a message of the kind `webhook.test`: the status (0 without an answer), and why it failed (null if not)."""

    status: int
    failed: str | None


class WebhooksQuery(Query, frozen=True, kw_only=True):
    """The query of the page; `said` names the message to show."""

    said: Literal["on", "off", "replay", "removed"] | None = None


class AddForm(msgspec.Struct, frozen=True, kw_only=True):
    """The address, a note, and a box for each kind."""

    url: Url
    note: Note = ""
    verdict_changed: str | None = None
    settled_changed: str | None = None
    correction_made: str | None = None
    review_waits: str | None = None
    issue_sent: str | None = None

    @property
    def kinds(self) -> list[Kind]:
        """The kinds whose boxes are ticked."""
        return [kind for kind in KINDS if getattr(self, kind.replace(".", "_")) is not None]


class DoForm(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with a webhook; a replay takes a position, turning it off a reason."""

    do: Literal["on", "off", "replay", "rotate", "test", "remove"]
    position: ReplayFrom | None = None
    reason: Annotated[str, Meta(max_length=REASON_MOST)] = ""


@endpoint("GET", "/v1/ops/webhooks", by=_SCOPE, gives=WebhooksAnswer)
async def get_webhooks(call: Call) -> WebhooksAnswer:
    """Return all webhooks, with their cursors and how their deliveries fare. Secrets are never shown again."""
    return WebhooksAnswer(await read_all(call.site.database))


@endpoint("POST", "/v1/ops/webhooks", by=_SCOPE, takes=NewWebhook, gives=Made, statuses=(201,), problems=(409,))
async def post_webhook(call: Call, new: NewWebhook) -> Made:
    """Tell an address of what happens from now on, by POSTs that are signed as Standard Webhooks says.

    The secret is in this answer and in no other. Make sure that you have it, then try it: POST …/test.
    """
    return await _add(call, new.url, new.kinds, new.note)


@endpoint("GET", "/v1/ops/webhooks/{webhook}", by=_SCOPE, gives=Webhook)
async def get_webhook(call: Call) -> Webhook:
    """Return one webhook."""
    return await read_one(call.site.database, call.path["webhook"])


@endpoint("DELETE", "/v1/ops/webhooks/{webhook}", by=_SCOPE, gives=RemovedWebhook)
async def delete_webhook(call: Call) -> RemovedWebhook:
    """Remove a webhook, and destroy its secrets."""
    await call.site.committer.submit(RemoveWebhook(id=call.path["webhook"], by=call.operator, key=call.key))
    return RemovedWebhook(call.path["webhook"])


@endpoint("PUT", "/v1/ops/webhooks/{webhook}/state", by=_SCOPE, takes=WebhookState, gives=Webhook)
async def put_state(call: Call, state: WebhookState) -> Webhook:
    """Turn a webhook off, or on again: then what happened meanwhile is sent.

    Once it is off and `in_flight` is false, nothing more arrives.
    """
    return await _switch(call, call.path["webhook"], on=state.on, reason=state.reason or "")


@endpoint("POST", "/v1/ops/webhooks/{webhook}/replay", by=_SCOPE, takes=WebhookReplay, gives=Webhook)
async def post_replay(call: Call, replay: WebhookReplay) -> Webhook:
    """Send the messages from a position on, equal in every byte and id to those that were sent before."""
    id_ = call.path["webhook"]
    await call.site.committer.submit(ReplayWebhook(id=id_, by=call.operator, position=replay.position, key=call.key))
    return await read_one(call.site.database, id_)


@endpoint("POST", "/v1/ops/webhooks/{webhook}/secret", by=_SCOPE, takes=NewSecret, gives=Made, statuses=(201,))
async def post_secret(call: Call, new: NewSecret) -> Made:
    """Sign under a new secret, which is in this answer and in no other, and under those before for some hours more."""
    return await _rotate(call, call.path["webhook"], new.hours)


@endpoint("POST", "/v1/ops/webhooks/{webhook}/test", by=_SCOPE, gives=TrialAnswer)
async def post_test(call: Call) -> TrialAnswer:
    """Send a message of the kind `webhook.test` now, be the webhook on or off, and return what came of it."""
    reply = await _trial(call, call.path["webhook"])
    return TrialAnswer(reply.status, reply.failed)


async def _add(call: Call, url: str, kinds: Sequence[Kind], note: str) -> Made:
    """Add a webhook. Raises BadInput, TooManyWebhooks."""
    site = call.site
    if note:
        check_line("/note", note)
    loopback = site.settings.webhook_loopback
    try:
        return await operations.add(
            site.database, site.committer, site.vault, url, kinds, note, call.operator, allow_loopback=loopback, key=call.key
        )
    except TargetRefused as refusal:
        raise BadInput.at("/url", str(refusal)) from None


async def _switch(call: Call, id_: str, *, on: bool, reason: str) -> Webhook:
    """Turn a webhook on or off, and wait a moment for what is in flight. Raises WebhookUnknown, BadInput."""
    if reason:
        check_line("/reason", reason)
    await call.site.committer.submit(SwitchWebhook(id=id_, by=call.operator, on=on, reason=reason, key=call.key))
    return await operations.when_quiet(call.site.database, id_, 0 if on else QUIET_SECONDS)


async def _rotate(call: Call, id_: str, hours: int) -> Made:
    site = call.site
    return await operations.rotate(site.database, site.committer, site.vault, id_, hours, call.operator, call.key)


async def _trial(call: Call, id_: str) -> Reply:
    return await operations.send_trial(call.site.database, call.site.vault, call.site.poster, id_)


async def _show(call: Call, word: str | None = None, made: Made | None = None, tried: Reply | None = None) -> Answer:
    """Show the page, with a secret that was just made, or what came of a trial."""
    return await show_ops(
        call,
        "ops_webhooks.html",
        "/ops/webhooks",
        webhooks=await read_all(call.site.database),
        kinds=[(kind, kind.replace(".", "_")) for kind in KINDS],
        word=word,
        made=made,
        tried=tried,
        hours=ROTATION_HOURS,
    )


@page("/ops/webhooks", WebhooksQuery, _SCOPE)
async def webhooks_page(call: Call, query: WebhooksQuery) -> Answer:
    """Show all webhooks, what can be done with each, and the form that adds one."""
    return await _show(call, _FLASHES.get(query.said))


@action("/ops/webhooks", AddForm, _SCOPE)
async def webhooks_form(call: Call, form: AddForm) -> Answer:
    """Add a webhook, and show its secret this once."""
    if not form.kinds:
        raise BadInput.at("/verdict_changed", "tick at least one kind of messages")
    return await _show(call, made=await _add(call, form.url, form.kinds, form.note))


@action("/ops/webhooks/{webhook}", DoForm, _SCOPE)
async def webhook_form(call: Call, form: DoForm) -> Answer:
    """Do what a button of a webhook says."""
    site, id_ = call.site, call.path["webhook"]
    if form.do == "rotate":
        return await _show(call, made=await _rotate(call, id_, ROTATION_HOURS))
    if form.do == "test":
        return await _show(call, tried=await _trial(call, id_))
    if form.do == "remove":
        await site.committer.submit(RemoveWebhook(id=id_, by=call.operator))
        return back("/ops/webhooks", None, "removed")
    if form.do == "replay":
        if form.position is None:
            raise BadInput.at("/position", "is missing: from which position on?")
        await site.committer.submit(ReplayWebhook(id=id_, by=call.operator, position=form.position))
    else:
        await _switch(call, id_, on=form.do == "on", reason=form.reason)
    return back("/ops/webhooks", None, form.do)
