"""What the newsletter costs: mails a second through the ledger, a million planned for, an idle clock, what a kill leaves."""

import asyncio
import os
import random
import time
from datetime import UTC, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from events.log.vault import Vault
from services.clock import now
from services.newsletter import ledger
from services.newsletter.issues import compile_issue, plan, tick
from services.newsletter.own_hours import FIELD, OwnHours, zones
from services.newsletter.schedule import Schedule, schedule_of
from services.setting_table import DAYS
from tests.benchmarks import emails
from tests.benchmarks.newsroom import CONNECTIONS, LEASE_SECONDS, MeasuredNewsletter, peak_megabytes, until
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres, new_database
from tests.support import servers
from tests.support.runners import catch_up_all

TICKS = 300
TOOLS = 1000

# Readers as the view holds them: a third chose categories (some that no issue has), some pause, are suppressed, or read
# another edition, and a fifth have bookmarks.
SUBSCRIBERS = """
insert into subscribers_2.subscribers (subscriber, sealed_address, status, round, categories, frequency, paused_until,
                                       suppressed, requested_at, confirmed_at, position)
select i.id, repeat('c2VhbGVk', 10), 'confirmed', 1, case when n % 3 = 0 then array['Category ' || n % 14] else '{}' end,
       case when n % 20 = 0 then 'monthly' else 'weekly' end, case when n % 50 = 1 then current_date + 30 end,
       case when n % 100 = 2 then 'hard bounce' end, now(), now(), 1
from generate_series(1, $1::bigint) n
cross join lateral (select translate(rtrim(encode(substring(int8send((1600000000000 + n) << 16) for 6) || '\\x7000'::bytea
                           || substring(decode(md5(n::text), 'hex') for 8), 'base64'), '='), '+/', '-_') as id) i
"""
VISITORS = """
insert into subscribers_2.visitors (subscriber, visitor, position)
select s.subscriber, reverse(s.subscriber), 1
from (select subscriber, row_number() over (order by subscriber) as n from subscribers_2.subscribers) s where s.n % 5 = 0
"""
BOOKMARKS = """
insert into bookmarks_1.bookmarks (visitor, tool, position)
select v.visitor, t.tools[1 + v.n % cardinality(t.tools)], 1
from (select visitor, row_number() over () as n from subscribers_2.visitors) v
cross join (select array_agg(data->>'tool') as tools from log.events where type = 'ToolAdded') t
"""
NEXT_TRANSACTION = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
AUTOVACUUM_RUNS = "select exists (select from pg_stat_activity where backend_type = 'autovacuum worker')"


def measure(readers: int = 8000, subscribers: int | None = None, runs: int = 5, kills: int = 9) -> list[Row]:
    """Measure every row about the newsletter; `BALLOTPRESS_BENCH_SUBSCRIBERS` plans for fewer than a million."""
    subscribers = subscribers or int(os.environ.get("BALLOTPRESS_BENCH_SUBSCRIBERS", "1_000_000"))
    with durable_postgres() as server, servers.valkey() as (valkey, _), emails.sink() as sink:
        room = MeasuredNewsletter(asyncio.run(new_database(server, "sending", TOOLS)), valkey, sink)
        some = uvloop.run(room.fill(readers))
        rows = [sending(room, uvloop.run(room.message(some[:8])), sink, runs, server.folder)]
        rows += uvloop.run(idle(room))
        rows.append(uvloop.run(killed(room, kills, readers)))
        big = MeasuredNewsletter(asyncio.run(new_database(server, "planning", TOOLS)), valkey, sink)
        rows += uvloop.run(planning(big, subscribers))
        return [*rows, uvloop.run(planning_own_hours(big, subscribers))]


def sending(room: MeasuredNewsletter, message: bytes, sink: int, runs: int, folder: Path) -> Row:
    """Compare a worker's rate with that of bare aiosmtplib, and measure it once more signing."""

    def ledgered() -> float:
        return uvloop.run(room.sent(uvloop.run(room.plan())))

    def bare() -> float:
        return uvloop.run(emails.bare_rate(sink, 4, CONNECTIONS, message))

    with room.worker() as worker:
        ratio, detail = pairs(ledgered, bare, runs)
        peak = peak_megabytes(worker.pid)
    with room.worker(**_signing(folder)):
        signed = median(ledgered() for _ in range(2))
    detail += (
        f"; {len(message):,} bytes a mail, {CONNECTIONS} connections; {signed:,.0f}/s with DKIM; the worker took {peak:.0f} MB"
    )
    return Row("ledgered, personalised mails by one worker, against bare aiosmtplib", 0.6, ratio, detail)


def _signing(folder: Path) -> dict[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    file = folder / "dkim.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    names = ("BALLOTPRESS_DKIM_DOMAIN", "BALLOTPRESS_DKIM_SELECTOR", "BALLOTPRESS_DKIM_KEY_FILE")
    return dict(zip(names, ("verdicts.example.com", "bench", str(file)), strict=True))


async def idle(room: MeasuredNewsletter) -> list[Row]:
    """Let the clock tick with nothing due, and the sender look; count the transactions that wrote."""
    schedule = schedule_of(room.settings.newsletter)
    async with asyncpg.create_pool(room.dsn, min_size=1, max_size=2) as pool, room.database() as watching:
        await watching.execute("alter system set autovacuum = off")
        await watching.execute("select pg_reload_conf()")
        await until(lambda: watching.fetchval(AUTOVACUUM_RUNS.replace("select exists", "select not exists")))
        before = await watching.fetchval(NEXT_TRANSACTION)
        ticks, turns = [], []
        for _ in range(TICKS):
            ticks.append(await _seconds(tick(pool, room.dsn, schedule, now())))
            turns.append(await _seconds(_look(pool)))
        written = await watching.fetchval(NEXT_TRANSACTION) - before
        await watching.execute("alter system reset autovacuum")
        await watching.execute("select pg_reload_conf()")
    p99, look = 1000 * sorted(ticks)[TICKS * 99 // 100], 1000 * median(turns)
    detail = f"median {1000 * median(ticks):.2f} ms, worst {1000 * max(ticks):.1f} ms of {TICKS}; a sender's look {look:.2f} ms"
    return [
        Row("a tick with nothing due, p99", 5, p99, detail, "ms", at_least=False),
        Row(f"transactions that wrote anything in {TICKS} ticks and looks with nothing due", 0, written, "autovacuum off",
            "transactions", at_least=False),
    ]  # fmt: skip


async def _look(pool: Any) -> None:
    """Do what a sender does every second."""
    assert not await ledger.is_due(pool)
    await ledger.settle(pool)


async def _seconds(work: Any) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def killed(room: MeasuredNewsletter, kills: int, readers: int) -> Row:
    """Kill a worker in mid-send, over and over; count each time the mails that were attempted and not answered for."""
    chance = random.Random(1)
    left: list[int] = []
    lost: set[str] = set()
    async with room.database() as connection:
        number = await room.plan()
        for _ in range(kills):
            if await connection.fetchval("select count(*) from newsletter.mails where state = 'pending'") < readers // 2:
                await _drain(room, connection, number, lost)
                number, lost = await room.plan(), set()
            found = await _kill_one(room, connection, number, chance.randint(1, readers // 4))
            left.append(len(found - lost))
            lost |= found
        await _drain(room, connection, number, lost)
    detail = f"median {median(left):.0f}, least {min(left)} of {kills} kills; never more than became uncertain"
    return Row(
        "mails uncertain after SIGKILL of a worker in mid-send, at most", 100, max(left), detail, "mails", at_least=False
    )


async def _kill_one(room: MeasuredNewsletter, connection: Any, number: int, after: int) -> set[str]:
    """Kill a worker once it has sent some; give the readers whose mails are attempted."""
    taken = "select count(*) from newsletter.mails where issue = $1 and state = 'accepted'"
    before = await connection.fetchval(taken, number)
    with room.worker() as worker:

        async def is_under_way() -> bool:
            return bool(await connection.fetchval(taken, number) >= before + after)

        await until(is_under_way)
        worker.kill()
        worker.wait(10)
    await asyncio.sleep(0.3)  # what the worker had asked for is done
    rows = await connection.fetch(
        "select reader from newsletter.mails where issue = $1 and state in ('attempting', 'uncertain')", number
    )
    return {row["reader"] for row in rows}


async def _drain(room: MeasuredNewsletter, connection: Any, number: int, lost: set[str]) -> None:
    """Let a worker send the rest, and see that just what the lost ones left is uncertain."""
    await asyncio.sleep(LEASE_SECONDS)
    with room.worker():
        await until(lambda: connection.fetchval(
            "select state = 'settled' from newsletter.issues where number = $1", number))  # fmt: skip
    rows = await connection.fetch("select reader from newsletter.mails where issue = $1 and state = 'uncertain'", number)
    assert {row["reader"] for row in rows} == lost


async def planning(room: MeasuredNewsletter, subscribers: int) -> list[Row]:
    """Let a worker find an issue due for so many readers; measure its plan and its memory, also when it begins to send."""
    async with room.database() as connection:
        await catch_up_all(room.dsn)
        await connection.execute(SUBSCRIBERS, subscribers, timeout=300)
        await connection.execute(VISITORS, timeout=300)
        await connection.execute(BOOKMARKS, timeout=300)
        for table in ("subscribers_2.subscribers", "subscribers_2.visitors", "bookmarks_1.bookmarks"):
            await connection.execute(f"vacuum (analyze) {table}", timeout=300)
        await connection.execute("update newsletter.schedule set since = now() - interval '30 days'")
        with room.worker(**_due_now()) as worker:
            await until(lambda: connection.fetchval("select exists (select from newsletter.issues where number = 1)"))
            began = time.perf_counter()
            await until(lambda: connection.fetchval("select state <> 'compiled' from newsletter.issues where number = 1"))
            seconds = time.perf_counter() - began
            await asyncio.sleep(5)
            peak = peak_megabytes(worker.pid)
        planned = await connection.fetchval("select planned from newsletter.issues where number = 1")
        excluded = await connection.fetchval(
            "select count(*) from newsletter.mails where issue = 1 and state = 'excluded'", timeout=300
        )
    assert planned == subscribers
    detail = f"by the worker's tick, in one statement; {excluded:,} excluded with a reason"
    return [
        Row(f"planning an issue for {subscribers:,} subscribers", 30, seconds, f"{detail}; the worker took {peak:.0f} MB", "s",
            at_least=False),
        Row("memory of the worker that plans it and begins to send", 200, peak, "its peak", "MB", at_least=False),
    ]  # fmt: skip


async def planning_own_hours(room: MeasuredNewsletter, subscribers: int) -> Row:
    """Plan the same readers with and without their own hour: each zone is sealed under a key of its own, and opened for it."""
    async with room.database() as connection:
        await _seal_zones(connection, Vault(room.settings.vault_keys))
        await connection.execute("vacuum (analyze) subscribers_2.subscribers", timeout=300)
        plain = await _planned(room, connection, None)
        own = await _planned(room, connection, OwnHours(Vault(room.settings.vault_keys), 9))
        at_once = await connection.fetchval(
            "select count(*) from newsletter.mails m join newsletter.issues i on i.number = m.issue"
            " where i.number = (select max(number) from newsletter.issues)"
            " and m.not_before <= i.planned_at + interval '5 minutes'"
        )
    assert at_once < subscribers / 2
    detail = f"all of them told a zone; without own hours {plain:.1f} s; {peak_megabytes(os.getpid()):.0f} MB at the peak"
    return Row(
        f"planning an issue for {subscribers:,} subscribers, each at an hour of its own", 60, own, detail, "s", at_least=False
    )


async def _planned(room: MeasuredNewsletter, connection: Any, own: OwnHours | None) -> float:
    """Compile one more issue; return the seconds that its plan takes."""
    at = now()
    number = await compile_issue(room.dsn, "weekly", at, at, extra=True)
    assert number is not None
    began = time.perf_counter()
    await plan(connection, number, schedule_of(room.settings.newsletter), at, own)
    return time.perf_counter() - began


async def _seal_zones(connection: Any, vault: Vault) -> None:
    """Give every subscriber a key and a sealed time zone."""
    names = zones()
    rows = await connection.fetch("select subscriber from subscribers_2.subscribers order by subscriber")
    await connection.execute("create temporary table zoned (subscriber text, zone text)")
    for start in range(0, len(rows), 20_000):
        made = [(row["subscriber"], *vault.new_key(row["subscriber"])) for row in rows[start : start + 20_000]]
        await connection.copy_records_to_table(
            "keys",
            schema_name="vault",
            columns=["owner", "wrapped", "wrapped_under"],
            records=[keep.args for _, _, keep in made],
        )
        sealed = [(reader, key.seal(FIELD, names[n % len(names)])) for n, (reader, key, _) in enumerate(made)]
        await connection.copy_records_to_table("zoned", records=sealed)
    await connection.execute(
        "update subscribers_2.subscribers s set sealed_zone = z.zone from zoned z where z.subscriber = s.subscriber",
        timeout=600,
    )


def _due_now() -> dict[str, str]:
    """Name a weekly time that was within the last hour."""
    last = Schedule(now().weekday(), now().hour, "UTC").last(now())
    assert now() - last < timedelta(hours=1) and last.tzinfo is UTC
    return {"BALLOTPRESS_DIGEST_DAY": DAYS[last.weekday()], "BALLOTPRESS_DIGEST_HOUR": str(last.hour)}
