"""The parts of a status, which `read` and `views` fill and `advice` judges. Nothing in them is personal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from services.mail_check.standing import MailStanding
from services.newsletter.holds import Hold
from services.proof.health import PublicLog
from services.purge.progress import Progress
from services.replicas.replica import Standing
from services.status.archives import LackingFile
from services.status.backups import Backups
from services.status.parts import Parts

DEAD_SECONDS: Final = 35.0
"""A process that was silent for longer counts as dead; a living one shows itself every ten seconds."""


class Head(msgspec.Struct, frozen=True):
    """The end of the log; `recorded_at` is None while the log is empty."""

    position: int
    recorded_at: datetime | None
    events_last_minute: int


class Rewind(msgspec.Struct, frozen=True):
    """A log that went back from one position to another, when that was noticed, and in words."""

    known: int
    kept: int
    since: datetime
    what: str


class Halt(msgspec.Struct, frozen=True):
    """The position at which a projection can't go on, the error, and since when."""

    position: int
    error: str
    since: datetime


class Drift(msgspec.Struct, frozen=True):
    """What a projector found wrong with a projection's tables, and since when."""

    what: str
    since: datetime


class ProjectionStatus(msgspec.Struct, frozen=True):
    """A projection: its checkpoint, how many events and seconds it is behind the log, and how many projectors run it."""

    name: str
    schema: str
    position: int
    lag: int
    lag_seconds: float
    caught_up: bool
    runners: int
    halt: Halt | None
    drift: Drift | None


class Rebuild(msgspec.Struct, frozen=True):
    """Tables of a projection beside the live ones: being rebuilt, left by a stopped replay, kept, or of another version."""

    view: str
    schema: str
    kind: Literal["running", "stopped", "kept", "older", "newer"]
    position: int
    target: int


class Schema(msgspec.Struct, frozen=True):
    """The database's last migration, this release's last one, and the schemas of missing projections."""

    migration: int
    current: int
    missing_views: Sequence[str]


class Transaction(msgspec.Struct, frozen=True):
    """A session that is slow, waits for a lock, or holds one; `waits_for` and `blocks` are pids of other sessions."""

    pid: int
    application: str
    state: str
    age_seconds: float
    waits_on: str | None
    waits_for: Sequence[int]
    blocks: Sequence[int]


class TableSize(msgspec.Struct, frozen=True):
    """The bytes that a table and its indexes take on disk."""

    table: str
    bytes: int
    index_bytes: int


class VaultKeys(msgspec.Struct, frozen=True):
    """How many keys aren't wrapped under the newest vault key, and for how long a destroyed one may have been on disk."""

    not_rewrapped: int = 0
    leftover_seconds: float = 0.0


class Process(msgspec.Struct, frozen=True):
    """A process, how long ago it last said that it lives, what keeps it from its work, and whether it left in order."""

    kind: str
    host: str
    pid: int
    release: str
    silent_seconds: float
    trouble: str | None
    has_left: bool = False

    @property
    def lives(self) -> bool:
        """Return whether the process has shown itself lately."""
        return self.silent_seconds <= DEAD_SECONDS


class Scan(msgspec.Struct, frozen=True):
    """The scan for bought votes: how far it judged the log, the seconds since one ended well, and what the last failed with.

    The first two are None before the first scan.
    """

    until: datetime | None
    silent_seconds: float | None
    failed: str | None


class Room(msgspec.Struct, frozen=True):
    """The bytes of a disk that `up` keeps its data on, and how many of them are free."""

    bytes: int
    free: int


class Account(msgspec.Struct, frozen=True):
    """An issue of the digest, with the number of its mails by state; at every commit they add up to `planned`.

    `unplanned_seconds` is how long it has been compiled without having been planned.
    """

    issue: int
    edition: str
    state: str
    due_at: datetime
    planned: int
    unplanned_seconds: float
    mails: Mapping[str, int]


class Ledger(msgspec.Struct, frozen=True):
    """The mails: the open issues and the last one, and unsettled single mails by state.

    `held` says why they wait without an operator's word. `overdue_seconds` is how long the first due mail has waited;
    `late` is a sentence about an issue that needs an operator, `slow` one on issues that don't reach all readers in time.
    Digests to `held_providers` wait because they refused us; `refused_readers` counts the last day's readers of such servers.
    """

    paused_at: datetime | None
    held: str | None
    issues: Sequence[Account]
    singles: Mapping[str, int]
    overdue_seconds: float
    late: str | None
    held_providers: Sequence[Hold] = ()
    refused_readers: int = 0
    slow: str | None = None


class Queue(msgspec.Struct, frozen=True):
    """Valkey's jobs, how long the first due one has waited, the live workers, and the time since the worker's last tick.

    `evicts` is the policy by which Valkey drops keys once its memory is full; null if it drops none.
    """

    reachable: bool
    jobs: int = 0
    overdue_seconds: float = 0.0
    workers: int = 0
    tick_seconds: float | None = None
    evicts: str | None = None


class WebhookStatus(msgspec.Struct, frozen=True):
    """An outgoing webhook, by its id and the host that it goes to: whether it is on, how far behind, how it fares."""

    id: str
    host: str
    is_on: bool
    off_reason: str | None
    lag: int
    failures: int
    failed: str | None


class Starts(msgspec.Struct, frozen=True):
    """How often processes of a kind were started in a day, and which releases of them."""

    kind: str
    starts: int
    releases: Sequence[str]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What changed since a time a day ago, counted from the log's events but for what is said here.

    `votes` counts those that were taken back, too; `cohorts` those that a scan found; digests are those of issues under way
    since then. `grown_bytes` and `waiting_mails_before` are None on a site that no worker measured a day ago.
    """

    since: datetime
    events: int
    votes: int
    tools_added: int
    tools_unlisted: int
    reviews: int
    sign_ups: int
    confirmed: int
    unsubscribed: int
    suppressed: int
    erased: int
    corrections: int
    cohorts: int
    digests_accepted: int
    digests_refused: int
    waiting_mails: int
    waiting_mails_before: int | None
    grown_bytes: int | None
    starts: Sequence[Starts]


class Problem(msgspec.Struct, frozen=True):
    """A problem, and what an operator can do about it."""

    what: str
    advice: str


class Status(msgspec.Struct, frozen=True):
    """The state of the whole site at a moment.

    `head` and `ledger` are None in a database without them, `queue` where Valkey was not asked, `room` where the data is
    elsewhere. `missing_keys` are the short ids of vault keys that we lack; without keys, `vault` counts none as not rewrapped.
    `unread` names the parts that a lock kept from us; `no_writes` says why no vote can be taken. `rewind` says that the log
    went back, until an operator has answered that. `unsafe` names settings that let the server lose what it acknowledged.
    `servers` says what each host of DATABASE_URL is where it names several, `left_behind` names those that go on taking writes
    though another took over, `strange` those that take writes and are no copy of ours, `missing` those that don't answer.
    `scan`, `purges`, `day` and `mail_check` are None in a database of an earlier release, `public_log` where the log was never
    signed, `backups` where there are none that we made. `parts` are the log's.
    """

    at: datetime
    head: Head | None
    views: Sequence[ProjectionStatus]
    rebuilds: Sequence[Rebuild]
    schema: Schema
    transactions: Sequence[Transaction]
    disk: Sequence[TableSize]
    ledger: Ledger | None
    queue: Queue | None
    problems: Sequence[Problem]
    room: Room | None = None
    missing_keys: Sequence[str] = ()
    unread: Sequence[str] = ()
    no_writes: str | None = None
    rewind: Rewind | None = None
    unsafe: Sequence[str] = ()
    processes: Sequence[Process] = ()
    vault: VaultKeys | None = None
    scan: Scan | None = None
    public_log: PublicLog | None = None
    webhooks: Sequence[WebhookStatus] = ()
    purges: Progress | None = None
    day: Day | None = None
    mail_check: MailStanding | None = None
    backups: Backups | None = None
    servers: Sequence[str] = ()
    left_behind: Sequence[str] = ()
    strange: Sequence[str] = ()
    missing: Sequence[str] = ()
    archives: Sequence[LackingFile] = ()
    parts: Parts = Parts()
    replicas: Sequence[Standing] = ()
