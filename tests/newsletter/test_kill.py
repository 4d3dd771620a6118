"""Whatever is killed in mid-send, each planned reader has exactly one mail, or is listed as uncertain; the accounts add up.

BALLOTPRESS_KILL_ROUNDS says how many rounds; each kills workers, PostgreSQL, Valkey or the relay a few times.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from events.commands.subscribers import Imported, ImportSubscribers
from events.log.committer import Committer
from events.log.vault import Vault
from events.registry import REGISTRY
from services.clock import now
from services.migrate import migrate
from services.newsletter import ledger, schedule_run
from services.newsletter.subscribers import new_person
from services.settings import read_settings
from tests.support import servers
from tests.support.processes import clean_environ, free_port
from tests.support.runners import catch_up_all

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "3"))
READERS = 600
LEASE_SECONDS = 3
MOST_UNCERTAIN = 100

Process = subprocess.Popen[bytes]


class World:
    """Everything that sends, as processes that can be killed and are started again, as a supervisor would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.kept = folder / "kept"
        self.environ = clean_environ(
            DATABASE_URL=f"postgresql://postgres@/postgres?host={folder}&port=5432",
            REDIS_URL=f"unix://{folder}/valkey.sock",
            SMTP_URL=f"smtp://127.0.0.1:{self.port}",
            BALLOTPRESS_HOME=str(folder),
            BALLOTPRESS_SECRET_KEYS="a-secret-key-of-the-kill-tests-32",
            BALLOTPRESS_VAULT_KEYS="B" * 43 + "=",
            BALLOTPRESS_MAIL_LEASE_SECONDS=str(LEASE_SECONDS),
            BALLOTPRESS_SMTP_CONNECTIONS="3",
        )
        self.settings = read_settings(self.environ)
        self.starts: dict[str, Callable[[], Process]] = {
            "postgres": self._postgres,
            "valkey": self._valkey,
            "sink": lambda: self._python("-m", "tests.support.sink", str(self.port), str(self.kept)),
            "worker 1": lambda: self._python("-P", "-m", "services.cli", "worker"),
            "worker 2": lambda: self._python("-P", "-m", "services.cli", "worker"),
        }
        self.processes: dict[str, Process] = {}

    def _python(self, *words: str) -> Process:
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen([sys.executable, *words], env=self.environ, stdout=output, stderr=output)

    def _postgres(self) -> Process:
        deadline = time.monotonic() + 20
        while True:  # what a killed server left behind holds its memory for a moment
            try:
                return servers.start_postgres(self.folder).process
            except AssertionError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
                (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
                time.sleep(0.2)

    def _valkey(self) -> Process:
        (self.folder / "valkey.sock").unlink(missing_ok=True)
        words = ["--port", "0", "--unixsocket", self.folder / "valkey.sock", "--save", "", "--dir", self.folder]
        return subprocess.Popen([servers.valkey_program(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, *names: str) -> None:
        """Start what isn't running, of these names or of all."""
        for name in names or self.starts:
            if name not in self.processes or self.processes[name].poll() is not None:
                self.processes[name] = self.starts[name]()

    def kill(self, name: str) -> None:
        """Kill a process, as `kill -9` does."""
        self.processes[name].kill()
        self.processes[name].wait(10)

    def stop(self) -> None:
        """End everything."""
        for name in reversed(self.processes):
            self.kill(name)


@pytest.fixture
def world() -> Iterator[World]:
    """A world of its own, with so many readers in it."""
    with tempfile.TemporaryDirectory(prefix="bp-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers.init_postgres(folder)
        made = World(folder)
        try:
            made.start("postgres", "valkey", "sink")
            asyncio.run(populate(made))
            yield made
        finally:
            made.stop()
            time.sleep(0.3)  # the killed server's children see that it is gone


async def populate(world: World) -> None:
    """Migrate, import the readers, and bring the views up."""
    dsn = world.settings.database_url
    await migrate(dsn)
    vault = Vault(world.settings.vault_keys)
    connection = await asyncpg.connect(dsn)
    finder = await vault.finder(connection)
    await connection.close()
    async with Committer(dsn, REGISTRY) as committer:
        people = [new_person(vault, finder, f"reader{n}@example.com") for n in range(READERS)]
        for start in range(0, READERS, 100):
            rows = [Imported(person, "sealed proof") for person in people[start : start + 100]]
            await committer.submit(ImportSubscribers(rows, "op"))
    await catch_up_all(dsn)


async def plan(world: World) -> int:
    """Plan another issue for all readers."""
    dsn = world.settings.database_url
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    schedule = schedule_run.schedule_of(world.settings.newsletter)
    sent = await schedule_run.send_now(connection, dsn, schedule, now(), "op", extra=True)
    await connection.close()
    return sent[0].issue.number


async def ask(world: World, number: int) -> tuple[dict[str, int], dict[str, str], int]:
    """Give an issue's accounts, each reader's state, and how many were planned, all at one moment."""
    connection = await asyncpg.connect(world.settings.database_url, timeout=5)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            accounts = await ledger.accounts(connection, number)
            rows = await connection.fetch("select reader, state from newsletter.mails where issue = $1", number)
            planned = await connection.fetchval("select planned from newsletter.issues where number = $1", number)
        return accounts, {row["reader"]: row["state"] for row in rows}, planned
    finally:
        await connection.close()


def test_one_mail_each_or_uncertain_whatever_is_killed(world: World) -> None:
    """Two workers, random kills, several issues: no reader gets two mails, none is marked sent that wasn't."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for round_ in range(ROUNDS):
        world.start()
        number = asyncio.run(plan(world))
        for _ in range(chance.randint(1, 3)):
            time.sleep(chance.uniform(0.1, 1.5))
            victim = chance.choice(list(world.starts))
            world.kill(victim)
            time.sleep(chance.uniform(0, 0.5))
            world.start()
        assert_one_each(world, number, f"seed {seed}, round {round_}")


def assert_one_each(world: World, number: int, context: str) -> None:
    """Wait until the issue has nothing left to do, then compare the ledger with what the sink kept."""
    deadline = time.monotonic() + 100
    while True:
        world.start()
        accounts, states, planned = asyncio.run(ask(world, number))
        assert sum(accounts.values()) == planned == READERS, (context, accounts)
        if not (accounts["pending"] or accounts["attempting"] or accounts["deferred"]):
            break
        assert time.monotonic() < deadline, (context, accounts, (world.folder / "output").read_text()[-3000:])
        time.sleep(0.3)
    got = Counter(
        line.split("<issue-")[1].split(".")[1].split("@")[0]
        for line in world.kept.read_text().splitlines()
        if f"<issue-{number}." in line
    )
    assert set(states.values()) <= {"accepted", "uncertain"}, (context, accounts)
    for reader, state in states.items():
        assert got[reader] == 1 if state == "accepted" else got[reader] <= 1, (context, reader, state, got[reader])
    assert set(got) <= set(states), context
    assert accounts["uncertain"] <= 3 * MOST_UNCERTAIN, (context, accounts)  # up to three kills a round
