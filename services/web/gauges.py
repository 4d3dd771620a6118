"""The gauges of the whole site, read when `/metrics` is asked: views, mails, queue, processes, limits, disk."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar, cast, get_args

from asyncpg import Connection

from events.integrity import Status
from events.log import history, postgres
from events.log.history import Rewind
from services.clock import now
from services.integrity import queue
from services.mail_check.standing import MailStanding, read_standing
from services.newsletter import mailed
from services.newsletter.holds import Refused, read_refused
from services.newsletter.periods import Edition
from services.proof import health
from services.proof.health import PublicLog
from services.purge.progress import Progress, read_progress
from services.status.backups import Backups, read_backups
from services.status.model import Ledger, Process, ProjectionStatus, Queue, Scan, WebhookStatus
from services.status.processes import read_processes, read_scan, said_wrong
from services.status.read import disk_room, read_ledger, read_queue, read_webhooks
from services.status.views import read_views
from services.web.http.checks import PATIENCE_SECONDS
from services.web.http.metrics import Gauge
from services.web.site import Site

T = TypeVar("T")

MAIL_STATES: Final = ("pending", "attempting", "deferred", "uncertain", "accepted", "rejected")


async def read_gauges(site: Site) -> list[Gauge]:
    """Return the gauges; of what can't be read within a second, their names alone."""
    jobs = _of_queue(await read_queue(site.valkey))
    return [*await _of_log_and_mails(site), *await _of_work(site), *jobs, *await _of_here(site)]


async def _of_log_and_mails(site: Site) -> Iterable[Gauge]:
    views, late, ledger, log, public, unproven = await asyncio.gather(
        _patiently(read_views(site.database)),
        _patiently(site.late_editions()),
        _patiently(_read_ledger(site)),
        _patiently(_read_log(site)),
        _patiently(health.read(site.database)),
        _patiently(mailed.missing(site.database)),
    )
    gauges = (_of_views(views or ()), _of_issues(late, unproven), _of_log(log), _of_mails(ledger))
    return [_of_public_log(public), *chain(*gauges)]


async def _of_work(site: Site) -> Iterable[Gauge]:
    """Return the gauges of what processes do by themselves, beside the views."""
    processes, cohorts, scan, webhooks, purges, checks, backups = await asyncio.gather(
        _patiently(read_processes(site.database)),
        _patiently(queue.count(site.database)),
        _patiently(read_scan(site.database)),
        _patiently(read_webhooks(site.database)),
        _patiently(read_progress(site.database)),
        _patiently(read_standing(site.database)),
        _patiently(read_backups(site.database)),
    )
    single = [_of_scan(scan), _of_purges(purges), _of_mail_check(checks), _of_backups(backups)]
    return [*single, *_of_processes(processes or ()), *_of_cohorts(cohorts), *_of_webhooks(webhooks)]


async def _patiently(reading: "asyncio.Future[T] | Any") -> T | None:
    """Return what is read, or None: the metrics of the process itself need no database."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return cast("T", await reading)
    except postgres.FAILED:
        return None


async def _read_ledger(site: Site) -> Ledger | None:
    async with site.database.acquire() as connection:
        return await read_ledger(cast("Connection[Any]", connection), site.schedule, now())


async def _read_log(site: Site) -> tuple[Rewind | None, Refused]:
    return await history.unanswered(site.database), await read_refused(site.database)


def _of_issues(late: Sequence[str] | None, unproven: int | None) -> Iterable[Gauge]:
    editions: dict[str, float] = {} if late is None else {edition: float(edition in late) for edition in get_args(Edition)}
    text = "1 if an issue is more than a day late; `ballotpress digest send --now` sends it."
    yield Gauge("ballotpress_issue_late", text, "edition", editions)
    text = "Issues of the last 7 days that went without a checkpoint of the public log, which should have covered them."
    yield Gauge("ballotpress_issues_unproven", text, "of", {} if unproven is None else {"week": float(unproven)})


def _of_log(log: tuple[Rewind | None, Refused] | None) -> Iterable[Gauge]:
    rewind, refused = log or (None, None)
    yield Gauge(
        "ballotpress_log_positions",
        "Positions that are gone since the log went back; `ballotpress digest resume` sets them to 0.",
        "state",
        {} if log is None else {"gone": float(rewind.gone if rewind else 0)},
    )
    yield _of_refusals(refused)


def _of_refusals(refused: Refused | None) -> Gauge:
    mails: dict[str, float] = {}
    if refused is not None:
        waiting = sum(hold.mails for hold in refused.held)
        mails = {"refused_readers": refused.readers, "held_providers": len(refused.held), "waiting_mails": waiting}
    text = "Readers whose servers refused us in a day; providers that are held for it, and the mails that wait for them."
    return Gauge("ballotpress_mail_about_us", text, "of", mails)


def _of_public_log(log: PublicLog | None) -> Gauge:
    values: dict[str, float] = {}
    if log is not None:
        values = {"signed": log.signed, "published": log.published, "unsigned_seconds": log.unsigned_seconds}
        values["refused"] = float(log.refused is not None)
    text = "How far the log is signed and published, how long its first unsigned event has waited, 1 while signing is refused."
    return Gauge("ballotpress_public_log", text, "of", values)


def _of_views(views: Sequence[ProjectionStatus]) -> Iterable[Gauge]:
    yield _view("position", "The last event taken into a view.", {view.name: view.position for view in views})
    yield _view("lag_events", "Events that a view is behind the log.", {view.name: view.lag for view in views})
    yield _view("halted", "1 if a view has halted at an event.", {view.name: view.halt is not None for view in views})
    yield _view("drifted", "1 if a view differs from the log.", {view.name: view.drift is not None for view in views})


def _view(name: str, text: str, values: Mapping[str, float]) -> Gauge:
    return Gauge(f"ballotpress_view_{name}", text, "view", values)


def _of_mails(ledger: Ledger | None) -> Iterable[Gauge]:
    counted: Counter[str] = Counter()
    for mails in [] if ledger is None else [ledger.singles, *(account.mails for account in ledger.issues)]:
        counted.update(mails)
    states = {} if ledger is None else {state: counted[state] for state in MAIL_STATES}
    text = "Mails of the open issues and the last one, and unsettled single ones, by state; rejected ones bounced."
    yield Gauge("ballotpress_mails", text, "state", states)
    overdue = {} if ledger is None else {"first": ledger.overdue_seconds}
    yield Gauge("ballotpress_mail_overdue_seconds", "How long the first due mail has waited.", "mail", overdue)


def _of_processes(processes: Sequence[Process]) -> Iterable[Gauge]:
    silent: dict[str, float] = {}
    for process in processes:
        silent[process.kind] = min(process.silent_seconds, silent.get(process.kind, process.silent_seconds))
    wrong = Counter(kind for kind, _ in said_wrong(processes))
    text = "Seconds since any process of a kind last said that it lives; they do every ten seconds."
    yield Gauge("ballotpress_process_silent_seconds", text, "kind", silent)
    text = "What is wrong with the processes of a kind: none lives, or one can't work."
    yield Gauge("ballotpress_process_troubles", text, "kind", {kind: wrong[kind] for kind in silent})


def _of_cohorts(cohorts: queue.Waiting | None) -> Iterable[Gauge]:
    known: tuple[Status, ...] = () if cohorts is None else get_args(Status)
    waiting = cohorts or queue.Waiting({}, {})
    counted: dict[str, float] = {status: waiting.cohorts.get(status, 0) for status in known}
    unsettling: dict[str, float] = {status: waiting.unsettling.get(status, 0) for status in known}
    yield Gauge("ballotpress_cohorts", "Cohorts of votes that look bought, by what was decided.", "status", counted)
    text = "Those of them whose removal would change a settled verdict."
    yield Gauge("ballotpress_cohorts_unsettling", text, "status", unsettling)


def _of_scan(scan: Scan | None) -> Gauge:
    values = {} if scan is None else {"silent_seconds": scan.silent_seconds or 0.0, "failed": float(scan.failed is not None)}
    return Gauge("ballotpress_scan", "Seconds since a scan for bought votes ended well; 1 if the last failed.", "of", values)


def _of_webhooks(webhooks: Sequence[WebhookStatus] | None) -> Iterable[Gauge]:
    counted: dict[str, float] = {}
    if webhooks is not None:
        on = [one for one in webhooks if one.is_on]
        failing = sum(one.failures > 0 for one in on)
        gone_off = sum(one.failures > 0 for one in webhooks if not one.is_on)
        counted = {"on": len(on), "failing": failing, "gone_off": gone_off}
    text = "Outgoing webhooks that are on, those of them that fail, and those that went off after failures."
    yield Gauge("ballotpress_webhooks", text, "of", counted)
    furthest = {} if webhooks is None else {"furthest": float(max((one.lag for one in webhooks if one.is_on), default=0))}
    yield Gauge("ballotpress_webhook_lag_events", "Positions that the furthest one is behind the log.", "of", furthest)


def _of_purges(progress: Progress | None) -> Gauge:
    values = {} if progress is None else {"failures": float(progress.failures), "position": float(progress.position or 0)}
    text = "Calls in a row that failed to tell caches what to forget; the position up to which they were told."
    return Gauge("ballotpress_purges", text, "of", values)


def _of_mail_check(standing: MailStanding | None) -> Gauge:
    values: dict[str, float] = {}
    if standing is not None:
        values = {"wrong": len(standing.wrong), "went_wrong": len(standing.went_wrong), "unknown": standing.unknown}
    text = "Lines of the last mail check that are wrong, that were right before, and that nobody could judge."
    return Gauge("ballotpress_mail_check", text, "of", values)


def _of_backups(backups: Backups | None) -> Gauge:
    values: dict[str, float] = {"wrong": 0}
    if backups is not None:
        values = {"age_seconds": backups.age_seconds or 0, "behind_bytes": backups.behind, "wrong": backups.wrong() is not None}
    text = "The age of the last backup, the WAL that its archive lacks, and whether either is wrong."
    return Gauge("ballotpress_backups", text, "of", values)


def _of_queue(queue: Queue) -> Iterable[Gauge]:
    values = {"jobs": queue.jobs, "workers": queue.workers, "overdue_seconds": queue.overdue_seconds} if queue.reachable else {}
    yield Gauge("ballotpress_queue", "Valkey's jobs, live workers, and how long the first due job has waited.", "of", values)


async def _of_here(site: Site) -> Iterable[Gauge]:
    in_force = await site.limits.check().ask() is None
    room = disk_room(site.settings.home)
    replicas = [] if site.readers is None else site.readers.standings()
    return [
        Gauge(
            "ballotpress_replicas",
            "Replicas that are named, that this process reads from, and that can't be read from.",
            "of",
            {
                "named": len(replicas),
                "used": sum(one.used for one in replicas),
                "wrong": sum(one.is_wrong for one in replicas),
            },
        ),
        Gauge("ballotpress_viewers", "Viewers of the live stream in this process.", "of", {"tallies": site.live.viewers}),
        Gauge("ballotpress_limits_shared", "1 while limits are counted by all processes together.", "in", {"valkey": in_force}),
        Gauge(
            "ballotpress_disk_bytes",
            "The disk of a database that `up` keeps, and what is free of it.",
            "of",
            {} if room is None else {"all": room.bytes, "free": room.free},
        ),
    ]
