"""Whoever changes the log of a site behind its back, with all rights to its database, is found by everybody, and what he
changed is named: by `verify proof`, by the signer, by `verify.py` and by a verifier in Go.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from projections.engine.projection import create_missing
from projections.registry import PROJECTIONS
from services.proof import verify
from services.proof.memory import Memory
from services.proof.signer import Keys, Signing
from tests.support import calling, go, servers
from tests.support.live_log import living
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.runners import catch_up
from tests.support.settings import environ
from tests.support.shell import Shell
from tests.support.signing import VIEW, sign
from tests.support.stem import forked
from tests.support.tampers import (
    EVENTS,
    SHORTER,
    TILES,
    Tamper,
    change_a_checkpoint,
    delete_the_last,
    disarm,
    flip_a_bit_of_a_full_tile,
)

Said = tuple[int, str]
DATABASE = "before_it_was_tampered_with"


class Past(NamedTuple):
    """A site as it was: its database, what a reader kept of it, and its second memory."""

    database: str
    vkey: str
    older: Path
    cache: Path
    checkpoint: Path
    verifier: Path
    valkey_url: str


def said(*command: str | Path, folder: Path) -> Said:
    """Run a program; return its status and what it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def past(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Past]:
    """A site that was checked once, and then stopped."""
    folder = tmp_path_factory.mktemp("past")
    verifier = go.build("verifier", folder)
    older, cache = folder / "older.note", folder / "cache"
    with living(postgres, template, valkey_url, folder, DATABASE) as live:
        older.write_text(live.note())
        vkey = live.vkey()
        assert check(live.url, cache, folder)[0] == 0
    yield Past(DATABASE, vkey, older, cache, folder / "checkpoint", verifier, valkey_url)


def check(url: str, cache: Path, folder: Path, *words: str | Path) -> Said:
    """Run `verify.py` on a site, with what an earlier run kept."""
    return said(sys.executable, "-I", verify.__file__, url, "--cache", cache, *words, folder=folder)


@asynccontextmanager
async def changed(postgres: servers.Postgres, past: Past, tamper: Tamper) -> AsyncIterator[tuple[str, Any, int]]:
    """Copy the site's database and tamper with it; give the copy's DSN, a connection, and the position that was changed."""
    async with servers.database(postgres, past.database) as dsn:
        connection = await asyncpg.connect(dsn)
        await disarm(connection)
        position = await tamper(connection)
        yield dsn, connection, position
        await connection.close()


@asynccontextmanager
async def served(dsn: str, past: Past, folder: Path) -> AsyncIterator[str]:
    """Serve a database; what was tampered with keeps the site from being ready, and not from answering."""
    port = free_port()
    environment = environ(dsn, past.valkey_url, BALLOTPRESS_PACK_DIR=str(folder / "packs"))
    url = f"http://127.0.0.1:{port}"
    with forked("api", "--port", str(port), environ=environment, output=folder / "output"):
        assert wait_for(lambda: answers(url)), (folder / "output").read_text()[-2000:]
        yield url


def answers(url: str) -> bool:
    """Return whether a site serves its checkpoint."""
    try:
        return calling.get(f"{url}/log/1/checkpoint").status_code == 200
    except httpx.TransportError:
        return False


def everybody(url: str, past: Past, folder: Path) -> dict[str, Said]:
    """Let a reader who came before, one who comes for the first time, and Go look at a site: at once, as they may wait long."""
    kept, elsewhere = folder / "kept", folder / "elsewhere"
    elsewhere.mkdir()
    moved = next(past.cache.iterdir()).name
    shutil.copytree(past.cache / moved, kept / url.removeprefix("http://").replace(":", "_"))
    with ThreadPoolExecutor() as pool:
        looking = {
            "a reader who came before": pool.submit(check, url, kept, folder),
            "a reader of an old note": pool.submit(
                check, url, elsewhere / "cache", elsewhere, "--key", past.vkey, "--old", past.older
            ),
            "go": pool.submit(said, past.verifier, url, past.vkey, past.older, folder=folder),
        }
    return {who: told.result() for who, told in looking.items()}


async def refold(connection: Any, dsn: str) -> None:
    """Make the tiles anew from the log as it is now, as whoever tampers would."""
    await connection.execute(f"drop schema {VIEW.schema} cascade")
    await create_missing(connection, PROJECTIONS)
    await catch_up(dsn, VIEW)


async def signs(dsn: str, checkpoint: Path) -> bool:
    """Let the signer look once; return False if it refuses."""
    return await sign(Signing(dsn, Keys((b"k" * 32,)), "http://127.0.0.1:8000", Memory(checkpoint)), dsn)


def names(refusal: str, position: int) -> bool:
    """Return whether what the signer says names a position, by itself or in a range; any will do where none was changed."""
    spans = re.findall(r"positions? (?:from )?(\d+)(?: to (\d+))?", refusal)
    return any(int(low) <= position <= int(high or low) for low, high in spans) or not position


@pytest.mark.parametrize("tamper", [*EVENTS, *TILES, change_a_checkpoint], ids=lambda tamper: tamper.__name__)
async def test_everybody_finds_and_names_it(postgres: servers.Postgres, past: Past, tmp_path: Path, tamper: Tamper) -> None:
    """With the triggers off, and nothing else done about it: whoever checks says where."""
    async with changed(postgres, past, tamper) as (dsn, connection, position):
        told = Shell(tmp_path, dsn, past.valkey_url)("verify", "proof")
        assert told.status == (0 if tamper is change_a_checkpoint else 1), (
            told.err
        )  # what was signed is the signer's to look at
        async with served(dsn, past, tmp_path) as url:
            found = everybody(url, past, tmp_path)
        for who, (status, heard) in found.items():
            lost = tamper in SHORTER  # the site doesn't serve what it published: that proves nothing, and is told
            assert status == 2 or (lost and status == 1), (who, heard)
            assert status == 1 or str(position or "signature") in heard, (who, heard)
        if tamper in EVENTS:
            await refold(connection, dsn)
        last = verify.read_note(past.checkpoint.read_text()).size  # where the log is shorter, that is gone
        memory = Path(shutil.copy(past.checkpoint, tmp_path / "checkpoint"))
        # It reads the tiles that its signature needs; the others are the drift watch's, and `verify proof` named it above.
        assert await signs(dsn, memory) is (tamper is flip_a_bit_of_a_full_tile)
        refusal = await connection.fetchval("select what from proof.refusal")
        assert tamper is flip_a_bit_of_a_full_tile or names(refusal, last if tamper in SHORTER else position), refusal


@pytest.mark.parametrize("tamper", EVENTS, ids=lambda tamper: tamper.__name__)
async def test_rewritten_rehashed_and_signed_anew_with_the_right_key(
    postgres: servers.Postgres, past: Past, tmp_path: Path, tamper: Tamper
) -> None:
    """The site has no memory left that contradicts it; its readers do, and hold the evidence."""
    async with changed(postgres, past, tamper) as (dsn, connection, position):
        await refold(connection, dsn)
        await connection.execute("truncate proof.log, proof.checkpoints cascade")
        assert await signs(dsn, tmp_path / "checkpoint")
        async with served(dsn, past, tmp_path) as url:
            found = everybody(url, past, tmp_path)
    for who, (status, told) in found.items():
        assert status == 2, (who, told)
        contradicts = ("rewritten", "shrunk", "two trees of", "don't make the root")
        assert any(word in told for word in contradicts), (who, told)
    assert f"Entry {position} was" in found["a reader who came before"][1] or tamper is delete_the_last
    assert (tmp_path / "evidence" / "older.note").read_text() == past.older.read_text()
