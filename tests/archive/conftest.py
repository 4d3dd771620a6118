"""A store for the tests of archives, and some events to write into files."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from events.log import ids
from events.log.store import NO_META, RecordedRow
from tests.support.archiving import fill
from tests.support.shell import Shell
from tests.support.store import Store, store
from tests.support.survival import Place

FIRST = 501
EVENTS = 1_000


@pytest.fixture(scope="session")
def moto() -> Iterator[Store]:
    """One store for the session."""
    with store() as found:
        yield found


@pytest.fixture
def s3(moto: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store, and an environment that leads to it."""
    for name, value in moto.environ.items():
        monkeypatch.setenv(name, value)
    return moto


@pytest.fixture
async def dsn(place: Place) -> AsyncIterator[str]:
    """A log of two full parts and a begun one, of the test's own."""
    async with place.database(await place.filled("template_archiving", fill)) as dsn:
        yield dsn


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database."""
    return Shell(tmp_path / "home", dsn, valkey_url)


@pytest.fixture(scope="session")
def rows() -> Sequence[RecordedRow]:
    """Events of which some have what few have: a meta, text beyond ASCII, a time without microseconds."""
    begun = datetime(2026, 3, 1, tzinfo=UTC)
    found = []
    for n in range(EVENTS):
        voter, tool = ids.new_id(1_780_000_000_000 + n, bytes(10)), ids.new_id(1_770_000_000_000, bytes([n % 7] * 10))
        data = json.dumps({"tool": tool, "voter": voter, "choice": "ship", "note": "né ☃" * (n % 3)}, ensure_ascii=False)
        found.append(
            RecordedRow(
                position=FIRST + n,
                stream=ids.stream_beside(voter, "ballot", tool),
                version=1 + n % 3,
                type="VoteCast" if n % 10 else "ToolAdded",
                schema_version=1,
                data=msgspec.Raw(data.encode()),
                meta=NO_META if n % 10 else msgspec.Raw(b'{"operator": "shell"}'),
                recorded_at=begun + timedelta(microseconds=n * 333_333),
            )
        )
    return found
