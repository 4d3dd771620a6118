"""What providers of mail tell us: bounces and complaints, signed, safe to repeat, and useless to replay after five minutes.

The generic hook is signed by `Ballotpress-Signature: t=UNIX_TIME,v1=HEX`, HEX being the HMAC-SHA256 of "UNIX_TIME.BODY"
under one of the secrets.
"""

import asyncio
import hmac
import logging
import re
from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from emails import ses as sns
from services.clock import now
from services.newsletter import reports
from services.newsletter.reports import Report, WebhookEvent, read_event, read_ses
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, Refusal
from services.web.site import Call

SIGNATURE: Final = b"ballotpress-signature"
OLDEST_SECONDS: Final = 300
BODY_LIMIT: Final = 1024 * 1024
_SIGNATURE: Final = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")

logger = logging.getLogger(__name__)


class NotSigned(Refusal):
    """The call isn't signed by a provider we know, or its signature is too old."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What the generic hook tells."""

    events: Annotated[list[WebhookEvent], Meta(max_length=1000)]


class Taken(msgspec.Struct, frozen=True):
    """How many reports were about somebody we know, and how many addresses nothing is sent to any more."""

    known: int
    suppressed: int


_batch: Final = msgspec.json.Decoder(Batch)
_certificates: Final[dict[str, bytes]] = {}


@endpoint("POST", "/v1/webhooks/mail/generic", gives=Taken, problems=(401, 413), max_body=BODY_LIMIT)
async def generic(call: Call) -> Taken:
    """Take bounces and complaints from any provider: `{"events": [{"type", "hard", "recipient", "message_id", "id"}]}`."""
    body = await call.read_body()
    _must_be_signed(call, body)
    try:
        told = _batch.decode(body).events
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput.at("", str(error)) from None
    return await _take(call, [read_event(one, _fingerprint(one, body, place)) for place, one in enumerate(told)])


def _must_be_signed(call: Call, body: bytes) -> None:
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


def _fingerprint(told: WebhookEvent, body: bytes, place: int) -> bytes:
    """Tell a report from all others: by the provider's id, else by where it stands in what was sent."""
    said = f"id {told.id}".encode() if told.id else b"%d " % place + body
    return blake2b(said, digest_size=16, person=b"generic").digest()


@endpoint("POST", "/v1/webhooks/mail/ses", gives=Taken, problems=(401, 413), max_body=BODY_LIMIT)
async def ses(call: Call) -> Taken:
    """Take bounces and complaints from Amazon SES, by an SNS topic that BALLOTPRESS_SES_TOPICS names."""
    body = await call.read_body()
    try:
        message = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotSigned("This isn't a message of Amazon's.") from None
    topics = call.site.settings.newsletter.ses_topics
    try:
        if message.get("TopicArn") not in topics:  # before anything is fetched on a stranger's word
            raise sns.NotSigned("the topic isn't one of ours")
        sns.verify(message, await _certificate(sns.certificate_url(message)), topics, now())
    except sns.NotSigned as error:
        raise NotSigned(f"This isn't a message we can trust: {error}.") from None
    if message["Type"] == "SubscriptionConfirmation":
        logger.warning("open this address once to let Amazon tell of bounces: %s", message.get("SubscribeURL"))
    return await _take(call, read_ses(message))


async def _certificate(url: str) -> bytes:
    if url not in _certificates:
        try:
            _certificates[url] = await asyncio.to_thread(sns.fetch_certificate, url)
        except OSError:
            raise sns.NotSigned("the certificate can't be fetched") from None
    return _certificates[url]


async def _take(call: Call, told: list[Report]) -> Taken:
    site = call.site
    applied = await reports.apply(site.database, site.committer, await site.finder(), told)
    return Taken(sum(one.reader is not None for one in applied), sum(one.suppressed for one in applied))
