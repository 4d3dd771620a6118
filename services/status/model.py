"""How everything stands, in parts: what `services.status.read` reads and `services.status.advice` judges. Nothing personal."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec


class Head(msgspec.Struct, frozen=True):
    """The end of the log; `recorded_at` is None while the log is empty."""

    position: int
    recorded_at: datetime | None
    events_last_minute: int


class Halt(msgspec.Struct, frozen=True):
    """Where a view cannot go on, why, and since when."""

    position: int
    error: str
    since: datetime


class Drift(msgspec.Struct, frozen=True):
    """What a projector found wrong with a view, and since when."""

    what: str
    since: datetime


class View(msgspec.Struct, frozen=True):
    """A view: its checkpoint, how many events and seconds it is behind, and how many projectors look after it."""

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
    """Tables beside the live ones: being rebuilt, left by a replay that was stopped, kept from before, or an older one's."""

    view: str
    schema: str
    kind: Literal["running", "stopped", "kept", "older"]
    position: int
    target: int


class Schema(msgspec.Struct, frozen=True):
    """The database's last migration, this release's, and the views' schemas that are missing."""

    migration: int
    current: int
    missing_views: Sequence[str]


class Transaction(msgspec.Struct, frozen=True):
    """A session that is slow, waits for a lock or holds one that others wait for; `waits_for` and `blocks` are their pids."""

    pid: int
    application: str
    state: str
    age_seconds: float
    waits_on: str | None
    waits_for: Sequence[int]
    blocks: Sequence[int]


class TableSize(msgspec.Struct, frozen=True):
    """What a table takes on disk, with what its indexes take besides."""

    table: str
    bytes: int
    index_bytes: int


class Account(msgspec.Struct, frozen=True):
    """An issue of the digest and its mails by state; at every commit they add up to `planned`."""

    issue: int
    edition: str
    state: str
    due_at: datetime
    planned: int
    mails: Mapping[str, int]


class Ledger(msgspec.Struct, frozen=True):
    """The mails: open issues and the last one, unsettled single mails by state, how long the first due one has waited, and in a
    sentence which issue is so late that it waits for an operator.
    """

    paused_at: datetime | None
    issues: Sequence[Account]
    singles: Mapping[str, int]
    overdue_seconds: float
    late: str | None


class Queue(msgspec.Struct, frozen=True):
    """Valkey and what waits there: jobs, for how many seconds the first due one has, the workers that are alive, and how long
    ago the clock last ticked.
    """

    reachable: bool
    jobs: int = 0
    overdue_seconds: float = 0.0
    workers: int = 0
    tick_seconds: float | None = None


class Problem(msgspec.Struct, frozen=True):
    """What is not as it should be, and what an operator can do about it."""

    what: str
    advice: str


class Status(msgspec.Struct, frozen=True):
    """How everything stands at a moment; `head` and `ledger` are None in a database without them, `queue` where nobody asked
    Valkey.
    """

    at: datetime
    head: Head | None
    views: Sequence[View]
    rebuilds: Sequence[Rebuild]
    schema: Schema
    transactions: Sequence[Transaction]
    disk: Sequence[TableSize]
    ledger: Ledger | None
    queue: Queue | None
    problems: Sequence[Problem]
