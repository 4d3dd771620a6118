"""A running site's public log and whoever holds it to its word, joined: a witness in Go, exports, restarts and new keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from services.proof import verify
from services.proof.checkpoint import sign
from services.proof.note import Signer
from services.proof.packs import ENTRIES
from services.proof.signer import Keys
from tests.support import calling, go, go_witness
from tests.support.http import serving
from tests.support.live_log import Live, stranger
from tests.support.log import go_back, take_views_back
from tests.support.processes import wait_for
from tests.support.settings import LOG_KEY, UNLIMITED
from tests.support.shell import Shell
from tests.support.signing import SEED
from tests.support.stem import forked
from tests.support.tampers import disarm

pytestmark = pytest.mark.postgres

HOST = "127.0.0.1:8000"
ORIGIN = f"{HOST}/log/1"
LOST = 3
VKEY = Keys((SEED,)).vkeys(ORIGIN)[0]


class Ground(NamedTuple):
    """Where a site of the test's own lives: its database, its folder, and a shell on both."""

    dsn: str
    valkey_url: str
    folder: Path
    shell: Shell

    @contextmanager
    def serving(self, **more: str) -> Iterator[Live]:
        """Run the site."""
        with serving(self.dsn, self.valkey_url, self.folder / "output", **more) as site:
            yield Live(site, str(site.client.base_url).rstrip("/"), self.folder, ("alpha", "beta"), [])

    @contextmanager
    def unready(self, port: int | None) -> Iterator[None]:
        """Run the site at a port, though it isn't ready."""
        environment, output = self.shell.environ | UNLIMITED, self.folder / "output"
        with (
            forked("api", "--port", str(port), environ=environment, output=output),
            forked("projector", environ=environment, output=output),
        ):
            yield


@pytest.fixture
def ground(dsn: str, valkey_url: str, tmp_path: Path) -> Ground:
    """A site that doesn't run yet."""
    shell = Shell(tmp_path / "home", dsn, valkey_url)
    shell.environ |= {"BALLOTPRESS_LOG_KEY": LOG_KEY, "BALLOTPRESS_CHECKPOINT_FILE": str(tmp_path / "checkpoint")}
    return Ground(dsn, valkey_url, tmp_path, shell)


def votes(live: Live, count: int) -> str:
    """Let some people vote; return the checkpoint that covers it."""
    for _ in range(count):
        live.site.visitor().vote("alpha", "ship")
    return live.signed()


async def ask_witnesses(connection: "asyncpg.Connection[Any]") -> None:
    """Cut the signer's connection: it asks every witness before it signs again."""
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'ballotpress-signer' and datname = current_database()"
    )


def cosigned(live: Live, vkey: str) -> bool:
    """Return whether the newest checkpoint carries the cosignature of a witness."""
    return bool(verify.Policy([vkey]).times(verify.read_note(live.note())))


async def test_a_witness_in_go_cosigns_what_a_site_publishes(
    connection: "asyncpg.Connection[Any]", ground: Ground, tmp_path: Path
) -> None:
    """Readers who ask for it find its line right, by its key or by a policy; one that begins anew is gone on with."""
    program = go.build("witness", tmp_path)
    policy = tmp_path / "policy"
    with ground.serving() as live:
        live.site.add_tool(slug="alpha")
        votes(live, 2)
        for _ in range(2):  # the second time it has forgotten everything, and we have not
            with go_witness.running(program, VKEY) as witness:
                ground.shell("proof", "witness", "add", witness.vkey, witness.url, status=0)
                await ask_witnesses(connection)
                assert wait_for(lambda: cosigned(live, witness.vkey)), (tmp_path / "output").read_text()[-2000:]
                policy.write_text(f"log {VKEY}\nwitness w {witness.vkey}\ngroup all-of-them all w\nquorum all-of-them\n")
                for words in (("--witness", witness.vkey), ("--policy", str(policy))):
                    status, said = stranger(tmp_path, live.url, *words)
                    assert (status, "and cosigned by 1" in said) == (0, True), said
            votes(live, 1)
        (listed,) = ground.shell("proof", "witness", "list", "--json").json()["witnesses"]
        assert listed["failed"] is None
        status, said = stranger(tmp_path, live.url, "--witness", witness.vkey)
        assert (status, "lacks cosignatures" in said) == (2, True), said


async def test_a_witness_in_go_that_is_ahead_stops_the_signer(
    connection: "asyncpg.Connection[Any]", ground: Ground, tmp_path: Path
) -> None:
    """It cosigned more of this log than the site knows: nothing is signed until an operator has looked."""
    program = go.build("witness", tmp_path)
    ahead = sign(ORIGIN, 5000, b"r" * 32, [Signer(ORIGIN, SEED)])
    with ground.serving() as live, go_witness.running(program, VKEY) as witness:
        live.site.add_tool(slug="alpha")
        before = votes(live, 1)
        assert witness.add(0, [], ahead.note)[0] == 200
        ground.shell("proof", "witness", "add", witness.vkey, witness.url, status=0)
        await ask_witnesses(connection)
        assert wait_for(lambda: "knows 5000 positions" in ground.shell("proof", "status").out)
        live.site.visitor().vote("alpha", "skip")
        assert "knows 5000 positions" in ground.shell("proof", "status", status=1).out
        assert live.note() == before
        ground.shell("proof", "witness", "remove", "witness.example/w1", status=0)
        assert votes(live, 1) != before


def fetched(url: str, path: str) -> str:
    """Return what a site answers; nothing if it doesn't, or by a refusal."""
    try:
        answer = calling.get(f"{url}{path}")
    except httpx.TransportError:
        return ""
    return answer.text if answer.status_code == 200 else ""


async def test_a_log_that_began_anew_is_served_beside_the_old_one(
    connection: "asyncpg.Connection[Any]", ground: Ground, tmp_path: Path
) -> None:
    """Who knew the lost end is told of the loss, by status 3; who knew only what is left finds all right; and so again."""
    early, late = tmp_path / "early", tmp_path / "late"
    early.mkdir()
    late.mkdir()
    with ground.serving() as live:
        live.site.add_tool(slug="alpha")
        kept = verify.read_note(votes(live, 3))
        assert stranger(early, live.url)[0] == 0
        lost = votes(live, LOST)
        assert stranger(late, live.url)[0] == 0
    await go_back(connection, kept.size + 1)
    await take_views_back(connection)
    with ground.unready(live.site.client.base_url.port):
        assert wait_for(lambda: fetched(live.url, "/log/1/checkpoint"))
        assert wait_for(lambda: ground.shell("proof", "status").status == 1)
        made = ground.shell("proof", "restart", "--reason", "the disk burned", "--yes", "--json").json()
        common = made["common"]  # the last of the signed sizes that are left
        assert made["origin"] == f"{HOST}/log/2" and kept.size <= common <= kept.size + 1
        assert wait_for(lambda: fetched(live.url, "/log/2/checkpoint"))
        assert fetched(live.url, "/log/1/checkpoint") == lost
        for _ in range(2):
            status, said = stranger(early, live.url)
            assert status == 0, said
            status, said = stranger(late, live.url)
            assert (status, f"{kept.size + LOST - common} entries after the first {common} of {ORIGIN}" in said) == (3, True), (
                said
            )
        (tmp_path / "lost.note").write_text(lost)
        vkey = fetched(live.url, "/log/2/log.vkey").strip()
        for key in (VKEY, vkey):
            assert stranger(tmp_path, live.url, "--key", key, "--old", tmp_path / "lost.note")[0] == 3


async def test_a_new_key_is_learnt_from_the_old_one(ground: Ground, tmp_path: Path) -> None:
    """While both sign, who trusts either finds all right; who came then goes on when the new one is alone."""
    reader = tmp_path / "reader"
    reader.mkdir()
    with ground.serving() as live:
        live.site.add_tool(slug="alpha")
        votes(live, 2)
        assert stranger(reader, live.url)[0] == 0
        made = ground.shell("proof", "key", "--new", "--json").json()
        live.signed()
    with ground.serving(BALLOTPRESS_LOG_KEY=made["BALLOTPRESS_LOG_KEY"]) as live:
        assert votes(live, 1).count("— ") == 2
        assert live.vkey() == made["vkey"]
        for number, key in enumerate((VKEY, made["vkey"])):
            folder = tmp_path / str(number)
            folder.mkdir()
            status, said = stranger(folder, live.url, "--key", key)
            assert status == 0, said
        assert comes_back(reader, live)[0] == 0
    with ground.serving(BALLOTPRESS_LOG_KEY=made["BALLOTPRESS_LOG_KEY"].partition(",")[0]) as live:
        assert votes(live, 1).count("— ") == 1
        for folder in (reader, tmp_path / "0", tmp_path / "1"):
            status, said = comes_back(folder, live)
            assert status == 0, said
        assert stranger(tmp_path, live.url, "--key", VKEY)[0] == 2


def comes_back(folder: Path, live: Live) -> tuple[int, str]:
    """Run `verify.py` with what an earlier run kept of the site, which has another port now."""
    (kept,) = (folder / "cache").iterdir()
    kept.rename(kept.with_name(live.url.removeprefix("http://").replace(":", "_")))
    return stranger(folder, live.url)


FILL = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data)
select gen_random_uuid(), h.position + n, clock_timestamp(), 1, 1, 'ToolBookmarked',
       jsonb_build_object('visitor', 'v' || n, 'tool', 't')
from log.head h, generate_series(1, $1) n
"""


async def test_packs_and_exports_of_a_long_log_are_taken(
    connection: "asyncpg.Connection[Any]", ground: Ground, tmp_path: Path
) -> None:
    """A stranger fetches the full pack, which is made for that; an export is right without a network, whole and in part."""
    await connection.execute(FILL, ENTRIES + 10)
    await connection.execute("update log.head set position = $1, recorded_at = now()", ENTRIES + 10)
    with ground.serving() as live:
        live.site.add_tool(slug="alpha")
        part = verify.read_note(votes(live, 1)).size
        votes(live, 2)
        status, said = stranger(tmp_path, live.url)
        assert status == 0, said
        assert len(list((tmp_path / "packs").iterdir())) == 1
    file = tmp_path / "log.jsonl"
    for to in ((), ("--to", str(part)), ("--to", str(part + 1))):
        ground.shell("proof", "export", str(file), *to, status=0)
        status, said = stranger(tmp_path, file, "--key", VKEY)
        assert status == 0, said
    unsigned = tmp_path / "unsigned.jsonl"
    refused = ground.shell("proof", "export", str(unsigned), "--to", "1", status=1)
    assert "first checkpoint covers" in refused.err
    assert not unsigned.exists()


FLIP = """
update proof_1.tiles set hashes = set_bit(hashes, 38405, 1 - get_bit(hashes, 38405)) where level = 0 and n = 0
"""
SWAP = "update log.events set recorded_at = recorded_at + $1::interval where position = 150"


async def test_what_was_tampered_with_and_mended_is_kept_by_nobody(
    connection: "asyncpg.Connection[Any]", ground: Ground
) -> None:
    """A proof that doesn't lead to the signed root isn't given, a tile isn't kept; mended, the same process serves both."""
    await connection.execute(FILL, 600)
    await connection.execute("update log.head set position = 600, recorded_at = now()")
    with ground.serving() as live:
        live.site.add_tool(slug="alpha")
        note = verify.read_note(votes(live, 1))
        await disarm(connection)
        asked = ("/v1/log/proof?position=9", "/v1/log/proof?position=9&size=300", "/v1/log/consistency?from=100")
        await connection.execute(FLIP)
        await connection.execute(SWAP, timedelta(hours=1))
        assert [live.site.anyone.get(path).status_code for path in asked] == [503] * 3
        tiles = ("/log/1/tile/0/000", "/log/1/tile/entries/000")
        wrong = [live.site.anyone.get(path) for path in tiles]
        assert [answer.headers["cache-control"] for answer in wrong] == ["no-store"] * 2
        await connection.execute(FLIP)
        await connection.execute(SWAP, timedelta(hours=-1))
        answers = [live.site.anyone.get(path) for path in asked]
        assert [answer.status_code for answer in answers] == [200] * 3
        right = [live.site.anyone.get(path) for path in tiles]
        assert all("immutable" in answer.headers["cache-control"] for answer in right)
        assert all(one.content != other.content for one, other in zip(wrong, right, strict=True))
        leaf = right[0].content[8 * 32 : 9 * 32]
        hashes = [verify.unbase64(text, "A hash") for text in answers[0].json()["hashes"]]
        assert verify.root_by_inclusion(8, note.size, leaf, hashes) == note.root
