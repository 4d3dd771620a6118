"""How everything stands: what `ballotpress status` and `GET /v1/ops/status` both show.

Only reads, in one snapshot, and takes no lock; a database that was never migrated, or a missing view, is an answer too.
Says nothing personal: no query's text, no addresses.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from arq.constants import default_queue_name
from asyncpg import Connection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events import migrations
from projections import PROJECTIONS

SLOW_SECONDS = 5.0
"""A transaction open for longer is worth showing: ours take milliseconds."""
HELD_UP_SECONDS = 1.0
"""So is one that waits or is waited for this long; the head's lock is waited for all the time, for milliseconds."""
BEHIND_SECONDS = 10.0
OVERDUE_SECONDS = 90.0
VALKEY_PATIENCE = 1.0
WORKER_KEYS = "ballotpress:worker:*"

READ_HEAD = """
select h.position, nullif(h.recorded_at, '-infinity') as recorded_at,
       h.position - log.position_at(now() - interval '1 minute') as events_last_minute
from log.head h
"""

MISSING = """
select s.schema from unnest($1::text[]) as s(schema)
where to_regclass(quote_ident(s.schema) || '.checkpoint') is null
"""

# How long the oldest event that the view has not seen has been waiting.
READ_VIEW = """
select c.position, h.position - c.position as lag,
       coalesce(extract(epoch from greatest(clock_timestamp() - e.recorded_at, '0')), 0)::float8 as lag_seconds,
       c.caught_up, c.halted_position, c.halted_error, c.halted_since,
       (select count(*) from pg_stat_activity a
        where a.datname = current_database() and a.application_name = 'ballotpress-' || current_schema()) as runners
from checkpoint c cross join log.head h
left join log.recorded_events e on e.position = c.position + 1
"""

# Who waits for a lock, who holds it, and who has been in a transaction for too long.
READ_TRANSACTIONS = """
with activity as (
    select a.pid, a.application_name, a.state, a.backend_type, a.wait_event_type, a.wait_event,
           coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8 as age_seconds,
           pg_blocking_pids(a.pid) as waits_for
    from pg_stat_activity a
    where a.datname = current_database() and a.pid <> pg_backend_pid()
)
select a.pid, a.application_name as application, coalesce(a.state, 'unknown') as state, a.age_seconds,
       a.wait_event_type || '/' || a.wait_event as waits_on, a.waits_for,
       array(select b.pid from activity b where a.pid = any(b.waits_for) order by b.pid) as blocks
from activity a
where (a.backend_type = 'client backend' and a.age_seconds > $1)
   or (a.age_seconds > $2 and cardinality(a.waits_for) > 0)
   or (a.age_seconds > $2 and exists (select from activity b where a.pid = any(b.waits_for)))
order by a.age_seconds desc
limit 50
"""

# A view is a schema with a checkpoint, also one that is being rebuilt beside the live one, or kept from before.
READ_DISK = """
select n.nspname || '.' || t.relname as table, pg_table_size(t.oid) as bytes, pg_indexes_size(t.oid) as index_bytes
from pg_namespace n
join pg_class t on t.relnamespace = n.oid and t.relkind in ('r', 'p')
where n.nspname in ('log', 'vault')
   or exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'checkpoint' and c.relkind = 'r')
order by pg_total_relation_size(t.oid) desc, 1
"""


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


class Queue(msgspec.Struct, frozen=True):
    """Valkey and what waits there: jobs, for how many seconds the first due one has, and the workers that are alive."""

    reachable: bool
    jobs: int = 0
    overdue_seconds: float = 0.0
    workers: int = 0


class Problem(msgspec.Struct, frozen=True):
    """What is not as it should be, and what an operator can do about it."""

    what: str
    advice: str


class Status(msgspec.Struct, frozen=True):
    """How everything stands at a moment; `head` is None in a database without a log, `queue` where nobody asked Valkey."""

    at: datetime
    head: Head | None
    views: Sequence[View]
    schema: Schema
    transactions: Sequence[Transaction]
    disk: Sequence[TableSize]
    queue: Queue | None
    problems: Sequence[Problem]


async def read_status(connection: "Connection[Any]", valkey: "Redis | None" = None) -> Status:
    """Read how everything stands. The connection must not be in a transaction; a silent Valkey costs a second."""
    queue = None if valkey is None else await read_queue(valkey)
    async with _snapshot(connection):
        at: datetime = await connection.fetchval("select now()")
        migration = await migrations.migrated(connection)
        missing = await _missing(connection)
        head = await _head(connection) if migration else None
        transactions = [Transaction(**row) for row in await connection.fetch(READ_TRANSACTIONS, SLOW_SECONDS, HELD_UP_SECONDS)]
        disk = [TableSize(**row) for row in await connection.fetch(READ_DISK)]
        views = await _views(connection, missing) if head else []
    status = Status(at, head, views, Schema(migration, migrations.current(), missing), transactions, disk, queue, ())
    return msgspec.structs.replace(status, problems=list(_problems(status)))


async def read_views(connection: "Connection[Any]") -> Sequence[View]:
    """Read how every view that is there stands. The connection must not be in a transaction."""
    async with _snapshot(connection):
        return await _views(connection, await _missing(connection))


def _snapshot(connection: "Connection[Any]") -> Any:
    return connection.transaction(isolation="repeatable_read", readonly=True)


async def _missing(connection: "Connection[Any]") -> Sequence[str]:
    rows = await connection.fetch(MISSING, [projection.schema for projection in PROJECTIONS])
    return [row["schema"] for row in rows]


async def _views(connection: "Connection[Any]", missing: Sequence[str]) -> Sequence[View]:
    return [await _view(connection, p.name, p.schema) for p in PROJECTIONS if p.schema not in missing]


async def _head(connection: "Connection[Any]") -> Head:
    row = await connection.fetchrow(READ_HEAD)
    assert row is not None  # noqa: S101 - the head has one row
    return Head(**row)


async def _view(connection: "Connection[Any]", name: str, schema: str) -> View:
    await connection.execute("select set_config('search_path', $1, true)", schema)
    row = await connection.fetchrow(READ_VIEW)
    assert row is not None  # noqa: S101 - a checkpoint has one row, and so has the head
    halt = None
    if row["halted_position"] is not None:
        halt = Halt(row["halted_position"], row["halted_error"], row["halted_since"])
    return View(name, schema, row["position"], row["lag"], row["lag_seconds"], row["caught_up"], row["runners"], halt)


async def read_queue(valkey: "Redis") -> Queue:
    """Ask Valkey for its jobs and workers; one that doesn't answer within a second is not reachable."""
    try:
        async with asyncio.timeout(VALKEY_PATIENCE):
            jobs: int = await valkey.zcard(default_queue_name)
            first = await valkey.zrange(default_queue_name, 0, 0, withscores=True)
            seconds, microseconds = await valkey.time()
            workers = [key async for key in valkey.scan_iter(match=WORKER_KEYS, count=10_000)]
    except (RedisError, OSError, TimeoutError):
        return Queue(reachable=False)
    now = seconds + microseconds / 1e6
    due = first[0][1] / 1000 if first else now
    return Queue(True, jobs, max(0.0, now - due), len(set(workers)))


def _problems(status: Status) -> Iterator[Problem]:
    yield from _schema_problems(status.schema)
    if alone := [view.name for view in status.views if view.runners == 0]:
        yield Problem(f"No projector looks after {', '.join(alone)}", "start `ballotpress projector`")
    for view in status.views:
        yield from _view_problems(view)
    for transaction in status.transactions:
        if transaction.blocks or not transaction.waits_for:
            yield _transaction_problem(transaction)
    if status.queue is not None:
        yield from _queue_problems(status.queue)


def _schema_problems(schema: Schema) -> Iterator[Problem]:
    if schema.migration > schema.current:
        what = f"The database is at migration {schema.migration}, this release knows {schema.current}"
        yield Problem(what, "run the release that migrated it, or a later one")
    elif schema.migration < schema.current:
        what = f"The database is at migration {schema.migration} of {schema.current}"
        yield Problem(what, "run `ballotpress migrate`")
    elif schema.missing_views:
        yield Problem(f"Views are missing: {', '.join(schema.missing_views)}", "run `ballotpress migrate`")


def _view_problems(view: View) -> Iterator[Problem]:
    if view.halt is not None:
        what = f"{view.name} halted at position {view.halt.position}: {view.halt.error}"
        drop = f"`ballotpress quarantine drop {view.halt.position} --reason TEXT`"
        yield Problem(what, f"run a release that can take this event, or let the view pass it: {drop}")
    elif view.runners and view.lag_seconds > BEHIND_SECONDS:
        what = f"{view.name} is {view.lag} events ({view.lag_seconds:.0f} s) behind the log"
        yield Problem(what, "wait if it is catching up; else see the projector's own log")


def _transaction_problem(transaction: Transaction) -> Problem:
    what = f"Process {transaction.pid} ({transaction.application or 'unnamed'}), {transaction.state}"
    what += f", has a transaction open for {transaction.age_seconds:.0f} s"
    if transaction.blocks:
        what += f" and blocks {', '.join(map(str, transaction.blocks))}"
    return Problem(what, f"wait for it, or end it in psql: select pg_terminate_backend({transaction.pid})")


def _queue_problems(queue: Queue) -> Iterator[Problem]:
    if not queue.reachable:
        yield Problem("Valkey does not answer: votes go on without limits, jobs wait", "start it, or correct REDIS_URL")
    elif queue.workers == 0:
        yield Problem("No worker is alive", "start `ballotpress worker`")
    elif queue.overdue_seconds > OVERDUE_SECONDS:
        what = f"The first job has been due for {queue.overdue_seconds:.0f} s"
        yield Problem(what, "see the worker's own log, or start another `ballotpress worker`")
