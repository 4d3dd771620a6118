"""`ballotpress events parts|archive|unarchive`: what an operator sees, and that a kill at any moment loses nothing.

BALLOTPRESS_KILL_ROUNDS says how many runs are killed (default 4), half as many behind a replica.
"""

import asyncio
import contextlib
import functools
import os
import random
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events import ballots
from events.ballots import Choice
from events.commands.ballots import CastVote
from events.log.archive import state
from events.log.archive.present import Present
from events.log.committer import Committer
from events.log.postgres import FAILED
from events.log.store import READ_LASTS, Log
from events.registry import REGISTRY
from projections.registry import PROJECTIONS, named
from tests.support.archiving import ALL, SIZE, SLUGS, VOTERS, archive, of_voters
from tests.support.catalogs import new_id
from tests.support.deeds import deeds_of
from tests.support.processes import PATIENCE
from tests.support.runners import catch_up_all
from tests.support.shell import COMMAND, Ran, Shell
from tests.support.store import BUCKET, KEYS, Store
from tests.support.survival import BOTH_WAYS, Place

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "4"))


def files_in(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return sorted(folder.iterdir())


async def test_an_operator_archives_and_brings_back(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """What is done is said, and `parts` shows it: sizes, states, and the file."""
    rows, folder = await connection.fetch(ALL), tmp_path / "kept"
    listed = shell("events", "parts", status=0).out.splitlines()
    assert listed[0].startswith("0: 1 to 200, ") and listed[2].startswith("2: 401 to ") and "not full yet" in listed[2]
    done = shell("events", "archive", "0", "--to", str(folder), "--young", status=0)
    assert done.out.startswith(f"Archived part 0 (1 to 200): {folder}/events-000000000001-000000000200-") and done.err == ""
    assert f"packed: {folder}/events-" in shell("events", "parts", status=0).out
    shell("events", "archive", "0", "--to", str(folder), "--young").failed("in the archive already")
    back = shell("events", "unarchive", "0", status=0)
    assert back.out.startswith("Brought part 0 back from") and await connection.fetch(ALL) == rows
    assert "written: " in shell("events", "parts").out
    assert await deeds_of(connection, "shell") == ["unarchived-part", "archived-part"]
    shell("events", "unarchive", "0").failed("isn't in the archive")
    assert shell("events", "archive", "0", "--to", str(folder), "--young", "--json").json()["state"] == "packed"


async def test_a_young_part_needs_a_word_more(shell: Shell, tmp_path: Path) -> None:
    """A part of the last weeks isn't archived by mistake."""
    shell("events", "archive", "0", "--to", str(tmp_path / "kept")).failed("45 days", "--young")


async def test_a_webhook_that_is_off_is_named(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """Who keeps a part from being archived is said, a webhook that is off too, and what to do about it."""
    await connection.execute(
        "insert into webhooks.subscriptions (id, url, kinds, note, made_by, position, is_on, off_reason)"
        " values ('w1', 'https://x.example', '{}', '', 'shell', 150, false, 'moved')"
    )
    archive = ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young")
    words = ("The webhook w1, which is switched off, has come to position 150", "webhooks on w1", "webhooks remove w1")
    shell(*archive).failed(*words)
    await connection.execute("update webhooks.subscriptions set is_on = true, off_reason = null")
    shell(*archive).failed("The webhook w1 has come to position 150", "webhooks show w1")
    await connection.execute("update webhooks.subscriptions set position = 200")
    shell(*archive, status=0)


async def test_votes_that_no_scan_has_seen_keep_their_part(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """A site whose first scan is still to come has all to search for bought votes; one without votes has nothing."""
    await connection.execute("update integrity.scans set scanned_to = null")
    archive = ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young")
    shell(*archive).failed("The search for bought votes has come to position 0")
    await connection.execute(named("delete from {integrity}.ticks"))
    shell(*archive, status=0)


async def test_the_edition_that_is_furthest_behind_keeps_its_part(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """The next monthly issue tells of what came since the last, whatever weekly ones came since, or monthly ones to nobody."""
    await connection.execute(
        "insert into newsletter.issues (number, edition, due_at, from_position, to_position, period_from, compiled_at, content,"
        " content_hash, state) select n, edition, now() + n * interval '1 day', 0, place, now(), now(), '{}', '', state"
        " from (values (1, 'monthly', 150, 'planned'), (2, 'weekly', 400, 'planned'), (3, 'monthly', 400, 'cancelled'))"
        " i(n, edition, place, state)"
    )
    archiving = ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young")
    shell(*archiving).failed("The newsletter has come to position 150", "wait until the next issue has told")
    await connection.execute("update newsletter.issues set state = 'planned'")
    shell(*archiving, status=0)


async def test_files_are_checked_on_demand(shell: Shell, tmp_path: Path) -> None:
    """`parts --check` reads every file, names the one that is spoiled, and ends with 1."""
    for part in ("0", "1"):
        shell("events", "archive", part, "--to", str(tmp_path / "kept"), "--young", status=0)
    assert shell("events", "parts", "--check", status=0).out.endswith("\nRead 2 files of 3 parts whole: none wrong\n")
    spoiled = files_in(tmp_path / "kept")[1]
    spoiled.write_bytes(spoiled.read_bytes()[:-1])
    ran = shell("events", "parts", "--check", status=1)
    assert f"WRONG: part 1: {spoiled} can't be read" in ran.out and "WRONG: part 0" not in ran.out
    assert ran.out.endswith("\nRead 2 files of 3 parts whole: 1 wrong\n")
    mend = f"events archive 1 --to {tmp_path / 'kept'}"
    assert f"`ballotpress {mend}`" in ran.out
    shell(*mend.split(), status=0)
    shell("events", "parts", "--check", status=0)


async def test_status_looks_whether_the_files_are_there(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """One that is gone, and one that is shorter than it was, are told of before a rebuild needs them, with what mends them."""
    for part in ("0", "1"):
        shell("events", "archive", part, "--to", str(tmp_path / "kept"), "--young", status=0)
    assert "can't be used" not in shell("status").out
    first, second = files_in(tmp_path / "kept")
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    said = shell("status", status=1).out
    assert f"! The file of part 0 of the log can't be used: {first} isn't there" in said
    assert re.search(rf"! The file of part 1 .*: {second} has [0-9,]+ bytes, where [0-9,]+ were written\n", said)
    for part in ("0", "1"):
        assert f"`ballotpress events archive {part} --to {tmp_path / 'kept'}` writes it again" in said
        shell("events", "archive", part, "--to", str(tmp_path / "kept"), status=0)
    assert "can't be used" not in shell("status").out


async def test_who_keeps_a_part_from_being_packed_is_named(shell: Shell, dsn: str, tmp_path: Path) -> None:
    """Which process reads it, for which views, and since when."""
    async with Present(dsn, ["cards", "hours"]) as present, present.reader("cards") as reader:
        await reader.has(0, SIZE)
        refused = await asyncio.to_thread(shell, "events", "archive", "0", "--to", str(tmp_path), "--young")
    assert re.search(
        r"Process \d+ \(ballotpress-archive of cards, hours\) has read the log since \d{4}-.* UTC, for a reb", refused.err
    )


async def test_a_disk_that_is_full_or_a_folder_that_isnt_there_is_one_line(shell: Shell, tmp_path: Path) -> None:
    """Where the file can't be made, the folder is named, and nothing has changed."""
    archive = ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young", "--spool")
    shell(*archive, str(tmp_path / "gone")).failed(f"{tmp_path / 'gone'} can't be written: No such file", "--spool")
    (tmp_path / "spool").mkdir()
    words = ("sh", "-c", f"ulimit -f 4; exec {COMMAND} {' '.join(archive)} {tmp_path / 'spool'}")
    run = functools.partial(subprocess.run, words, env=shell.environ, capture_output=True, timeout=PATIENCE)
    Ran(await asyncio.to_thread(run)).failed("can't be made in", "File too large", "--spool")
    assert not (tmp_path / "kept").exists() and files_in(tmp_path / "spool") == []


async def test_a_store_that_is_away_is_one_line(shell: Shell, moto: Store) -> None:
    """Wrong keys, an unknown bucket and a store that is away each are one line, which tells no key."""
    away = {**moto.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    for place, environ, words in (
        (f"s3://{BUCKET}/x", away, "no store answers at AWS_ENDPOINT_URL"),
        ("s3://nowhere", moto.environ, "no such bucket"),
    ):
        ran = shell("events", "archive", "0", "--to", place, "--young", **environ)
        ran.failed("can't be", words)
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in ran.err and KEYS["AWS_ACCESS_KEY_ID"] not in ran.err
    shell("events", "archive", "0", "--to", "s3://KEY:SECRET@log/x", "--young").failed("keys least of all")
    assert shell("events", "archive", "0", "--to", f"s3://{BUCKET}/x", "--young", status=0, **moto.environ).err == ""


async def test_views_are_rebuilt_and_verified_from_the_archive(shell: Shell, connection: Any, tmp_path: Path) -> None:
    """With all full parts archived, every view is compared and built anew, row by row the same; then they are packed again."""
    for part in (0, 1):
        await archive(connection, tmp_path, part)
    verified = shell("verify", "--jobs", "2", "--json", status=0).json()
    assert len(verified["verified"]) == len(PROJECTIONS) and not any(one["diff"]["tables"] for one in verified["verified"])
    replayed = shell("replay", "--pause", "0", "--json", status=0).json()
    assert [one["projection"] for one in replayed["replayed"]] and "differ" not in str(replayed)
    assert [one.state for one in await state.read_all(connection)] == ["packed", "packed"]


async def test_a_rebuild_without_its_files_says_so(shell: Shell, tmp_path: Path) -> None:
    """Where a file is gone, nothing is rebuilt by half."""
    shell("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young", status=0)
    (file,) = files_in(tmp_path / "kept")
    file.unlink()
    for words in (("verify",), ("replay", "cards"), ("events", "export", str(tmp_path / "out"))):
        shell(*words).failed(f"{file} isn't there: put it back")
    assert files_in(tmp_path) == [tmp_path / "kept"]


@asynccontextmanager
async def voting(dsn: str) -> AsyncIterator[Mapping[tuple[str, str], Choice]]:
    """Let voters, of which some have archived ballots, vote until the block ends; what was acknowledged is yielded."""
    acknowledged: dict[tuple[str, str], Choice] = {}
    some = random.Random(7)
    is_over = asyncio.Event()

    async def go_on(committer: Committer) -> None:
        while not is_over.is_set():
            voter, slug = some.choice([*VOTERS, new_id()]), some.choice(SLUGS)
            choice: Choice = some.choice(("ship", "skip"))
            with contextlib.suppress(*FAILED):
                receipt = await committer.submit(CastVote(voter, slug, choice))
                acknowledged[voter, receipt.value.tool] = choice
            await asyncio.sleep(0.02)

    async with Committer(dsn, REGISTRY, patience=60) as committer:
        task = asyncio.create_task(go_on(committer))
        try:
            yield acknowledged
        finally:
            is_over.set()  # a vote that is cut off may have been recorded, with nobody to know
            await task


@pytest.mark.timeout(300 + 60 * ROUNDS)
@BOTH_WAYS
async def test_a_kill_at_any_moment_loses_nothing(
    place: Place, dsn: str, shell: Shell, connection: Any, tmp_path: Path
) -> None:
    """However often archiving, loading and bringing back are killed while people vote: every event stays, and a run ends it."""
    some, before = random.Random(os.environ.get("BALLOTPRESS_SEED", "1")), await of_voters(connection)
    commands = (
        ("events", "archive", "0", "--to", str(tmp_path / "kept"), "--young"),
        ("verify", "cards"),
        ("events", "unarchive", "0"),
    )
    async with voting(dsn) as acknowledged:
        for number in range(ROUNDS // 2 if place.is_replicated else ROUNDS):
            words = commands[number % len(commands)]
            with shell.started(*words) as process:
                await asyncio.sleep(some.uniform(0.8, 2.5))
                process.kill()
            assert (await of_voters(connection))[: len(before)] == before
            if number % len(commands) < 2:
                await asyncio.to_thread(shell.process, *words)
    log = Log(await asyncpg.create_pool(dsn, min_size=1, max_size=1), REGISTRY)  # type: ignore[arg-type]
    for (voter, tool), choice in acknowledged.items():
        last = await log.last(ballots.stream(voter, tool))
        assert last is not None and getattr(last.event, "choice", None) == choice
    await log._pool.close()
    await catch_up_all(dsn)
    await asyncio.to_thread(shell.process, *commands[0])
    assert [one.state for one in await state.read_all(connection)] == ["packed"]
    assert await asyncio.to_thread(lambda: shell.process("verify").status) == 0
    assert (await of_voters(connection))[: len(before)] == before
    streams = [row["stream"] for row in before]
    lasts = {row["n"]: row["version"] for row in await connection.fetch(READ_LASTS, streams)}
    assert all(lasts[n] >= row["version"] for n, row in enumerate(before, 1))
    left = "select count(*) from pg_class where relname ~ '^events_0_(kept|gone|whole)$'"
    assert await connection.fetchval(left) == 0 and await connection.fetchval("select count(*) from log.events") > SIZE
