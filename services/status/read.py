"""Read the status that `ballotpress status` and `GET /v1/ops/status` both show.

It is read in one snapshot and without locks. A database that was never migrated, or lacks a projection, has a status too.
Nothing in it is personal: no query's text, no addresses.
"""

import asyncio
import re
from datetime import datetime
from typing import Any, Final

import msgspec
from arq.constants import default_queue_name
from asyncpg import Connection
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events.log import migrate
from projections.engine.projection import IS_TAKEN, LOCK_CLASS, Projection
from projections.registry import PROJECTIONS
from services.newsletter.issues import look, said_late
from services.newsletter.schedule import Schedule
from services.status import advice, model
from services.status.views import missing_views, read_present_views

SLOW_SECONDS = 5.0
"""A transaction open for longer is shown; normal ones take milliseconds."""
HELD_UP_SECONDS = 1.0
"""So is one that waits, or makes others wait, for longer; to wait milliseconds for the head's lock is normal."""
VALKEY_PATIENCE = 1.0
"""Seconds."""
WORKER_KEYS = "ballotpress:worker:*"
LAST_TICK: Final = "ballotpress:tick"
"""The key of the worker's last tick, in seconds since 1970 by Valkey's clock."""

READ_HEAD = """
select h.position, nullif(h.recorded_at, '-infinity') as recorded_at,
       h.position - log.position_at(now() - interval '1 minute') as events_last_minute
from log.head h
"""

# The sessions that wait for a lock, hold one that others wait for, or have a transaction open for too long.
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

# A projection's schema has a checkpoint, also while it is rebuilt beside the live one, or kept from before.
READ_DISK = """
select n.nspname || '.' || t.relname as table, pg_table_size(t.oid) as bytes, pg_indexes_size(t.oid) as index_bytes
from pg_namespace n
join pg_class t on t.relnamespace = n.oid and t.relkind in ('r', 'p')
where n.nspname in ('log', 'vault', 'newsletter', 'import')
   or t.relname <> 'checkpoint'
      and exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'checkpoint' and c.relkind = 'r')
order by pg_total_relation_size(t.oid) desc, 1
"""

# Every schema with a checkpoint, of this release or not.
BESIDE = """
select n.nspname::text as schema
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = 'checkpoint' and c.relkind = 'r' order by 1
"""

# Single mails (issue 0) settle by the thousand; only unsettled ones are counted.
READ_LEDGER = """
select s.paused_at,
       (select coalesce(jsonb_object_agg(m.state, m.mails), '{}')
        from (select m.state, count(*) as mails from newsletter.mails m
              where m.issue = 0 and m.state in ('pending', 'attempting', 'deferred', 'uncertain')
              group by m.state) m) as singles,
       coalesce(extract(epoch from (select now() - min(m.not_before) from newsletter.mails m
                                    where m.state in ('pending', 'deferred') and m.not_before <= now())), 0)::float8
           as overdue_seconds
from newsletter.schedule s
"""

READ_ACCOUNTS = """
select i.number as issue, i.edition, i.state, i.due_at, i.planned,
       (select coalesce(jsonb_object_agg(m.state, m.mails), '{}')
        from (select m.state, count(*) as mails from newsletter.mails m where m.issue = i.number group by m.state) m) as mails
from newsletter.issues i
where i.state in ('compiled', 'planned') or i.number = (select max(n.number) from newsletter.issues n)
order by i.number
"""

_counts = msgspec.json.Decoder(dict[str, int])


async def read_status(connection: "Connection[Any]", schedule: Schedule, valkey: "Redis | None" = None) -> model.Status:
    """Return the status. The connection must not be in a transaction. A silent Valkey costs a second."""
    queue = None if valkey is None else await read_queue(valkey)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        at: datetime = await connection.fetchval("select now()")
        migration = await migrate.migrated(connection)
        missing = await missing_views(connection)
        head = await _head(connection) if migration else None
        slow = await connection.fetch(READ_TRANSACTIONS, SLOW_SECONDS, HELD_UP_SECONDS)
        disk = [model.TableSize(**row) for row in await connection.fetch(READ_DISK)]
        views = await read_present_views(connection) if head else []
        rebuilds = await _rebuilds(connection, head.position) if head else []
        ledger = await _ledger(connection, schedule, at)
    transactions = [model.Transaction(**row) for row in slow]
    schema = model.Schema(migration, migrate.current(), missing)
    status = model.Status(at, head, views, rebuilds, schema, transactions, disk, ledger, queue, ())
    return msgspec.structs.replace(status, problems=list(advice.problems(status)))


async def _head(connection: "Connection[Any]") -> model.Head:
    row = await connection.fetchrow(READ_HEAD)
    assert row is not None  # noqa: S101 - the head has one row
    return model.Head(**row)


async def _rebuilds(connection: "Connection[Any]", head: int) -> list[model.Rebuild]:
    """Return the projections' tables beside the live ones."""
    names = [row["schema"] for row in await connection.fetch(BESIDE)]
    found = [await _rebuild(connection, p, name, head) for p in PROJECTIONS for name in names if _is_beside(p, name)]
    return [one for one in found if one is not None]


def _is_beside(projection: Projection, schema: str) -> bool:
    return schema != projection.schema and re.fullmatch(rf"{projection.name}_\d+(_next|_prev)?", schema) is not None


async def _rebuild(connection: "Connection[Any]", projection: Projection, schema: str, head: int) -> model.Rebuild | None:
    await connection.execute("select set_config('search_path', $1, true)", schema)
    position: int | None = await connection.fetchval("select position from checkpoint")
    if position is None:
        return None
    if schema == projection.next_schema:
        held = await connection.fetchval(IS_TAKEN, LOCK_CLASS, projection.schema)
        return model.Rebuild(projection.name, schema, "running" if held else "stopped", position, head)
    kept = schema == projection.previous_schema
    return model.Rebuild(projection.name, schema, "kept" if kept else "older", position, head)


async def _ledger(connection: "Connection[Any]", schedule: Schedule, at: datetime) -> model.Ledger | None:
    if await connection.fetchval("select to_regclass('newsletter.mails')") is None:
        return None
    row = await connection.fetchrow(READ_LEDGER)
    assert row is not None  # noqa: S101 - the schedule has one row
    issues = [model.Account(**{**r, "mails": _counts.decode(r["mails"])}) for r in await connection.fetch(READ_ACCOUNTS)]
    late = said_late(await look(connection, schedule, at))
    return model.Ledger(row["paused_at"], issues, _counts.decode(row["singles"]), row["overdue_seconds"], late)


async def read_queue(valkey: "Redis") -> model.Queue:
    """Return Valkey's jobs and workers. A Valkey that doesn't answer within a second is not reachable."""
    try:
        async with asyncio.timeout(VALKEY_PATIENCE):
            jobs: int = await valkey.zcard(default_queue_name)
            first = await valkey.zrange(default_queue_name, 0, 0, withscores=True)
            seconds, microseconds = await valkey.time()
            tick = await valkey.get(LAST_TICK)
            workers = [key async for key in valkey.scan_iter(match=WORKER_KEYS, count=10_000)]
    except (RedisError, OSError, TimeoutError):
        return model.Queue(reachable=False)
    now = seconds + microseconds / 1e6
    due = first[0][1] / 1000 if first else now
    ticked = None if tick is None else max(0.0, now - float(tick))
    return model.Queue(True, jobs, max(0.0, now - due), len(set(workers)), ticked)
