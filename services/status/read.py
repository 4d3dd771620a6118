"""Read the status that `ballotpress status` and `GET /v1/ops/status` both show.

It is read in one snapshot. Who holds what is read first; a part that somebody's lock keeps from us is left out within a second,
and named. A database that was never migrated, or lacks a projection, has a status too. Nothing in it is personal: no query's
text, no addresses.
"""

import asyncio
import re
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
import msgspec
from arq.constants import default_queue_name
from asyncpg import Connection, Pool
from redis.asyncio import Redis
from redis.exceptions import RedisError

from events.log import history, leftovers, migrate, postgres
from events.log.archive import state
from events.log.primary import Servers
from events.log.vault import Vault
from projections.engine.projection import IS_TAKEN, LOCK_CLASS, Projection
from projections.registry import PROJECTIONS
from services.mail_check.standing import read_standing
from services.mail_check.store import SINCE as MAIL_CHECK_SINCE
from services.newsletter.holds import Refused, read_refused
from services.newsletter.periods import look, said_late
from services.newsletter.schedule import Schedule
from services.newsletter.waiting import overdue_seconds, said_slow
from services.proof import health
from services.purge.progress import SINCE as PURGES_SINCE
from services.purge.progress import read_progress
from services.replicas.replica import Standing
from services.status import advice, archives, model
from services.status.backups import SINCE as BACKUPS_SINCE
from services.status.backups import read_backups
from services.status.day import SINCE as DAY_SINCE
from services.status.day import read_day
from services.status.parts import SINCE as PARTS_SINCE
from services.status.parts import Parts, read_parts
from services.status.processes import read_processes, read_scan
from services.status.views import missing_views, read_present_views
from services.status.writing import no_room, why_not
from services.webhooks import subscriptions

P = TypeVar("P")

REWINDS_SINCE = 11
"""The migration from which on a log that went back is recorded."""
WEBHOOKS_SINCE = 33
"""The migration from which on there are outgoing webhooks."""
VAULT_PARTS_SINCE = 27
"""The migration from which on the vault is in parts."""
SLOW_SECONDS = 5.0
"""A transaction open for longer is shown; normal ones take milliseconds."""
HELD_UP_SECONDS = 1.0
"""So is one that waits, or makes others wait, for longer; to wait milliseconds for the head's lock is normal."""
VALKEY_PATIENCE = 1.0
"""Seconds."""
# What a part of the status may take: the lock of another session is waited for, but never for long.
LIMIT_PART: Final = "set local lock_timeout = '300ms'; set local statement_timeout = '2s'"
WORKER_KEYS = "ballotpress:worker:*"
LAST_TICK: Final = "ballotpress:tick"
"""The key of the worker's last tick, in seconds since 1970 by Valkey's clock."""

READ_HEAD = """
select h.position, nullif(h.recorded_at, '-infinity') as recorded_at,
       h.position - log.position_at(now() - interval '1 minute') as events_last_minute
from log.head h
"""

# The sessions that wait for a lock, hold one that others wait for, or have a transaction open for too long. A commit that
# waits for a synchronous standby has none to be ended: it is told of as votes that wait.
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
where (a.backend_type = 'client backend' and a.age_seconds > $1 and a.wait_event is distinct from 'SyncRep')
   or (a.age_seconds > $2 and cardinality(a.waits_for) > 0)
   or (a.age_seconds > $2 and exists (select from activity b where a.pid = any(b.waits_for)))
order by a.age_seconds desc
limit 50
"""

# A table in parts is one line. A projection's schema has a checkpoint, also while it is rebuilt beside the live one, or kept
# from before.
READ_DISK = """
select n.nspname || '.' || t.relname as table, s.bytes, s.index_bytes
from pg_namespace n
join pg_class t on t.relnamespace = n.oid and t.relkind in ('r', 'p') and not t.relispartition
cross join lateral (
    select sum(pg_table_size(p.oid))::bigint as bytes, sum(pg_indexes_size(p.oid))::bigint as index_bytes
    from (select t.oid union select i.inhrelid from pg_inherits i where i.inhparent = t.oid) p(oid)
) s
where n.nspname in ('log', 'vault', 'newsletter', 'import', 'proof', 'webhooks', 'purge')
   or t.relname <> 'checkpoint'
      and exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'checkpoint' and c.relkind = 'r')
order by s.bytes + s.index_bytes desc, 1
"""

# Every schema with a checkpoint, of this release or not.
BESIDE = """
select n.nspname::text as schema
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = 'checkpoint' and c.relkind = 'r' order by 1
"""

# Single mails (issue 0) settle by the thousand; only unsettled ones are counted.
READ_LEDGER = """
select s.paused_at, to_jsonb(s) ->> 'held' as held,
       (select coalesce(jsonb_object_agg(m.state, m.mails), '{}')
        from (select m.state, count(*) as mails from newsletter.mails m
              where m.issue = 0 and m.state in ('pending', 'attempting', 'deferred', 'uncertain')
              group by m.state) m) as singles
from newsletter.schedule s
"""

READ_ACCOUNTS = """
select i.number as issue, i.edition, i.state, i.due_at, i.planned,
       case when i.state = 'compiled' then extract(epoch from now() - i.compiled_at) else 0 end::float8 as unplanned_seconds,
       (select coalesce(jsonb_object_agg(m.state, m.mails), '{}')
        from (select m.state, count(*) as mails from newsletter.mails m where m.issue = i.number group by m.state) m) as mails
from newsletter.issues i
where i.state in ('compiled', 'planned') or i.number = (select max(n.number) from newsletter.issues n)
order by i.number
"""

_counts = msgspec.json.Decoder(dict[str, int])


class _Parts:
    """Reads the parts of a status, each in a savepoint of its own; `unread` names those that a lock kept from us."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection = connection
        self.unread: list[str] = []

    async def read(self, name: str, reading: "Coroutine[Any, Any, P]", otherwise: P) -> P:
        """Return a part, or what stands for it when it can't be read in time."""
        try:
            async with self._connection.transaction():
                return await reading
        except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError):
            self.unread.append(name)
            return otherwise


async def read_status(
    connection: "Connection[Any]",
    schedule: Schedule,
    valkey: "Redis | None" = None,
    *,
    vault: Vault | None = None,
    data: Path | None = None,
    dsn: str | None = None,
    replicas: Sequence[Standing] = (),
) -> model.Status:
    """Return the status. The connection must not be in a transaction. A silent Valkey costs a second.

    `vault` is asked for missing keys; `data` is the home folder of an `up`, whose disk is looked at if it holds the data. Of a
    `dsn` with several hosts it tells what each of them was when this process asked last, of `replicas` how they were found.
    """
    queue = None if valkey is None else await read_queue(valkey)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(LIMIT_PART)
        status = await _read_parts(connection, schedule, queue, vault)
    kept = await state.read_all(connection) if status.schema.migration >= PARTS_SINCE else ()
    found = Servers() if dsn is None else postgres.servers_of(dsn)
    status = msgspec.structs.replace(
        status, room=disk_room(data), servers=found.seen, left_behind=found.left, strange=found.strange, missing=found.missing,
        replicas=replicas, archives=await archives.look(kept),
    )  # fmt: skip
    return msgspec.structs.replace(status, problems=list(advice.problems(status)))


async def _read_parts(
    connection: "Connection[Any]", schedule: Schedule, queue: model.Queue | None, vault: Vault | None
) -> model.Status:
    parts = _Parts(connection)
    at: datetime = await connection.fetchval("select now()")
    slow = await connection.fetch(READ_TRANSACTIONS, SLOW_SECONDS, HELD_UP_SECONDS)
    migration = await migrate.migrated(connection)
    missing = await missing_views(connection)
    head = await parts.read("log", _head(connection), None) if migration else None
    views = await parts.read("views", read_present_views(connection), []) if migration else []
    rebuilds = await parts.read("rebuilds", _rebuilds(connection, head.position), []) if head else []
    ledger = await parts.read("mails", read_ledger(connection, schedule, at), None) if migration else None
    public_log = await parts.read("public log", health.read(connection), None) if migration >= health.SINCE else None
    no_writes = await parts.read("log", why_not(connection), None) if migration else None
    no_writes = no_writes or await parts.read("room", no_room(connection), None)
    keys = await parts.read("vault", vault.missing(connection), []) if migration and vault else []
    of_vault = await parts.read("vault", _vault(connection, vault), None) if migration >= VAULT_PARTS_SINCE else None
    of_log = await parts.read("parts of the log", read_parts(connection), Parts()) if migration >= PARTS_SINCE else Parts()
    disk = await parts.read("sizes", _disk(connection), [])
    work = await _read_work(parts, connection, migration)
    rewind = await parts.read("rewinds", _rewind(connection), None) if migration >= REWINDS_SINCE else None
    unsafe = [row["name"] for row in await connection.fetch(postgres.UNSAFE)]
    return model.Status(
        at, head, views, rebuilds, model.Schema(migration, migrate.current(), missing),
        [model.Transaction(**row) for row in slow], disk, ledger, queue, (), missing_keys=keys,
        unread=parts.unread, no_writes=no_writes, rewind=rewind, unsafe=unsafe,
        vault=of_vault, public_log=public_log, parts=of_log, **work,
    )  # fmt: skip


async def _read_work(parts: _Parts, connection: "Connection[Any]", at: int) -> dict[str, Any]:
    """Return the fields about what processes do by themselves, beside the views, in a database at a migration."""
    return {
        "processes": await parts.read("processes", read_processes(connection), []),
        "scan": await parts.read("scan", read_scan(connection), None),
        "webhooks": await parts.read("webhooks", read_webhooks(connection), []) if at >= WEBHOOKS_SINCE else [],
        "purges": await parts.read("purges", read_progress(connection), None) if at >= PURGES_SINCE else None,
        "mail_check": await parts.read("mail check", read_standing(connection), None) if at >= MAIL_CHECK_SINCE else None,
        "backups": await parts.read("backups", read_backups(connection), None) if at >= BACKUPS_SINCE else None,
        "day": await parts.read("last day", read_day(connection), None) if at >= DAY_SINCE else None,
    }


async def _vault(connection: "Connection[Any]", vault: Vault | None) -> model.VaultKeys:
    not_rewrapped = 0 if vault is None else await vault.not_rewrapped(connection)
    return model.VaultKeys(not_rewrapped, await leftovers.leftover_seconds(connection))


async def read_webhooks(database: "Connection[Any] | Pool[Any]") -> list[model.WebhookStatus]:
    """Return how the outgoing webhooks fare. Their addresses may hold secrets, so of each its host is shown."""
    return [
        model.WebhookStatus(
            one.id, urlsplit(one.url).hostname or "", one.is_on, one.off_reason, one.lag, one.failures, one.failed
        )
        for one in await subscriptions.read_all(database)
    ]


async def _rewind(connection: "Connection[Any]") -> model.Rewind | None:
    found = await history.unanswered(connection)
    return None if found is None else model.Rewind(found.known, found.kept, found.since, str(found))


def disk_room(home: Path | None) -> model.Room | None:
    """Return the room on the disk of an `up`'s database; None where no such database is in this home folder."""
    try:
        found = None if home is None or not (home / "postgres").exists() else shutil.disk_usage(home)
    except OSError:
        return None
    return None if found is None else model.Room(found.total, found.free)


async def _disk(connection: "Connection[Any]") -> list[model.TableSize]:
    return [model.TableSize(**row) for row in await connection.fetch(READ_DISK)]


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
    return schema != projection.schema and _version(projection, schema) is not None


def _version(projection: Projection, schema: str) -> int | None:
    """Return the version of a projection whose tables a schema holds, live or beside; None if it holds others."""
    found = re.fullmatch(rf"{projection.name}_(\d+)(_next|_prev)?", schema)
    return int(found[1]) if found else None


async def _rebuild(connection: "Connection[Any]", projection: Projection, schema: str, head: int) -> model.Rebuild | None:
    await connection.execute("select set_config('search_path', $1, true)", schema)
    position: int | None = await connection.fetchval("select position from checkpoint")
    if position is None:
        return None
    if schema == projection.next_schema:
        held = await connection.fetchval(IS_TAKEN, LOCK_CLASS, projection.schema)
        return model.Rebuild(projection.name, schema, "running" if held else "stopped", position, head)
    if schema == projection.previous_schema:
        return model.Rebuild(projection.name, schema, "kept", position, head)
    is_newer = (_version(projection, schema) or 0) > projection.version
    return model.Rebuild(projection.name, schema, "newer" if is_newer else "older", position, head)


async def read_ledger(connection: "Connection[Any]", schedule: Schedule, at: datetime) -> model.Ledger | None:
    """Return how the mails stand; None in a database without them."""
    if await connection.fetchval("select to_regclass('newsletter.periods')") is None:
        return None
    row = await connection.fetchrow(READ_LEDGER)
    assert row is not None  # noqa: S101 - the schedule has one row
    issues = [model.Account(**{**r, "mails": _counts.decode(r["mails"])}) for r in await connection.fetch(READ_ACCOUNTS)]
    late = said_late(await look(connection, schedule, at))
    singles, refused = _counts.decode(row["singles"]), await _refused(connection)
    return model.Ledger(
        row["paused_at"],
        row["held"],
        issues,
        singles,
        await overdue_seconds(connection),
        late,
        refused.held,
        refused.readers,
        await said_slow(connection),
    )


async def _refused(connection: "Connection[Any]") -> Refused:
    """Return what servers refused; nothing in a database of an earlier release."""
    if await connection.fetchval("select to_regclass('newsletter.holds')") is None:
        return Refused(0, ())
    return await read_refused(connection)


async def read_queue(valkey: "Redis") -> model.Queue:
    """Return Valkey's jobs and workers. A Valkey that doesn't answer within a second is not reachable."""
    try:
        async with asyncio.timeout(VALKEY_PATIENCE):
            jobs: int = await valkey.zcard(default_queue_name)
            first = await valkey.zrange(default_queue_name, 0, 0, withscores=True)
            seconds, microseconds = await valkey.time()
            tick = await valkey.get(LAST_TICK)
            memory = await valkey.info("memory")
            workers = [key async for key in valkey.scan_iter(match=WORKER_KEYS, count=10_000)]
    except (RedisError, OSError, TimeoutError):
        return model.Queue(reachable=False)
    now = seconds + microseconds / 1e6
    due = first[0][1] / 1000 if first else now
    ticked = None if tick is None else max(0.0, now - float(tick))
    return model.Queue(True, jobs, max(0.0, now - due), len(set(workers)), ticked, _evicts(memory))


def _evicts(memory: Mapping[str, Any]) -> str | None:
    """Return the policy by which Valkey drops keys; None where it refuses writes instead, or has no bound."""
    policy = memory.get("maxmemory_policy", "noeviction")
    return policy if memory.get("maxmemory") and policy != "noeviction" else None
