"""Health and metrics, for load balancers and Prometheus; without a token, and never cached."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from events.log import history, postgres
from events.log.history import Rewind
from services.newsletter.holds import Refused, read_refused
from services.newsletter.periods import Edition
from services.status.model import ProjectionStatus
from services.status.views import read_views
from services.web.http.answers import Answer
from services.web.http.checks import PATIENCE_SECONDS, ask_all
from services.web.http.endpoints import endpoint
from services.web.http.metrics import Gauge
from services.web.http.problems import Refusal
from services.web.site import Call

METRICS_MEDIA: Final = b"text/plain; version=0.0.4; charset=utf-8"


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
    vital, other = await ask_all(call.site.checks)
    if vital:
        raise NotReady("; ".join(vital))
    return ReadyAnswer("degraded", tuple(other)) if other else ReadyAnswer("ok")


@endpoint("GET", "/metrics", gives=METRICS_MEDIA)
async def get_metrics(call: Call) -> Answer:
    """Return the metrics of this process, of the views, of late issues and of refusals, in Prometheus' text format."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            database, late = call.site.database, await call.site.late_editions()
            rewind, refused = await history.unanswered(database), await read_refused(database)
            gauges = _gauges(await read_views(database), late, rewind, refused)
    except postgres.FAILED:  # the metrics of the process itself need no database
        gauges = _gauges((), None, None, None)
    return Answer(call.site.metrics.text(gauges), media=METRICS_MEDIA)


def _gauges(
    views: Sequence[ProjectionStatus], late: Collection[str] | None, rewind: Rewind | None, refused: Refused | None
) -> list[Gauge]:
    """Return the gauges of views, log, issues and refusals; their names alone while the database is away (no views, None)."""
    mails = {} if refused is None else {"refused_readers": float(refused.readers), "held_issues": float(len(refused.held))}
    editions = {} if late is None else {edition: float(edition in late) for edition in get_args(Edition)}
    return [
        _view_gauge("position", "The last event taken into a view.", {view.name: view.position for view in views}),
        _view_gauge("lag_events", "Events that a view is behind the log.", {view.name: view.lag for view in views}),
        _view_gauge("halted", "1 if a view has halted at an event.", {v.name: v.halt is not None for v in views}),
        _view_gauge("drifted", "1 if a view differs from the log.", {view.name: view.drift is not None for view in views}),
        Gauge(
            "ballotpress_log_positions",
            "Positions that are gone since the log went back; `ballotpress digest resume` sets them to 0.",
            "state",
            {} if late is None else {"gone": float(rewind.gone if rewind else 0)},
        ),
        Gauge(
            "ballotpress_issue_late",
            "1 if an issue is more than a day late; `ballotpress digest send --now` sends it.",
            "edition",
            editions,
        ),
        Gauge("ballotpress_mail_about_us", "Readers whose servers refused us in a day; issues held for it.", "of", mails),
    ]


def _view_gauge(name: str, text: str, values: Mapping[str, float]) -> Gauge:
    return Gauge(f"ballotpress_view_{name}", text, "view", values)
