"""`ballotpress events export|import`: the whole log, byte for byte, or nothing."""

import hashlib
import io
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from events.commands.ballots import CastVote
from events.log.committer import Committer
from events.log.export import ImportRefused, export, import_
from events.log.transfer import LogBroken, LogNotEmpty
from events.registry import REGISTRY
from services.clock import now
from tests.support.deeds import deeds_of
from tests.support.processes import COMMAND, Instance
from tests.support.settings import clean_environ
from tests.support.shell import Ran, Shell, Vote, run_inside

HEAD = "select position, recorded_at, listing_position from log.head"


def quiet(done: int, of: int) -> None:
    """Show no progress."""


def names(folder: Path) -> list[str]:
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


async def exported(connection: Any) -> list[bytes]:
    """Return the lines of an export, without their newlines."""
    out = io.BytesIO()
    await export(connection, out, now, quiet)
    return out.getvalue().removesuffix(b"\n").split(b"\n")


@pytest.fixture
async def lines(catalog: int, vote: Vote, connection: Any, committer: Committer) -> list[bytes]:
    """An export of a catalog, four votes and a changed one; the last line is the manifest."""
    voters = await vote("alpha", ["ship", "skip", "ship", "ship"])
    await committer.submit(CastVote(voters[0], "alpha", "skip"))
    return await exported(connection)


@pytest.fixture
async def target(empty: str) -> AsyncIterator[Any]:
    """A connection to a database with an empty log."""
    connection = await asyncpg.connect(empty)
    yield connection
    await connection.close()


async def test_export_import_export_is_byte_identical(
    shell: Shell, lines: list[bytes], empty: str, connection: Any, target: Any, tmp_path: Path
) -> None:
    """An export imported into another database gives the same log to the last byte, the head included."""
    file = tmp_path / "log.jsonl"
    assert shell("events", "export", str(file)).out == f"Exported 10 events to {file}\n"
    assert file.read_bytes().split(b"\n")[:10] == lines[:10]
    assert names(tmp_path) == ["catalog.json", "log.jsonl"]
    imported = shell("events", "import", str(file), "--json", DATABASE_URL=empty)
    assert imported.json() == {"imported": 10, "position": 10}
    assert (await deeds_of(target, "shell"))[0] == "imported-log"
    again = shell("events", "export", "-", DATABASE_URL=empty, status=0)
    assert again.bytes.split(b"\n")[:10] == lines[:10]
    assert await target.fetchrow(HEAD) == await connection.fetchrow(HEAD)
    shell("events", "import", str(file), DATABASE_URL=empty).failed("The log holds 10 events already")


async def test_each_line_is_an_event_and_the_last_the_manifest(lines: list[bytes]) -> None:
    """A line has the keys that are promised; the manifest's hash is a chain over the lines before it."""
    first, manifest = json.loads(lines[0]), json.loads(lines[-1])["manifest"]
    assert list(first) == ["position", "stream", "version", "type", "schema_version", "recorded_at", "data", "meta"]
    assert first["type"] == "ToolAdded" and first["data"]["slug"] == "alpha"
    assert len(first["recorded_at"]) == len("2026-01-01T00:00:00.000000Z")
    digest = bytes(32)
    for line in lines[:-1]:
        digest = hashlib.sha256(digest + line).digest()
    said = {name: manifest[name] for name in ("format", "events", "first_position", "last_position", "sha256")}
    assert said == {"format": 1, "events": 10, "first_position": 1, "last_position": 10, "sha256": digest.hex()}


async def test_views_follow_an_imported_log(shell: Shell, lines: list[bytes], empty: str, target: Any, tmp_path: Path) -> None:
    """The log goes on after an import where it ended, and votes are decided on what was imported."""
    await import_(target, REGISTRY, io.BytesIO(b"\n".join(lines) + b"\n"), 0, quiet)
    voter = json.loads(lines[5])["data"]["voter"]
    undone = shell("voters", "void", voter, "--reason", "x", "--json", DATABASE_URL=empty).json()
    assert undone["position"] == 13
    assert undone["tools"][0]["before"]["skip"] == 2
    assert await target.fetchval("select max(version) from log.events where data->>'voter' = $1", voter) == 2


Change = Callable[[list[bytes]], list[bytes]]

DEEP = b"[" * 9999 + b"]" * 9999

CHANGES: dict[str, tuple[Change, str]] = {
    "a changed value": (lambda x: [*x[:5], x[5].replace(b"ship", b"skip"), *x[6:]], "changed after it was written"),
    "a changed space": (lambda x: [*x[:5], x[5].replace(b": ", b":"), *x[6:]], "changed after it was written"),
    "a missing line": (lambda x: [*x[:5], *x[6:]], "position 7 follows position 5"),
    "a doubled line": (lambda x: [*x[:6], *x[5:]], "position 6 follows position 6"),
    "exchanged lines": (lambda x: [*x[:4], x[5], x[4], *x[6:]], "position 6 follows position 4"),
    "no first line": (lambda x: x[1:], "begins at position 2: a partial export"),
    "no last event": (lambda x: [*x[:-2], x[-1]], "holds 9 events, its manifest says 10"),
    "no manifest": (lambda x: x[:-1], "without a manifest"),
    "two exports": (lambda x: x + x, "goes on after its manifest"),
    "an unknown type": (lambda x: [*x[:5], x[5].replace(b"VoteCast", b"VoteSold"), *x[6:]], "VoteSold version 1 is not known"),
    "a later version": (lambda x: [x[0].replace(b'schema_version":1', b'schema_version":9'), *x[1:]], "version 9 is not known"),
    "a wrong stream version": (lambda x: [x[0].replace(b'"version":1', b'"version":7'), *x[1:]], "changed after"),
    "a time to come": (lambda x: [*x[:5], x[5].replace(b'"recorded_at":"20', b'"recorded_at":"99', 1), *x[6:]], "yet to come"),
    "an older time": (lambda x: [*x[:5], x[5].replace(b'"20', b'"19', 1), *x[6:]], "recorded before"),
    "a list for meta": (lambda x: [*x[:5], x[5].replace(b'"meta":null', b'"meta":[1]'), *x[6:]], "its meta is not an object"),
    "nested meta": (lambda x: [*x[:5], x[5].replace(b'"meta":null', b'"meta":{"a":{"b":1}}'), *x[6:]], "its meta is not an"),
    "deep meta": (
        lambda x: [x[0].replace(b'"meta":', b'"meta":' + DEEP + b',"x":'), *x[1:]],
        "Line 1 is not",
    ),
    "deep data": (
        lambda x: [x[0].replace(b'"data":{', b'"data":{"x":' + DEEP + b","), *x[1:]],
        "is not|nest",
    ),
    "another format": (lambda x: [*x[:-1], x[-1].replace(b'format":1', b'format":2')], "format 2"),
    "a wrong count": (lambda x: [*x[:-1], x[-1].replace(b'events":10', b'events":11')], "its manifest says 11"),
    "a broken manifest": (lambda x: [*x[:-1], b'{"manifest":{"format":1}}'], "The manifest can't be read"),
    "another file": (lambda _: [b'{"a": 1}'], "Line 1 is not an event"),
    "no UTF-8": (lambda x: [x[0].replace(b"Alpha", b"Alph\xff"), *x[1:]], "Line 1 is not an event"),
    "an unknown field": (lambda x: [x[0][:-1] + b',"x":1}', *x[1:]], "unknown field `x`"),
    "an empty line": (lambda x: [b"", *x], "Line 1 is not an event"),
    "nothing": (lambda _: [], "ends after 0 events"),
}


async def test_a_changed_file_is_refused_whole(lines: list[bytes], target: Any, subtests: pytest.Subtests) -> None:
    """The import of a changed export says what is wrong, and leaves the log empty."""
    for name, (change, reason) in CHANGES.items():
        with subtests.test(name):
            with pytest.raises(ImportRefused, match=reason):
                await import_(target, REGISTRY, io.BytesIO(b"".join(line + b"\n" for line in change(lines))), 0, quiet)
            assert await target.fetchval("select count(*) from log.events") == 0
            assert await target.fetchval("select position from log.head") == 0


async def test_a_consistent_lie_about_versions_is_refused(lines: list[bytes], target: Any) -> None:
    """Even where hash and manifest fit, streams whose versions have a hole are refused."""
    wrong = [lines[0].replace(b'"version":1', b'"version":7'), *lines[1:-1]]
    digest = bytes(32)
    for line in wrong:
        digest = hashlib.sha256(digest + line).digest()
    manifest = json.loads(lines[-1])
    manifest["manifest"]["sha256"] = digest.hex()
    wrong.append(json.dumps(manifest, separators=(",", ":")).encode())
    with pytest.raises(ImportRefused, match="the versions of stream"):
        await import_(target, REGISTRY, io.BytesIO(b"\n".join(wrong) + b"\n"), 0, quiet)
    assert await target.fetchval("select count(*) from log.events") == 0


async def test_a_cut_file_is_refused(shell: Shell, lines: list[bytes], empty: str, target: Any, tmp_path: Path) -> None:
    """A file cut anywhere, even in the middle of a line, is one line of failure, and the log stays empty."""
    whole = b"\n".join(lines) + b"\n"
    for cut in (1, len(whole) // 3, len(whole) - 40):
        with pytest.raises(ImportRefused):
            await import_(target, REGISTRY, io.BytesIO(whole[:cut]), 0, quiet)
    shell("events", "import", "-", stdin=whole[: len(whole) // 2], DATABASE_URL=empty).failed("cut short")
    assert await target.fetchval("select position from log.head") == 0
    shell("events", "import", str(tmp_path / "none"), DATABASE_URL=empty).failed("can't be read")
    shell("events", "import", str(tmp_path), DATABASE_URL=empty).failed("can't be read")


async def test_a_log_with_events_is_left_alone(lines: list[bytes], connection: Any) -> None:
    """An import into a log that holds anything is refused before anything is written."""
    with pytest.raises(LogNotEmpty):
        await import_(connection, REGISTRY, io.BytesIO(b"\n".join(lines) + b"\n"), 0, quiet)
    assert (await exported(connection))[:-1] == lines[:-1]


async def test_an_empty_log_goes_both_ways(connection: Any, target: Any) -> None:
    """The export of an empty log is a manifest alone, and may be imported."""
    lines = await exported(connection)
    assert [json.loads(line)["manifest"]["events"] for line in lines] == [0]
    assert await import_(target, REGISTRY, io.BytesIO(lines[0] + b"\n"), 0, quiet) == 0


async def test_an_export_stops_at_a_hole(shell: Shell, lines: list[bytes], connection: Any, tmp_path: Path) -> None:
    """A log that lacks a position is not exported: a line of failure, no manifest, and the old file stays."""
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute("delete from log.events where position = 7")
    with pytest.raises(LogBroken, match="position 7"):
        await exported(connection)
    file = tmp_path / "log.jsonl"
    file.write_text("from before")
    shell("events", "export", str(file)).failed("no event at position 7")
    assert file.read_text() == "from before"
    assert names(tmp_path) == ["catalog.json", "log.jsonl"]


async def test_an_export_that_cannot_be_written_is_one_line(shell: Shell, catalog: int, tmp_path: Path) -> None:
    """A folder, or a place that isn't there, is a sentence."""
    shell("events", "export", str(tmp_path)).failed("it is no plain file")
    shell("events", "export", str(tmp_path / "none" / "log")).failed("can't be written")


async def test_old_versions_are_imported_as_they_were(lines: list[bytes], target: Any, monkeypatch: Any) -> None:
    """An event that an earlier release wrote keeps its schema version; the view makes it the present one."""
    from events.ballots import VoteCast

    monkeypatch.setattr(VoteCast, "schema_version", 2)
    await import_(target, REGISTRY, io.BytesIO(b"\n".join(lines) + b"\n"), 0, quiet)
    assert await target.fetchval("select distinct schema_version from log.events where type = 'VoteCast'") == 1


def one_event() -> bytes:
    """Return an export of one event."""
    line = (
        b'{"position":1,"stream":"01a20179-8e9b-7b39-8db4-a215fdec5417","version":1,"type":"PersonErased","schema_version":1,'
        b'"recorded_at":"2026-01-01T00:00:00.000000Z","data":{"person": "AaIBeY6bezmNtKIV_exUFw"},"meta":null}'
    )
    chain = hashlib.sha256(bytes(32) + line).hexdigest()
    manifest = {"format": 1, "events": 1, "first_position": 1, "last_position": 1, "sha256": chain}
    manifest |= {"release": "0", "exported_at": "2026-01-01T00:00:00Z"}
    return line + b"\n" + json.dumps({"manifest": manifest}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("piped", [False, True])
def test_a_file_that_is_refused_makes_no_home(tmp_path: Path, piped: bool) -> None:
    """Where there is no home yet, a partial, changed or cut file is refused before anything is made, however it comes."""
    home, file, whole = tmp_path / "home", tmp_path / "log.jsonl", one_event()
    partial, cut = whole.replace(b'position":1,', b'position":2,', 1), whole[:-40]
    given = clean_environ(BALLOTPRESS_HOME=str(home))
    for raw in (cut,) if piped else (partial, cut, whole.replace(b"00:00:00.0", b"00:00:00.1", 1)):
        file.write_bytes(raw)
        if piped:
            ran = Ran(subprocess.run((*COMMAND, "events", "import", "-"), input=raw, env=given, capture_output=True))
        else:
            ran = Ran(run_inside(("events", "import", str(file)), b"", given))
        ran.failed()
        assert names(tmp_path) == ["log.jsonl"]


def test_an_import_needs_no_up(tmp_path: Path) -> None:
    """Where nothing runs, import and export start the private servers for as long as they take, and leave nothing running."""
    instance = Instance(tmp_path / "home")
    file, again = tmp_path / "log.jsonl", tmp_path / "again.jsonl"
    file.write_bytes(one_event())
    try:
        ran = instance.command("events", "import", str(file), "--json")
        assert json.loads(ran.stdout) == {"imported": 1, "position": 1}, ran.stderr
        assert instance.left() == []
        assert instance.command("events", "export", str(again)).returncode == 0
        assert again.read_bytes().split(b"\n")[0] == one_event().split(b"\n")[0]
        assert instance.left() == []
    finally:
        instance.stop()
