"""A backup restored to any moment around a send: nobody gets the issue twice, and nobody is unaccounted for.

BALLOTPRESS_RESTORE_ROUNDS says to how many moments, to half as many of a site behind a replica; each is tried with the marks
that survived, or by the relay's record alone.
"""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from msgspec.structs import replace

from emails.relay_log import read_relay_log
from events.commands.imports import Imported, ImportSubscribers
from events.log.vault import Vault
from services.backup.places import backups_in
from services.backup.restoring import Target, hold_mails, recovered
from services.backup.writing import Wanted, write_backup
from services.clock import now
from services.embedded.home import opened_home
from services.newsletter import issues, ledger
from services.newsletter.mailroom import Mailroom
from services.newsletter.relayed import settle
from services.newsletter.schedule import schedule_of
from services.newsletter.sent_marks import FOLDER
from services.newsletter.subscribers import new_person
from services.settings import Settings
from tests.support.log import patient
from tests.support.private_site import Site
from tests.support.processes import PATIENCE
from tests.support.runners import catch_up_all
from tests.support.settings import environ
from tests.support.sink import Sink
from tests.support.standbys import both_ways
from tests.support.stem import forked

ROUNDS = int(os.environ.get("BALLOTPRESS_RESTORE_ROUNDS", "2"))
READERS = 150
SENT = 90
"""About so many mails go out before the machine is gone."""
WAITED_FOR = "select string_agg(setting, ', ') from pg_file_settings where name = 'synchronous_standby_names'"
"""The standbys that commits will wait for, by what the files say that a restored database takes along."""


class World:
    """What readers have got by now, whatever any database says; the relay writes down the Message-IDs, as its log would."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sink = Sink(file)
        self.sink.seconds = 0.02

    def got(self) -> Counter[str]:
        """Count the issues that each reader got."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return Counter(line.split(" ")[0] for line in lines if "<issue-" in line)


async def subscribe(live: Site) -> None:
    """Import the readers, and bring the views up."""
    vault = Vault(live.settings.vault_keys)
    finder = await vault.finder(live.database)  # type: ignore[arg-type]
    async with patient(live.settings.database_url) as committer:
        people = [new_person(vault, finder, f"reader{n}@example.com") for n in range(READERS)]
        await committer.submit(ImportSubscribers([Imported(person, "sealed proof") for person in people], "op"))
    await catch_up_all(live.settings.database_url)


@asynccontextmanager
async def working(given: Settings, world: World) -> AsyncIterator[None]:
    """Run a worker's mailroom for a while, against the world's relay."""
    port = await world.sink.start()
    mailroom = Mailroom(
        replace(given, smtp_url=f"smtp://127.0.0.1:{port}", newsletter=replace(given.newsletter, connections=3))
    )
    await mailroom.open()
    try:
        yield
    finally:
        await mailroom.close()
        await world.sink.stop()


async def send_now(given: Settings, database: "asyncpg.Pool[Any]") -> int:
    """Plan the running period's issue; give its number."""
    sent = await issues.send_now(database, given.database_url, schedule_of(given.newsletter), now(), "op")
    return sent[0].issue.number


async def until_done(database: "asyncpg.Pool[Any]", number: int) -> dict[str, int]:
    """Wait until an issue has nothing left to send; give its accounts, which must add up."""
    async with asyncio.timeout(PATIENCE):
        while True:
            counts = await ledger.accounts(database, number)
            planned = await database.fetchval("select planned from newsletter.issues where number = $1", number)
            assert sum(counts.values()) == planned
            if not (counts["pending"] or counts["attempting"] or counts["deferred"]):
                return counts
            await asyncio.sleep(0.1)


async def lose_the_machine(live: Site, world: World) -> tuple[datetime, datetime]:
    """Let a worker send about half of an issue and kill it then; give the times before it was planned and after its end."""
    began = now()
    port = await world.sink.start()
    given = live.settings
    more = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "BALLOTPRESS_SMTP_CONNECTIONS": "3", "BALLOTPRESS_BASE_URL": given.base_url}
    with forked("worker", environ=environ(given.database_url, given.redis_url, given.home, **more)) as worker:
        await send_now(given, live.database)
        await until(lambda: len(world.got()) >= SENT)
        worker.kill()
    await until(lambda: world.sink.open_connections == 0)
    await world.sink.stop()
    ended: datetime = await live.database.fetchval("select now()")
    await live.database.execute("update newsletter.schedule set paused_at = paused_at")  # a commit after the last moment
    await live.archived()
    return began, ended


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():
            await asyncio.sleep(0.01)


@both_ways("live")
async def test_restored_to_each_moment_around_a_send(live: Site, folder: Path) -> None:
    """Before it was compiled, between any two chunks, after the last: each reader has it once in the end."""
    world = World(folder / "kept")
    await subscribe(live)
    await write_backup(live.settings, Wanted(live.backups))
    began, ended = await lose_the_machine(live, world)
    rounds = max(1, ROUNDS // 2) if live.is_replicated else ROUNDS
    moments = [began + (ended - began) * (n + 0.5) / rounds for n in range(rounds)]
    for n, moment in enumerate(moments):
        place = folder / f"round-{n}"
        place.mkdir()
        shutil.copy(world.file, place / "kept")
        await restored(live, World(place / "kept"), place, moment, has_marks=n % 2 == 0)


async def restored(live: Site, world: World, folder: Path, moment: datetime, *, has_marks: bool) -> None:
    """Restore to a moment, let an operator and a worker do what the walk says, and count what everybody got."""
    context = f"{moment}, marks {has_marks}"
    marks = folder / FOLDER
    if has_marks:
        shutil.copytree(live.settings.home / FOLDER, marks)
    (backup,) = backups_in(live.backups)
    async with opened_home(folder / "home", lambda line: None) as supervisor:
        target = Target(time=max(moment, backup.manifest.finished_at + timedelta(milliseconds=1)))
        async with recovered(supervisor, live.backups, backup, target, None) as url:
            await hold_mails(url)
            newsletter = replace(live.settings.newsletter, marks_folder=marks, lease_seconds=1)
            given = replace(live.settings, database_url=url, home=folder / "home", newsletter=newsletter)
            async with asyncpg.create_pool(url, min_size=0, max_size=6, server_settings={"timezone": "UTC"}) as database:
                assert await database.fetchval(WAITED_FOR) == ""
                await finish(given, database, world, marks, has_marks=has_marks)
    got = world.got()
    assert len(got) == READERS and set(got.values()) == {1}, (context, Counter(got.values()))


async def finish(given: Settings, database: "asyncpg.Pool[Any]", world: World, marks: Path, *, has_marks: bool) -> None:
    """Start the site held, resume, settle what is in doubt by the relay's record, and see that the issue is finished.

    Without marks the relay's record comes first.
    """
    before = world.got()
    async with working(given, world):
        await database.execute("select pg_sleep(1.2)")  # a lease of the lost worker runs out
        if not has_marks:
            await settle(database, marks, 1, read_relay_log([world.file], now()), now())
        assert world.got() == before, "something was sent while the newsletter was held"
        await issues.set_paused(database, "ed", paused=False)
        number = await send_now(given, database)  # also plans one that was compiled
        await until_done(database, number)
        assert max(world.got().values()) == 1
        await settle(database, marks, number, read_relay_log([world.file], now()), now())
        await ledger.resolve(database, number, "resend")  # the record is whole: what isn't in it was never received
        counts = await until_done(database, number)
    assert counts["accepted"] == READERS, counts
