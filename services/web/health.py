"""Health and metrics, for load balancers and Prometheus; without a token, and never cached."""

from typing import Final, Literal

import msgspec

from services.web.gauges import read_gauges
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.metrics import Texts
from services.web.http.negotiation import asks_for
from services.web.http.problems import Refusal
from services.web.site import Call

METRICS_MEDIA: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_MEDIA: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"


class LiveAnswer(msgspec.Struct, frozen=True):
    """The state of a process that runs."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a process that can serve; `reasons` say what is degraded."""

    status: Literal["ok", "degraded"]
    reasons: tuple[str, ...] = ()


class NotReady(Refusal):
    """The process can't serve; the message says why."""


@endpoint("GET", "/health/live", gives=LiveAnswer)
async def get_live(call: Call) -> LiveAnswer:
    """Say that the process runs."""
    return LiveAnswer()


@endpoint("GET", "/health/ready", gives=ReadyAnswer, problems=(503,))
async def get_ready(call: Call) -> ReadyAnswer:
    """Say whether this process can serve, and what is degraded."""
    if call.site.is_leaving:
        raise NotReady("leaving: this process was told to stop")
    vital, other = await call.site.checks.look()
    if vital:
        raise NotReady("; ".join(vital))
    return ReadyAnswer("degraded", tuple(other)) if other else ReadyAnswer("ok")


@endpoint("GET", "/metrics", gives=METRICS_MEDIA, streams=("application/openmetrics-text",))
async def get_metrics(call: Call) -> Answer:
    """Return the metrics of this process and of the whole site, in Prometheus' text format or, if asked, as OpenMetrics.

    In OpenMetrics, buckets of `ballotpress_http_request_seconds` name a trace each, where requests are traced.
    """
    metrics = call.site.metrics

    async def read() -> Texts:
        return metrics.texts(await read_gauges(call.site))

    texts = await metrics.readings.next(read)
    if asks_for("application/openmetrics-text", call.head.get(b"accept"), instead_of="text/plain"):
        return Answer(texts.openmetrics, media=OPENMETRICS_MEDIA)
    return Answer(texts.plain, media=METRICS_MEDIA)
