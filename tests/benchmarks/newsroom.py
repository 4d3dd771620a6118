"""A newsletter to measure: readers with keys, choices and bookmarks, tools with votes, and a real worker before a sink in C."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from events.commands.ballots import CastVote
from events.commands.bookmarks import SetBookmark
from events.commands.imports import Imported, ImportSubscribers
from events.commands.subscribers import JoinBookmarks
from events.log.command import Command
from events.log.committer import Committer
from events.log.vault import Vault
from services.clock import now
from services.newsletter import issues
from services.newsletter.preview import preview
from services.newsletter.schedule import schedule_of
from services.newsletter.subscribers import new_person
from services.settings import read_settings
from tests.benchmarks.world import committer, new_id
from tests.support.processes import COMMAND, started
from tests.support.runners import catch_up_all
from tests.support.settings import UNLIMITED, environ

CONNECTIONS = 10
LEASE_SECONDS = 5
VOTED_TOOLS = 20
VOTES_A_TOOL = 30
AT_ONCE = 500
CATEGORIES = [f"Category {n}" for n in range(10)]
"""Commands that wait for their commits together."""

WAITING = """
select exists (select from newsletter.mails where issue = $1 and state in ('pending', 'attempting', 'deferred'))
"""
# From the end of the first chunk to that of the last, without the first: the worker's start and the doorbell are left out.
RATE = """
select count(*) filter (where m.settled_at > f.first) / extract(epoch from f.last - f.first)::float8
from newsletter.mails m
cross join (select min(settled_at) as first, max(settled_at) as last from newsletter.mails where issue = $1) f
where m.issue = $1 and m.state = 'accepted' group by f.first, f.last
"""
STATES = "select state, count(*) as mails from newsletter.mails where issue = $1 group by state"


class MeasuredNewsletter:
    """A database whose issues can be planned and sent, and the environment of the worker that sends them."""

    def __init__(self, dsn: str, valkey: str, sink: int) -> None:
        self.dsn = dsn
        self.environ = {
            **environ(dsn, valkey, **UNLIMITED),
            "SMTP_URL": f"smtp://127.0.0.1:{sink}",
            "BALLOTPRESS_BASE_URL": "https://verdicts.example.com",
            "BALLOTPRESS_SMTP_CONNECTIONS": str(CONNECTIONS),
            "BALLOTPRESS_MAIL_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        self.settings = read_settings(self.environ)

    def worker(self, **more: str) -> "AbstractContextManager[Any]":
        """Run a worker for a while."""
        return started((*COMMAND, "worker"), {**self.environ, **more})

    async def fill(self, readers: int) -> list[str]:
        """Vote, import so many readers, let every other one bookmark two tools, bring the views up; give the readers."""
        vault = Vault(self.settings.vault_keys)
        async with self.database() as connection:
            finder = await vault.finder(connection)
        people = [new_person(vault, finder, f"reader{n}@example.com") for n in range(readers)]
        imported = [
            Imported(person, "sealed proof", (CATEGORIES[n % 10],) if n % 4 == 0 else ()) for n, person in enumerate(people)
        ]
        async with committer(self.dsn) as log:
            for start in range(0, readers, 100):
                await log.submit(ImportSubscribers(imported[start : start + 100], "bench", CATEGORIES))
            await _submit(log, [CastVote(new_id(), f"tool-{n % VOTED_TOOLS}", "skip" if n % 7 < n % 3 else "ship")
                                for n in range(VOTED_TOOLS * VOTES_A_TOOL)])  # fmt: skip
            visitors = {person.id: new_id() for person in people[::2]}
            await _submit(log, [SetBookmark(visitor, f"tool-{(n + more) % VOTED_TOOLS}", True)
                                for n, visitor in enumerate(visitors.values()) for more in (0, 7)])  # fmt: skip
            await _submit(log, [JoinBookmarks(reader, visitor) for reader, visitor in visitors.items()])
        await catch_up_all(self.dsn)
        return [person.id for person in people]

    async def message(self, readers: Sequence[str]) -> bytes:
        """Write the running issue to some readers; give the mail of median size."""
        written = [(await preview(self.settings, "weekly", reader)).message for reader in readers]
        return sorted(written, key=len)[len(written) // 2]

    async def plan(self) -> int:
        """Plan another issue, which says the same as the one before."""
        schedule = schedule_of(self.settings.newsletter)
        async with self.database() as connection:
            await connection.execute("update newsletter.issues set state = 'cancelled' where state = 'settled'")
            sent = await issues.send_now(connection, self.dsn, schedule, now(), "bench", extra=True)
        return sent[0].issue.number

    async def sent(self, number: int) -> float:
        """Wait until an issue has nothing left to do, every mail accepted; give the mails a second."""
        async with self.database() as connection:
            await until(lambda: connection.fetchval("select not " + WAITING.strip().removeprefix("select "), number))
            states = await connection.fetch(STATES, number)
            assert {row["state"] for row in states} <= {"accepted", "excluded"}, states
            rate: float = await connection.fetchval(RATE, number)
        return rate

    @asynccontextmanager
    async def database(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """Connect for a while."""
        connection = await asyncpg.connect(self.dsn, server_settings={"timezone": "UTC"})
        try:
            yield connection
        finally:
            await connection.close()


async def _submit(log: Committer, commands: "list[Command[Any]]") -> None:
    for start in range(0, len(commands), AT_ONCE):
        await asyncio.gather(*(log.submit(command) for command in commands[start : start + AT_ONCE]))


async def until(look: Callable[[], Awaitable[bool]], seconds: float = 300) -> None:
    """Look every few milliseconds until it is so."""
    deadline = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def peak_megabytes(pid: int) -> float:
    """Give the most memory that a process has had so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
