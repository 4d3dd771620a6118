"""What the measurements run on: a durable PostgreSQL, databases with tools, voters to vote."""

import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from events.catalog import ToolAdded
from events.log import ids
from events.log.command import Command, Decision, Seen
from events.log.committer import Committer
from events.log.event import Event
from events.registry import REGISTRY
from services.migrate import migrate
from tests.support import servers
from tests.support.log import record_at

# As `up` runs it: fsync and synchronous_commit are on.
SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "random_page_cost": "1.1",
}


class AddTools(Command[None], frozen=True):
    """Add tools named tool-0, tool-1, …"""

    count: int

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide."""
        events = []
        for n in range(self.count):
            tool = new_id()
            added = ToolAdded(
                tool=tool, slug=f"tool-{n}", name=f"Tool {n}", tagline="Does it", description="A tool of the benchmark. " * 20,
                category=f"Category {n % 10}", pricing_tier="free", pricing_label="Free", best_for="Measuring", url=None,
            )  # fmt: skip
            events.append((ids.stream_of(tool), added))
        return Decision(events=events, value=None)


def new_id() -> str:
    """Make an id of now."""
    return ids.new_id(time.time_ns() // 1_000_000, os.urandom(10))


@contextmanager
def durable_postgres() -> Iterator[servers.Postgres]:
    """Run a PostgreSQL that loses nothing."""
    with servers.postgres(**SETTINGS) as server:
        yield server


async def new_database(server: servers.Postgres, name: str, tools: int = 1000) -> str:
    """Make a migrated database with tools; give its DSN."""
    await servers.execute(server.dsn(), f"create database {name}")
    await migrate(server.dsn(name))
    async with committer(server.dsn(name)) as running:
        await running.submit(AddTools(tools))
    return server.dsn(name)


@asynccontextmanager
async def committer(dsn: str, **options: Any) -> AsyncIterator[Committer]:
    """Run a committer."""
    async with Committer(dsn, REGISTRY, **options) as running:
        yield running


async def record(dsn: str, history: Sequence[tuple[datetime, UUID, Event]]) -> None:
    """Write events into a new log at their times; commands see the tools that are listed by them."""
    connection = await asyncpg.connect(dsn)
    for at in range(0, len(history), 10_000):
        await record_at(connection, history[at : at + 10_000])
    listing = sum(isinstance(event, REGISTRY.listing.types) for _, _, event in history)
    await connection.execute("update log.head set listing_position = $1", listing)
    await connection.execute("vacuum analyze log.events")
    await connection.close()


def pgbench(server: servers.Postgres, database: str, script: str, seconds: float) -> float:
    """Run `pgbench -c 32 -j 2 -M prepared` with a script; give transactions a second."""
    path = server.folder / "script.sql"
    path.write_text(script)
    command: list[str | Path] = [
        servers.postgres_programs() / "pgbench", "-h", server.folder, "-U", "postgres", "-n", "-c", "32", "-j", "2",
        "-M", "prepared", "-T", str(int(seconds)), "-f", path, database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return float(next(line.split()[2] for line in done.stdout.splitlines() if line.startswith("tps")))
