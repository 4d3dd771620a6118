"""Any process may be killed: each planned reader has exactly one mail, or is listed as uncertain, and the accounts add up.

BALLOTPRESS_KILL_ROUNDS says how many rounds (default 2, one behind a replica); each kills workers, PostgreSQL, its replica,
Valkey, the relay or an API process a few times. Behind a replica each ends with a failover amid the send.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import asyncpg
import pytest

from events.commands.imports import Imported, ImportSubscribers
from events.log.vault import Vault
from services.clock import now
from services.migrate import migrate
from services.newsletter import issues, ledger
from services.newsletter.schedule import schedule_of
from services.newsletter.subscribers import new_person
from services.settings import read_settings
from tests.support import servers, standbys
from tests.support.http import wait_until_ready
from tests.support.log import patient
from tests.support.processes import PATIENCE, Fleet, free_port
from tests.support.runners import catch_up_all
from tests.support.settings import environ
from tests.support.standbys import Pair

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "2"))
READERS = 600
LEASE_SECONDS = 3
MOST_UNCERTAIN = 100
CAP = 400
"""Digests of a day: an issue takes more than one."""
ATTEMPTED = "select count(*) from newsletter.mails where issue > 0 and state not in ('pending', 'deferred')"


class SendingFleet(Fleet):
    """Everything that sends: a PostgreSQL, a Valkey, a relay that keeps what it gets, and two workers.

    A replicated one has a synchronous standby, and two API processes.
    """

    def __init__(self, pair: Pair, *, replicated: bool) -> None:
        port, folder = free_port(), pair.folders[0]
        self.kept = folder / "kept"
        self.pair, self.replicated = pair, replicated
        self.ports = [free_port(), free_port()] if replicated else []
        starts = {
            "postgres": lambda: pair.start(0),
            "valkey": lambda: servers.start_valkey(folder),
            "sink": lambda: self.command("-m", "tests.support.sink", str(port), str(self.kept)),
            "worker 1": lambda: self.ours("worker"),
            "worker 2": lambda: self.ours("worker"),
            **{f"api {port}": partial(self.ours, "api", "--port", str(port)) for port in self.ports},
        }
        if replicated:
            starts["standby"] = lambda: pair.start(1)
        more = {
            "SMTP_URL": f"smtp://127.0.0.1:{port}",
            "BALLOTPRESS_MAIL_LEASE_SECONDS": str(LEASE_SECONDS),
            "BALLOTPRESS_SMTP_CONNECTIONS": "3",
            "BALLOTPRESS_MAILS_PER_DAY": str(CAP),
            "BALLOTPRESS_DIGEST_ZONE": f"Etc/GMT{now().hour - 12:+d}",  # where it is about noon, so that no day ends meanwhile
        }
        dsn = pair.dsn() if replicated else pair.one(0)
        super().__init__(folder, environ(dsn, f"unix://{folder}/valkey.sock", folder, **more), starts)
        self.settings = read_settings(self.environ)
        self.sent_before = 0

    def adopt_servers(self) -> None:
        """Take in the servers, which run already; behind a replica all that is done waits for it from now on."""
        if self.replicated:
            self.pair.clone()
            asyncio.run(self.pair.wait_for_standby(synchronous=True))
        running = zip(("postgres", "standby"), self.pair.processes, strict=True)
        self.adopt(**{name: process for name, process in running if process is not None})

    def fail_over(self) -> None:
        """Kill the primary, let its replica take over, and make a replica of the old one."""
        names = ("postgres", "standby")
        self.kill(names[self.pair.primary])
        asyncio.run(self.pair.promote())
        self.pair.clone()
        cloned = self.pair.processes[self.pair.standby]
        assert cloned is not None
        self.adopt(**{names[self.pair.standby]: cloned})
        asyncio.run(self.pair.wait_for_standby(synchronous=True))

    def serves(self) -> None:
        """Wait until the API processes serve, if there are any."""
        for port in self.ports:
            wait_until_ready(f"http://127.0.0.1:{port}", self.said)


@pytest.fixture(params=[False, True], ids=["alone", "with a replica"])
def fleet(request: pytest.FixtureRequest) -> Iterator[SendingFleet]:
    """A fleet of its own, with so many readers in its database."""
    with standbys.pair() as pair:
        made = SendingFleet(pair, replicated=request.param)
        try:
            made.start("valkey", "sink")
            asyncio.run(populate(made))
            made.adopt_servers()
            yield made
        finally:
            made.end()
            time.sleep(0.3)  # the killed server's children see that it is gone


async def populate(fleet: SendingFleet) -> None:
    """Migrate, import the readers, and bring the views up."""
    dsn = fleet.settings.database_url
    await migrate(dsn)
    vault = Vault(fleet.settings.vault_keys)
    connection = await asyncpg.connect(dsn)
    finder = await vault.finder(connection)
    await connection.close()
    async with patient(dsn) as committer:
        people = [new_person(vault, finder, f"reader{n}@example.com") for n in range(READERS)]
        for start in range(0, READERS, 100):
            rows = [Imported(person, "sealed proof") for person in people[start : start + 100]]
            await committer.submit(ImportSubscribers(rows, "op"))
    await catch_up_all(dsn)


async def plan(fleet: SendingFleet) -> int:
    """Plan another issue for all readers."""
    dsn = fleet.settings.database_url
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    schedule = schedule_of(fleet.settings.newsletter)
    sent = await issues.send_now(connection, dsn, schedule, now(), "op", extra=True)
    await connection.close()
    return sent[0].issue.number


async def ask(fleet: SendingFleet, number: int) -> tuple[dict[str, int], dict[str, str], int]:
    """Return an issue's accounts, each reader's state, and how many were planned, all at one moment."""
    connection = await asyncpg.connect(fleet.settings.database_url, timeout=PATIENCE)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            accounts = await ledger.accounts(connection, number)
            rows = await connection.fetch("select reader, state from newsletter.mails where issue = $1", number)
            planned = await connection.fetchval("select planned from newsletter.issues where number = $1", number)
        return accounts, {row["reader"]: row["state"] for row in rows}, planned
    finally:
        await connection.close()


async def count_day(fleet: SendingFleet, context: str) -> None:
    """Check that no more was attempted than the day's cap; where that is used up, begin the next day."""
    connection = await asyncpg.connect(fleet.settings.database_url, timeout=PATIENCE)
    try:
        async with connection.transaction():
            room = await connection.fetchval("select cap - mails from newsletter.days where provider = '' for update")
            attempted = await connection.fetchval(ATTEMPTED) - fleet.sent_before
            assert attempted <= CAP, (context, attempted)
            if room == 0:  # those that a dying relay put off count for the day as well, and wait again
                await connection.execute("update newsletter.days set mails = 0")
                fleet.sent_before += attempted
    finally:
        await connection.close()


def test_one_mail_each_or_uncertain_whatever_is_killed(fleet: SendingFleet) -> None:
    """Two workers, random kills, several issues: no reader gets two mails, none is marked sent that wasn't.

    No day sends more than its cap.
    """
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for round_ in range(max(1, ROUNDS // 3) if fleet.replicated else ROUNDS):
        fleet.start()
        number = asyncio.run(plan(fleet))
        for _ in range(chance.randint(1, 3)):
            time.sleep(chance.uniform(0.1, 1.5))
            victim = chance.choice(list(fleet.starts))
            fleet.kill(victim)
            time.sleep(chance.uniform(0, 0.5))
            fleet.start()
        if fleet.replicated:
            fleet.fail_over()
        assert_one_each(fleet, number, f"seed {seed}, round {round_}")
    fleet.serves()


def assert_one_each(fleet: SendingFleet, number: int, context: str) -> None:
    """Wait until the issue has nothing left to do, then compare the ledger with what the sink kept."""
    deadline = time.monotonic() + PATIENCE
    while True:
        fleet.start()
        accounts, states, planned = asyncio.run(ask(fleet, number))
        asyncio.run(count_day(fleet, context))
        assert sum(accounts.values()) == planned == READERS, (context, accounts)
        if not (accounts["pending"] or accounts["attempting"] or accounts["deferred"]):
            break
        assert time.monotonic() < deadline, (context, accounts, fleet.said())
        time.sleep(0.3)
    got = Counter(
        line.split("<issue-")[1].split(".")[1].split("@")[0]
        for line in fleet.kept.read_text().splitlines()
        if f"<issue-{number}." in line
    )
    assert set(states.values()) <= {"accepted", "uncertain"}, (context, accounts)
    for reader, state in states.items():
        assert got[reader] == 1 if state == "accepted" else got[reader] <= 1, (context, reader, state, got[reader])
    assert set(got) <= set(states), context
    assert accounts["uncertain"] <= 3 * MOST_UNCERTAIN, (context, accounts)  # up to three kills a round
