"""The sentences of `status`: each problem, and what an operator can do about it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from events.quarantine import WHOLE
from projections.engine.window import LogWentBack
from services.mail_check import standing as arrival
from services.newsletter.holds import MANY_REFUSED, RESUME_HELD, said_held
from services.newsletter.periods import RELEASE, SERVE_LATE
from services.newsletter.waiting import FASTER
from services.proof import health
from services.purge.progress import said_failing
from services.status.archives import wrong as wrong_archives
from services.status.model import (
    Ledger,
    Problem,
    ProjectionStatus,
    Queue,
    Rebuild,
    Room,
    Schema,
    Status,
    Transaction,
    WebhookStatus,
)
from services.status.parts import wrong as wrong_parts
from services.status.processes import said_unscanned, said_wrong

BEHIND_SECONDS: Final = 10.0
OVERDUE_SECONDS: Final = 90.0
TICK_SECONDS: Final = 150.0
"""The worker ticks every minute."""
MAIL_SECONDS: Final = 300.0
AHEAD_SECONDS: Final = 1.0
LEFTOVER_SECONDS: Final = 48 * 3600.0
"""The worker removes what destroyed keys leave on disk once a day."""
MANY_FAILURES: Final = 3
"""Failures of a webhook in a row of which an operator is told."""
TWO_SERVERS: Final = "stop it and make a standby of it: see *A failover* in docs/operating.md"
STRANGE_SERVER: Final = "if it is the right one after all, start every process anew: see *A failover* in docs/operating.md"
MISSING_SERVER: Final = (
    "nobody can take over there: start it, or make a standby of it anew; if it is gone for good, take it out of DATABASE_URL"
    " (docs/operating.md, A failover)"
)
REPLICA_ADVICE: Final = (
    "no reader misses anything, for the primary is read from: mend it, or take it out of READ_DATABASE_URL"
    " (docs/operating.md, Reads by replicas)"
)
LITTLE_ROOM: Final = 5 * 2**30
"""Bytes; of a small disk, a tenth."""


def problems(status: Status) -> Iterator[Problem]:
    """Return the problems, the worst first."""
    yield from _server_problems(status)
    yield from _schema_problems(status.schema)
    if said := said_room(status.room):
        yield said
    for part in status.unread:
        what = f"The status of the {part} could not be read: a lock keeps its tables from everybody"
        yield Problem(what, "end the process that blocks others, or wait for it; while none is named, ask again")
    yield from _said(health.said(status.public_log))
    yield from _log_problems(status)
    if alone := [view.name for view in status.views if view.runners == 0]:
        yield Problem(f"No projector keeps {', '.join(alone)} up with the log", "start `ballotpress projector`")
    yield from _halt_problems(status.views)
    yield from _work_problems(status)
    for view in status.views:
        yield from _view_problems(view)
    for rebuild in status.rebuilds:
        yield from _rebuild_problems(rebuild)
    for transaction in status.transactions:
        if transaction.blocks or not transaction.waits_for:
            yield _transaction_problem(transaction)
    for webhook in status.webhooks:
        yield from _webhook_problems(webhook)
    if status.queue is not None:
        yield from _queue_problems(status.queue)
        yield from _eviction_problem(status.queue)
    if status.ledger is not None:
        yield from _ledger_problems(status.ledger)


def _said(wrong: tuple[str, str] | None) -> Iterator[Problem]:
    """Return what is wrong, and what to do about it, as a problem; nothing if nothing is wrong."""
    if wrong is not None:
        yield Problem(wrong[0][:1].upper() + wrong[0][1:], wrong[1])


def _server_problems(status: Status) -> Iterator[Problem]:
    """Return what is wrong with the database's servers: with what they hold, and which there are."""
    if status.rewind is not None:
        what = f"{status.rewind.what[:1].upper()}{status.rewind.what[1:]}, and the newsletter is held"
        yield Problem(what, "read what to check in docs/operating.md, then let it go on: `ballotpress digest resume`")
    for said_of_it in status.left_behind:
        yield Problem(f"Of two servers that take writes one was taken over from: {said_of_it}", TWO_SERVERS)
    for said_of_it in status.strange:
        yield Problem(f"A server of DATABASE_URL isn't ours: {said_of_it}", STRANGE_SERVER)
    for said_of_it in status.missing:
        yield Problem(f"A host of DATABASE_URL is missing: {said_of_it}", MISSING_SERVER)


def _work_problems(status: Status) -> Iterator[Problem]:
    """Return what is wrong with what processes do by themselves, beside the views."""
    for kind, what in said_wrong(status.processes):
        yield from _said((what, f"see the {kind}'s log, and start it: `ballotpress {kind}`"))
    if (unscanned := said_unscanned(status.scan)) is not None:
        yield from _said((unscanned, "see the worker's log, or run `ballotpress integrity scan`, which says what is wrong"))
    if (failing := said_failing(status.purges)) is not None:
        advice = "check BALLOTPRESS_PURGE_URL and BALLOTPRESS_PURGE_HEADER; `ballotpress purge` tries at once"
        yield from _said((failing, advice))
    yield from _said(arrival.said_failing(status.mail_check))
    for replica in status.replicas:
        if replica.is_wrong:
            yield Problem(f"The replica {replica.name} isn't read from: {replica.why}", REPLICA_ADVICE)
    if status.backups is not None:
        yield from _said(status.backups.wrong())


def _schema_problems(schema: Schema) -> Iterator[Problem]:
    if schema.migration > schema.current:
        what = f"The database is at migration {schema.migration}; this release ends at {schema.current}"
        yield Problem(what, "run the release that migrated it, or a later one")
    elif schema.migration < schema.current:
        what = f"The database is at migration {schema.migration} of {schema.current}"
        yield Problem(what, "run `ballotpress migrate`")
    elif schema.missing_views:
        yield Problem(f"Views are missing: {', '.join(schema.missing_views)}", "run `ballotpress migrate`")


def said_room(room: Room | None) -> Problem | None:
    """Return the problem of a disk that is full or nearly so."""
    if room is None or room.free >= min(LITTLE_ROOM, room.bytes // 10):
        return None
    what = f"The disk of the database has {room.free // 2**20} MB left of {room.bytes // 2**20}"
    return Problem(what, "free some space: on a full disk no vote can be taken")


def _log_problems(status: Status) -> Iterator[Problem]:
    for found in (*wrong_parts(status.parts), *wrong_archives(status.archives)):
        yield Problem(*found)
    if status.no_writes is not None:
        what, _, advice = status.no_writes.partition(": ")
        yield Problem(what[:1].upper() + what[1:], advice)
    last = status.head.recorded_at if status.head else None
    if last is not None and (ahead := (last - status.at).total_seconds()) > AHEAD_SECONDS:
        what = f"The log's last event is dated {ahead:.0f} s ahead of the database's clock"
        advice = "see to the clock of the database's host; until it is as late, tallies as of now leave the newest votes out"
        yield Problem(what, advice)
    if keys := status.missing_keys:
        what = f"Keys in the vault are wrapped under {', '.join(keys)}, which BALLOTPRESS_VAULT_KEYS lacks"
        yield Problem(what, "add the key back, in every process: until then reviews and mails can't be opened")
    elif status.vault is not None and status.vault.not_rewrapped:
        what = f"Keys in the vault are still wrapped under an older vault key: {status.vault.not_rewrapped}"
        yield Problem(what, "`ballotpress keys rewrap` goes on with them; only then take the older vault key out")
    if status.vault is not None and status.vault.leftover_seconds > LEFTOVER_SECONDS:
        what = f"A key that was destroyed {status.vault.leftover_seconds / 3600:.0f} hours ago may still be on the disk"
        yield Problem(what, "`ballotpress keys sweep` at a quiet hour; a worker must run, and no transaction stay open")


def _halt_problems(views: Sequence[ProjectionStatus]) -> Iterator[Problem]:
    """Return one problem for all views that halted at the same event in the same way."""
    halted = [(view.halt.position, view.halt.error, view.name) for view in views if view.halt is not None]
    for (position, error), same in groupby(sorted(halted, key=lambda h: h[:2]), key=lambda h: h[:2]):
        first, *others = [name for _, _, name in same]
        too = f" (and so did {', '.join(others)})" if others else ""
        if error.startswith(LogWentBack.__name__):
            what = f"{first} halted at position {position}, which was another event when the view took it{too}"
            yield Problem(what, f"`ballotpress replay {' '.join([first, *others])}` makes it anew from the log as it is")
            continue
        drop = f"`ballotpress quarantine drop {position} --reason TEXT`"
        what = f"{first} halted at position {position}: {error}{too}"
        let = f", or let the view pass it: {drop}" if {first, *others} - WHOLE else ""
        yield Problem(what, f"run a release that can take this event{let}")


def _view_problems(view: ProjectionStatus) -> Iterator[Problem]:
    if view.drift is not None:
        what = f"{view.name} has drifted from the log: {view.drift.what}"
        mend = f"`ballotpress replay {view.name}` mends them"
        if view.name in WHOLE:
            mend = "events or tiles were changed by hand: restore them, for a tree made anew would belie what was signed"
        yield Problem(what, f"`ballotpress verify {view.name}` names the rows, {mend}")
    if view.halt is None and view.runners and view.lag_seconds > BEHIND_SECONDS:
        what = f"{view.name} is {view.lag} events ({view.lag_seconds:.0f} s) behind the log"
        yield Problem(what, "wait if it is catching up; if not, see the projector's log")


def _rebuild_problems(rebuild: Rebuild) -> Iterator[Problem]:
    if rebuild.kind == "stopped":
        what = f"A replay of {rebuild.view} was stopped at position {rebuild.position} of {rebuild.target}"
        yield Problem(what, f"`ballotpress replay {rebuild.view}` goes on with it; with --dry-run, it is dropped")
    elif rebuild.kind == "older":
        what = f"{rebuild.schema} belongs to an earlier version of {rebuild.view}"
        yield Problem(what, f"when no process of the old release runs any more, in psql: drop schema {rebuild.schema} cascade")


def _transaction_problem(transaction: Transaction) -> Problem:
    what = f"Process {transaction.pid} ({transaction.application or 'unnamed'}), {transaction.state}"
    what += f", has a transaction open for {transaction.age_seconds:.0f} s"
    if transaction.blocks:
        what += f" and blocks {', '.join(map(str, transaction.blocks))}"
    return Problem(what, f"wait for it, or end it in psql: select pg_terminate_backend({transaction.pid})")


def _queue_problems(queue: Queue) -> Iterator[Problem]:
    if not queue.reachable:
        yield Problem("Valkey does not answer: limits are counted by each process, jobs wait", "start it, or correct REDIS_URL")
    elif queue.workers == 0:
        yield Problem("No worker is alive", "start `ballotpress worker`")
    elif queue.overdue_seconds > OVERDUE_SECONDS:
        what = f"The first job has been due for {queue.overdue_seconds:.0f} s"
        yield Problem(what, "see the worker's log, or start another `ballotpress worker`")
    elif queue.workers and queue.tick_seconds is not None and queue.tick_seconds > TICK_SECONDS:
        yield Problem(f"The worker's clock last ticked {queue.tick_seconds:.0f} s ago", "see the worker's log, or restart it")


def _webhook_problems(webhook: WebhookStatus) -> Iterator[Problem]:
    """Return the problem of a webhook that fails; one that an operator turned off has none."""
    if not webhook.is_on and webhook.failures:
        what = f"The webhook to {webhook.host} is off: {webhook.off_reason}"
        yield Problem(what, f"mend its receiver, then `ballotpress webhooks on {webhook.id}`: nothing is lost meanwhile")
    elif webhook.failures >= MANY_FAILURES:
        what = f"The webhook to {webhook.host} has failed {webhook.failures} times in a row: {webhook.failed}"
        yield Problem(what, f"mend its receiver; `ballotpress webhooks test {webhook.id}` tries it")


def _eviction_problem(queue: Queue) -> Iterator[Problem]:
    if queue.evicts is not None:
        what = f"Valkey drops keys when its memory is full ({queue.evicts}): who used up a limit is forgotten"
        yield Problem(what, "set its maxmemory-policy to noeviction")


def _ledger_problems(ledger: Ledger) -> Iterator[Problem]:
    if ledger.held is not None:
        what = f"The newsletter is held: {ledger.held}"
        yield Problem(what, RELEASE)
    elif ledger.held_providers:
        yield Problem(said_held(hold.provider for hold in ledger.held_providers), RESUME_HELD)
    elif ledger.refused_readers >= MANY_REFUSED:
        what = f"The servers of {ledger.refused_readers} readers refused mail of ours in the last day, for no fault of theirs"
        yield Problem(what, "look at `ballotpress digest status ISSUE --missed`, and mend what the servers name")
    elif ledger.paused_at is not None:
        yield Problem("The newsletter is paused", "`ballotpress digest resume` lets it go on")
    elif ledger.overdue_seconds > MAIL_SECONDS:
        what = f"The first mail has been due for {ledger.overdue_seconds:.0f} s"
        yield Problem(what, "see the worker's log: it holds the relay's answers")
    if ledger.late is not None:
        yield Problem(ledger.late, SERVE_LATE)
    if ledger.slow is not None:
        yield Problem(ledger.slow, FASTER)
    for account in ledger.issues:
        if account.unplanned_seconds > MAIL_SECONDS and ledger.paused_at is None:
            what = f"Issue {account.issue} was compiled {account.unplanned_seconds:.0f} s ago, and isn't planned"
            yield Problem(what, "see the worker's log: it holds the server's answer")
        if uncertain := account.mails.get("uncertain"):
            what = f"Of issue {account.issue}, {uncertain} mails may or may not have been sent"
            yield Problem(what, f"`ballotpress digest resolve {account.issue} --uncertain resend` or `drop`")
        if account.state != "compiled" and (seen := sum(account.mails.values())) != account.planned:
            what = f"The accounts of issue {account.issue} don't add up: {account.planned} planned, {seen} found"
            yield Problem(what, f"run `ballotpress digest pause`, then look at issue {account.issue} in newsletter.mails")
