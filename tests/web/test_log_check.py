"""Who asks whether all is well is told when no vote can be taken, and why; and a vote that was taken is answered."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml

from events.log.committer import Committer
from events.log.primary import NoPrimary
from events.log.tasks import end
from projections.registry import PROJECTIONS
from services.status.writing import DISK_FULL, why_not
from services.web.card_cache import STALE_SECONDS
from services.web.http.checks import Check, ask_all
from tests.support import sites
from tests.support.histories import add_three_tools
from tests.support.runners import catch_up_all, until
from tests.support.servers import locked
from tests.support.settings import settings

ALERTS = Path(__file__).parents[2] / "docs" / "alerts.yml"


@pytest.fixture
async def site(dsn: str, valkey_url: str, committer: Committer) -> AsyncIterator[httpx.AsyncClient]:
    """A site with three tools, and a visitor who calls it."""
    await add_three_tools(committer)
    await catch_up_all(dsn)
    async with sites.client(settings(dsn, valkey_url)) as made:
        token = (await made.post("/v1/visitors")).json()["token"]
        made.headers["authorization"] = f"Bearer {token}"
        yield made


async def vote(site: httpx.AsyncClient, choice: str) -> httpx.Response:
    """Vote as the visitor."""
    return await site.put("/v1/tools/one/vote", json={"choice": choice})


async def ready(site: httpx.AsyncClient) -> Any:
    """Return what readiness says."""
    return (await site.get("/health/ready")).json()


async def test_a_lock_that_votes_wait_for_is_told_with_its_holder(site: httpx.AsyncClient, dsn: str) -> None:
    """While somebody locks the log, readiness is degraded and names the session; after it all is well again."""
    assert (await vote(site, "ship")).status_code == 200

    async def well() -> bool:
        return bool(await ready(site) == {"status": "ok"})

    await until(well)
    async with locked(dsn, "lock table log.events in share mode") as pid:

        async def vote_in_vain() -> None:  # one after the other: on a busy machine the first is given up before anybody looks
            while True:
                assert (await vote(site, "skip")).status_code == 503

        async def told() -> bool:
            return f"log: process {pid} (unnamed) holds a lock that votes wait for" in str(await ready(site))

        waiting = asyncio.create_task(vote_in_vain())
        await until(told)
        assert not waiting.done()
        await end(waiting)
    assert (await vote(site, "skip")).status_code == 200
    await until(well)
    metrics = (await site.get("/metrics")).text
    assert 'ballotpress_log_batches_total{outcome="failed"}' in metrics and "ballotpress_log_stuck_seconds 0.0" in metrics


async def test_a_reason_of_several_checks_is_said_once() -> None:
    """What several parts of the site give as their reason is one sentence, which names them all; vital ones stay apart."""

    async def lost() -> str | None:
        raise NoPrimary("none of them")

    async def late() -> str | None:
        return "late"

    others = [Check("history", False, lost), Check("mails", False, late), Check("clock", False, lost)]
    vital, other = await ask_all([*others, Check("views", True, lost)])
    assert [one.partition(":")[0] for one in vital] == ["views"]
    assert [one.partition(":")[0] for one in other] == ["history, clock", "mails"] and "promote a standby" in other[0]


async def test_why_no_vote_can_be_taken_is_named(connection: Any) -> None:
    """A full disk and a read-only database are called so; on a database that takes writes nothing is said."""
    assert await why_not(connection) is None
    assert await why_not(connection, asyncpg.DiskFullError("could not extend file")) == DISK_FULL
    await connection.execute("set default_transaction_read_only = on")
    assert "PostgreSQL is read-only" in str(await why_not(connection))


async def test_a_vote_is_answered_though_its_card_is_kept_from_us(site: httpx.AsyncClient, dsn: str) -> None:
    """A vote that was recorded is answered with the card as last known and this vote in it, whoever locks the cards."""
    await site.get("/v1/tools/one")
    async with locked(dsn, f"lock table {PROJECTIONS[0].schema}.tallies in access exclusive mode"):
        await asyncio.sleep(STALE_SECONDS + 0.2)
        answer = await vote(site, "ship")
        assert (answer.status_code, answer.json()["community"]["ship"]) == (200, 1)


ELSEWHERE = {'status="5xx"', 'of="free"', 'of="refused"', 'of="unsigned_seconds"'}
"""Labels that this site doesn't tell: of failures, of a disk that isn't its own, and of a log that nobody signs."""


async def test_every_metric_that_an_alert_names_exists(site: httpx.AsyncClient) -> None:
    """The sample of alerts asks for nothing that `/metrics` doesn't tell, label values included."""
    await site.get("/v1/tools/one")
    told = (await site.get("/metrics")).text
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    asked = [name for rule in rules for name in re.findall(r"ballotpress_\w+", rule["expr"])]
    assert len(asked) >= len(rules)
    assert [name for name in asked if f"# TYPE {name} " not in told] == []
    for label in re.findall(r"{(\w+=\"\w+\")}", " ".join(rule["expr"] for rule in rules)):
        assert label in told or label in ELSEWHERE, label
