"""Webhooks of mail providers: bounces and complaints, signed, safe to repeat, and too old to replay after five minutes.

The generic webhook is signed by `Ballotpress-Signature: t=UNIX_TIME,v1=HEX`, HEX being the HMAC-SHA256 of "UNIX_TIME.BODY"
under one of the secrets.
"""

import asyncio
import hmac
import logging
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from emails import sns
from services.clock import now
from services.json_input import UNREADABLE
from services.newsletter import reports
from services.newsletter.reports import Report, WebhookEvent, read_event, read_ses
from services.web.http.bodies import bad_input
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, NotFound, Refusal
from services.web.site import Call

SIGNATURE: Final = b"ballotpress-signature"
OLDEST_SECONDS: Final = 300
BODY_LIMIT: Final = 1024 * 1024
LARGE: Final = 64 * 1024
"""Bytes from which a body is parsed beside the event loop, which serves others meanwhile."""
_SIGNATURE: Final = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")

logger = logging.getLogger(__name__)


class NotSigned(Refusal):
    """The call isn't signed by a provider that is set up here, or its signature is too old."""


class WebhookBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The body of the generic webhook."""

    events: Annotated[list[WebhookEvent], Meta(max_length=1000)]


class WebhookAnswer(msgspec.Struct, frozen=True):
    """How many reports were about a known address, and how many addresses they suppressed."""

    known: int
    suppressed: int


class Notification(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a message of Amazon's SNS that we sign for or read; strangers' others are skipped, unread."""

    Type: str = ""
    MessageId: str = ""
    TopicArn: str = ""
    Message: str = ""
    Timestamp: str = ""
    Signature: str = ""
    SignatureVersion: str = ""
    SigningCertURL: str = ""
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


T = TypeVar("T")

_batch: Final = msgspec.json.Decoder(WebhookBatch)
_notification: Final = msgspec.json.Decoder(Notification)


@endpoint(
    "POST",
    "/v1/webhooks/mail/generic",
    gives=WebhookAnswer,
    problems=(401, 404, 413),
    max_body=BODY_LIMIT,
    proof="webhookSignature",
    reads=WebhookBatch,
    sent_by="anyone",
)
async def post_events(call: Call) -> WebhookAnswer:
    """Receive bounces and complaints from any provider: `{"events": [{"type", "hard", "recipient", "message_id", "id"}]}`."""
    _require_configured(call.site.settings.newsletter.webhook_secrets)
    body = await call.read_body()
    _require_signature(call, body)
    try:
        events = (await _decoded(_batch, body)).events
    except msgspec.ValidationError as error:
        raise bad_input(error, WebhookBatch) from None
    except UNREADABLE:
        raise BadInput.at("", "The body isn't valid JSON in UTF-8, or is nested too deeply.") from None
    return await _apply(call, [read_event(event, _fingerprint(event, body, place)) for place, event in enumerate(events)])


def _require_configured(providers: Sequence[str]) -> None:
    """Answer as if nothing were here where no provider is set up: nothing of a stranger's is read. Raises NotFound."""
    if not providers:
        raise NotFound("Nothing is served at this path.")


async def _decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    return decoder.decode(body) if len(body) < LARGE else await asyncio.to_thread(decoder.decode, body)


def _require_signature(call: Call, body: bytes) -> None:
    """Check the signature of a body. Raises NotSigned."""
    found = _SIGNATURE.fullmatch(call.head.get(SIGNATURE, b"").decode("latin-1"))
    if found is None:
        raise NotSigned("This needs a signature.")
    if abs(now().timestamp() - int(found[1])) > OLDEST_SECONDS:
        raise NotSigned("The signature is too old.")
    signed = found[1].encode() + b"." + body
    for secret in call.site.settings.newsletter.webhook_secrets:
        if hmac.compare_digest(hmac.digest(secret.encode(), signed, "sha256").hex(), found[2]):
            return
    raise NotSigned("The signature is wrong.")


def _fingerprint(event: WebhookEvent, body: bytes, place: int) -> bytes:
    """Return what tells an event from all others: a hash of the provider's id, else of the body and its place in it."""
    named = f"id {event.id}".encode() if event.id else b"%d " % place + body
    return blake2b(named, digest_size=16, person=b"generic").digest()


@endpoint("POST", "/v1/webhooks/mail/ses", gives=WebhookAnswer, problems=(401, 404, 413), max_body=BODY_LIMIT, sent_by="anyone")
async def post_notification(call: Call) -> WebhookAnswer:
    """Receive bounces and complaints from Amazon SES, by an SNS topic that BALLOTPRESS_SES_TOPICS names."""
    topics = call.site.settings.newsletter.ses_topics
    _require_configured(topics)
    body = await call.read_body()
    try:
        message: dict[str, Any] = msgspec.to_builtins(await _decoded(_notification, body))
    except UNREADABLE:
        raise NotSigned("This isn't a message of Amazon's.") from None
    try:
        signed = sns.read_signed(message, topics, now())
        sns.verify(signed, await call.site.signers.of(message, now()), now())
    except sns.NotSigned as error:
        raise NotSigned(f"This isn't a message we can trust: {error}.") from None
    if message["Type"] == "SubscriptionConfirmation":
        logger.warning("open this address once to let Amazon report bounces: %s", message.get("SubscribeURL"))
    return await _apply(call, read_ses(message))


async def _apply(call: Call, received: list[Report]) -> WebhookAnswer:
    site = call.site
    applied = await reports.apply(site.database, site.committer, await site.finder(), received)
    return WebhookAnswer(sum(one.reader is not None for one in applied), sum(one.suppressed for one in applied))
