"""Exports in part, for study; and imports that were cut short."""

import hashlib
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from events.log import ids
from events.log.export import ImportRefused, Manifest, export, import_, line
from events.log.transfer import Entry
from events.registry import REGISTRY
from services.clock import now
from tests.support import servers
from tests.support.histories import TOOLS
from tests.support.servers import database

EVENTS = 4_500
AT_ONCE = 200
"""Events a round trip, and ten times as many between two commits: the log of the test is more than two of these parts."""


class Power(BaseException):
    """What stops an import as a kill does: nothing of it is caught."""


class Cut(io.BytesIO):
    """A file that ends the process after so many lines."""

    def __init__(self, content: bytes, lines: int) -> None:
        super().__init__(content)
        self._left = lines

    def readline(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Power
        return super().readline(size)


def quiet(done: int, of: int) -> None:
    """Show no progress."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an import go in small parts."""
    monkeypatch.setattr("events.log.transfer.AT_ONCE", AT_ONCE)


@pytest.fixture(scope="module")
def whole() -> bytes:
    """The export of a log of many votes."""
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    chain, lines = bytes(32), []
    for n in range(EVENTS):
        voter = ids.new_id(1_780_000_000_000 + n, bytes(10))
        data = msgspec.Raw(json.dumps({"tool": TOOLS[0], "voter": voter, "choice": "ship"}).encode())
        stream = ids.stream_beside(voter, "ballot", TOOLS[0])
        entry = Entry(n + 1, stream, 1, "VoteCast", 1, begun + timedelta(seconds=n), data, msgspec.Raw(b"null"))
        lines.append(line(entry))
        chain = hashlib.sha256(chain + lines[-1]).digest()
    manifest = Manifest(
        format=1, events=EVENTS, first_position=1, last_position=EVENTS, sha256=chain.hex(), release="0", exported_at=begun
    )
    return b"\n".join([*lines, msgspec.json.encode({"manifest": manifest}), b""])


@pytest.fixture
async def target(postgres: servers.Postgres, template: str) -> AsyncIterator[Any]:
    """A connection to a database with an empty log."""
    async with database(postgres, template) as empty:
        connection = await asyncpg.connect(empty)
        yield connection
        await connection.close()


async def test_an_import_that_was_cut_short_goes_on(whole: bytes, target: Any) -> None:
    """What was loaded before a kill isn't loaded again; the log is empty until all is there, and whole then."""
    for cut, kept in ((2_500, 2_000), (4_200, 4_000)):
        with pytest.raises(Power):
            await import_(target, REGISTRY, Cut(whole, cut), 0, quiet)
        assert await target.fetchval("select events from import.progress") == kept
        assert await target.fetchval("select count(*) from import.events") == kept
        assert await target.fetchval("select position from log.head") == 0
    assert await import_(target, REGISTRY, io.BytesIO(whole), 0, quiet) == EVENTS
    again = io.BytesIO()
    await export(target, again, now, quiet)
    assert again.getvalue().split(b"\n")[:-2] == whole.split(b"\n")[:-2]
    assert await target.fetchval("select to_regnamespace('import')") is None


async def test_another_file_does_not_go_on(whole: bytes, target: Any) -> None:
    """An import goes on with the same file only; with another one it says so, and begins anew the next time."""
    with pytest.raises(Power):
        await import_(target, REGISTRY, Cut(whole, 2_500), 0, quiet)
    other = whole.replace(b'"choice": "ship"', b'"choice": "skip"', 1)
    with pytest.raises(ImportRefused, match="of another file"):
        await import_(target, REGISTRY, io.BytesIO(other), 0, quiet)
    assert await target.fetchval("select to_regnamespace('import')") is None
    assert await import_(target, REGISTRY, io.BytesIO(whole), 0, quiet) == EVENTS


@pytest.mark.parametrize(("first", "last"), [(1, 100), (101, None), (2, 2), (EVENTS + 1, None)])
async def test_a_part_is_for_study_only(whole: bytes, connection: Any, target: Any, first: int, last: int | None) -> None:
    """A part of the log has its own hash chain and manifest, which says so, and no import takes it."""
    await import_(connection, REGISTRY, io.BytesIO(whole), 0, quiet)
    out = io.BytesIO()
    await export(connection, out, now, quiet, first, last)
    lines = out.getvalue().split(b"\n")[:-1]
    expected = whole.split(b"\n")[first - 1 : EVENTS if last is None else last]
    assert lines[:-1] == expected[: EVENTS - first + 1]
    manifest = json.loads(lines[-1])["manifest"]
    assert (manifest["partial"], manifest["events"]) == (True, len(lines) - 1)
    with pytest.raises(ImportRefused, match="for study only"):
        await import_(target, REGISTRY, io.BytesIO(out.getvalue()), 0, quiet)
    assert await target.fetchval("select position from log.head") == 0
