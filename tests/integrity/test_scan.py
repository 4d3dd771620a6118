"""The scan for bought votes over a real log: it finds the same, whenever, however often and by however many it is run."""

import asyncio
import json
import signal
import sys
from typing import Any

import asyncpg
import pytest

from projections.engine.projection import create_missing, drop
from projections.registry import PROJECTIONS
from services.integrity import cohorts, decisions, scan, ticks
from services.integrity.reading import tick_of, time_of
from services.status.processes import read_scan, said_unscanned
from tests.support import bought, integrity_run
from tests.support.bought import Log
from tests.support.processes import start
from tests.support.runners import Connection, catch_up, catch_up_all, until
from tests.support.settings import environ
from tests.support.survival import BOTH_WAYS

INTEGRITY = next(p for p in PROJECTIONS if p.name == "integrity")
FINDS = "select id, tool, choice, span, begins, ends, votes, scores, p, seen from integrity.finds order by id"
COHORTS = "select to_jsonb(c) - 'revision' - 'evaluated_position' from integrity.cohorts c order by id"
AT_WORK = "select count(*) from pg_stat_activity where application_name = 'ballotpress-integrity'"
FORGET = """
delete from integrity.finds; delete from integrity.cohorts; update integrity.scans set scanned_to = null, scanned_at = null
"""


async def kept(connection: Connection) -> tuple[list[Any], list[Any]]:
    """Return all finds and cohorts."""
    return [tuple(row) for row in await connection.fetch(FINDS)], [row[0] for row in await connection.fetch(COHORTS)]


async def test_what_is_found_in_the_log_is_what_the_arithmetic_finds(scanned: Log) -> None:
    """The scan of the log and the detector over the same votes as arrays find the same cohorts, to the score."""
    drawn = bought.small_world(bought.SEED)
    end = int(drawn.votes.time[-1] // 600) + 1
    cells, _ = integrity_run.weighed(drawn, end - 1008, end, marked=False, names=bought.names_of(drawn))
    right = {one.id: (one.begin, one.end, one.votes, dict(one.scores), one.p) for one in integrity_run.cohorts(cells)}
    found = {
        id_: (tick_of(begins), tick_of(ends), votes, json.loads(scores), p)
        for id_, _, _, _, begins, ends, votes, scores, p, _ in await scanned.connection.fetch(FINDS)
    }
    assert len(found) >= 3
    assert found == right
    assert await scanned.connection.fetchval("select scanned_to from integrity.scans") == time_of(end)


async def test_a_rebuilt_view_scanned_anew_gives_the_same_cohorts(scanned: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found doesn't depend on when the scans ran: all at once, or a few ten minutes at a time over a rebuilt view."""
    before = await kept(scanned.connection)
    await scanned.connection.execute(FORGET)
    await drop(scanned.connection, INTEGRITY.schema)
    await create_missing(scanned.connection, [INTEGRITY])
    await catch_up(scanned.dsn, INTEGRITY, (777, 5_000))
    monkeypatch.setattr(scan, "AT_ONCE", 35)
    await scan.scan(scanned.dsn, 0.01)
    assert before[0] and before[1]
    assert await kept(scanned.connection) == before


@pytest.mark.parametrize("flood", [0, 60, 1500])
async def test_a_flood_beforehand_hides_no_brigade(dsn: str, connection: Connection, flood: int) -> None:
    """Whoever floods a tool for six days, so that many votes look ordinary on it, is found in the seventh all the same."""
    drawn, tool = bought.poisoned_world(bought.SEED, flood)
    await bought.put(connection, drawn)
    await catch_up_all(dsn, (20_000,))
    await scan.scan(dsn, 0.01)
    begin = drawn.plans[-1].begin
    hour = time_of(int(begin // 600) - 1), time_of(int(begin // 600) + 7)
    query = "select sum(votes) from integrity.cohorts where tool = $1 and choice = 'ship' and begins >= $2 and ends <= $3"
    assert await connection.fetchval(query, bought.names_of(drawn)[tool], *hour) >= 30, "of the brigade's 40"


@pytest.mark.parametrize("days", [1, 2, 3])
async def test_a_sites_first_days_are_scanned_without_a_past(dsn: str, connection: Connection, days: int) -> None:
    """A site that is hours old has nothing to hold votes against, and its scan judges all the same."""
    drawn = bought.first_days(bought.SEED, days)
    await bought.put(connection, drawn)
    await catch_up_all(dsn, (20_000,))
    done = await scan.scan(dsn, 0.01)
    assert done is not None and done.until == time_of(int(drawn.votes.time[-1] // 600) + 1)
    assert said_unscanned(await read_scan(connection)) is None


async def test_no_vote_is_looked_into_twice(dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a voter did beside a vote is asked once for all that is judged at once, though many cells are judged by it."""
    await bought.put(connection, bought.first_days(bought.SEED, 1))
    await catch_up_all(dsn)
    sent, connect = list[Any](), decisions.connect

    async def overheard(dsn: str) -> Connection:
        session = await connect(dsn)
        session.add_query_logger(sent.append)
        return session

    monkeypatch.setattr(decisions, "connect", overheard)
    monkeypatch.setattr(scan, "AT_ONCE", ticks.DAY)
    await scan.scan(dsn, 0.01)
    votes = [vote for asked in sent if "log.between_streams" in asked.query for vote in zip(*asked.args, strict=True)]
    assert len(votes) > 100
    assert len(set(votes)) == len(votes)


async def test_several_scans_at_once_do_the_work_once(log: Log) -> None:
    """Of several workers one scans; a scan with nothing new changes nothing."""
    done = await asyncio.gather(*(scan.scan(log.dsn, 0.01) for _ in range(3)))
    assert sum(one is not None for one in done) == 1
    before = await kept(log.connection)
    again = await scan.scan(log.dsn, 0.01)
    assert again is not None and again.changed == 0
    assert await kept(log.connection) == before


@BOTH_WAYS
async def test_a_scan_that_is_killed_is_done_again(log: Log, scanned: Log, valkey_url: str) -> None:
    """Killed at some moment, a scan leaves what it had finished; the next finds the rest."""
    process = start((sys.executable, "-m", "services.cli", "integrity", "scan"), environ(log.dsn, valkey_url))
    await until(lambda: at_work(log.connection))
    process.send_signal(signal.SIGKILL)
    process.wait()
    await until(lambda: alone(log.connection))
    await scan.scan(log.dsn, 0.01)
    assert await kept(log.connection) == await kept(scanned.connection)


async def at_work(connection: Connection) -> bool:
    return bool(await connection.fetchval(AT_WORK))


async def alone(connection: Connection) -> bool:
    return not await at_work(connection)


async def test_a_scan_that_fails_says_so_until_one_ends_well(scanned: Log) -> None:
    """The status names what the last scan failed with."""
    assert said_unscanned(await read_scan(scanned.connection)) is None
    await scanned.connection.execute("update integrity.scans set scanned_to = scanned_to - interval '1 hour'")
    await scanned.connection.execute("alter table integrity_2.cells rename to gone")
    with pytest.raises(asyncpg.UndefinedTableError):
        await scan.scan(scanned.dsn, 0.01)
    assert "gone" not in (said := said_unscanned(await read_scan(scanned.connection)) or "") and "cells" in said
    await scanned.connection.execute("alter table integrity_2.gone rename to cells")
    await scan.scan(scanned.dsn, 0.01)
    assert said_unscanned(await read_scan(scanned.connection)) is None


async def test_a_cohort_names_the_voters_whose_votes_stand(scanned: Log) -> None:
    """A cohort's voters are read from the log: who has changed its mind since, or was disqualified, is none of them."""
    id_ = await scanned.connection.fetchval("select id from integrity.cohorts order by effect desc limit 1")
    cohort = await cohorts.read(scanned.connection, id_)
    assert cohort is not None
    voters = await cohorts.voters(scanned.connection, cohort)
    assert len(set(voters)) == len(voters) == cohort.votes
    removed = abs(sum(cohort.before) - sum(cohort.after))
    assert removed == len(voters)
