"""Health and metrics, for load balancers and Prometheus; without a token, and never cached."""

import asyncio
from typing import Final, Literal

import msgspec

from events.log import postgres
from services.status.views import states
from services.web.http.answers import Answer
from services.web.http.checks import PATIENCE_SECONDS, ask_all
from services.web.http.endpoints import Call, endpoint
from services.web.http.problems import Kind, Refusal, add_kinds

METRICS_MEDIA: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Live(msgspec.Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process can serve; `reasons` say what is degraded."""

    status: Literal["ok", "degraded"]
    reasons: tuple[str, ...] = ()


class NotReady(Refusal):
    """The process can't serve; the message says why."""


add_kinds({NotReady: Kind(503, "not-ready", "Not ready", retry_after=1)})


@endpoint("GET", "/health/live", gives=Live)
async def live(call: Call) -> Live:
    """Tell that the process runs."""
    return Live()


@endpoint("GET", "/health/ready", gives=Ready, problems=(503,))
async def ready(call: Call) -> Ready:
    """Tell whether this process can serve, and what is degraded."""
    vital, other = await ask_all(call.site.checks)
    if vital:
        raise NotReady("; ".join(vital))
    return Ready("degraded", tuple(other)) if other else Ready("ok")


@endpoint("GET", "/metrics", gives=METRICS_MEDIA)
async def metrics(call: Call) -> Answer:
    """Give the metrics of this process, how the views stand and which issue is late, in Prometheus' text format."""
    told = call.site.metrics
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told.views.states = await states(call.site.database)
            told.issues.late = await call.site.late_editions()
    except postgres.FAILED:  # the process's own metrics are there in any case
        told.views.states, told.issues.late = (), None
    return Answer(told.text(), media=METRICS_MEDIA)
