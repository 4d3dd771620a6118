"""Every event ever written stays readable: a sample of each type and version, and the one view that brings old ones up."""

import os
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest

from events.log import ids, store
from events.log.command import Command, Decision, Reads, Seen
from events.log.committer import Committer
from events.log.event import Event, Recorded, Registry, UnknownEvent, encode
from events.registry import REGISTRY

SAMPLES = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


def named(sample: Path) -> tuple[str, int]:
    """Read type and schema version from a sample's name, such as VoteCast.1.json."""
    type_, version = sample.stem.split(".")
    return type_, int(version)


async def write(connection: Any, stream: UUID, position: int, type_: str, schema_version: int, data: str) -> None:
    """Write an event as another release would have."""
    await connection.execute(
        "insert into log.events (stream, position, recorded_at, version, schema_version, type, data)"
        " values ($1, $2, now(), $3, $4, $5, $6::text::jsonb)",
        stream, position, position, schema_version, type_, data,
    )  # fmt: skip
    await connection.execute("update log.head set position = $1, recorded_at = now()", position)


def test_every_type_has_a_sample() -> None:
    """There is a sample of every type in its present version, and of every version before it."""
    wanted = {(name, n) for name, type_ in REGISTRY.types.items() for n in range(1, type_.schema_version + 1)}
    found = {named(sample) for sample in SAMPLES}
    missing = sorted(f"tests/golden/{name}.{version}.json" for name, version in wanted - found)
    assert not missing, f"write the sample of a new type or version, its `data` as JSON: {missing}"
    assert found <= wanted, "a type or version that was written once is read for ever: give it back to its module's EVENTS"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_a_sample_of_the_present_version_is_what_we_write(sample: Path) -> None:
    """No field was renamed, dropped or retyped: we write the sample's event as it stands, and nothing more."""
    type_, version = named(sample)
    if (type_, version) not in REGISTRY.known:
        pytest.skip("an earlier version: it is read through the view")
    event = REGISTRY.decode(type_, version, sample.read_bytes())
    assert msgspec.json.decode(encode(event)) == msgspec.json.decode(sample.read_bytes())


async def test_every_sample_is_read_through_the_view(connection: Any) -> None:
    """Every sample, of whatever version, comes out of the log as this release knows it."""
    stream = ids.stream_named("golden")
    for position, sample in enumerate(SAMPLES, start=1):
        await write(connection, stream, position, *named(sample), sample.read_text("utf-8"))
    rows = await connection.fetch(store.READ_WHOLES, [stream])
    read = [type(store.decode(REGISTRY, row).event).__name__ for row in rows]
    assert read == [named(sample)[0] for sample in SAMPLES]


class TemperatureTaken(Event, frozen=True, kw_only=True):
    """A type of the tests. Version 1 had `fahrenheit`; version 2 has `celsius` and `place`, null where none was said."""

    schema_version: ClassVar[int] = 2

    celsius: float
    place: str | None


TEMPERATURES = Registry((TemperatureTaken,))

UPCAST = """
create or replace view log.recorded_events as
select stream, version, position, type,
       case when type = 'TemperatureTaken' and schema_version = 1 then 2::smallint else schema_version end as schema_version,
       case when type = 'TemperatureTaken' and schema_version = 1
            then jsonb_build_object('celsius', ((data->>'fahrenheit')::numeric - 32) * 5 / 9, 'place', null)
            else data end as data,
       meta, recorded_at
from log.events
"""


class WarmUp(Command[float], frozen=True):
    """Take a temperature one degree above the last; it reads what the view makes of it."""

    stream: UUID

    def reads(self, listing: object) -> Reads:
        return Reads([self.stream])

    def decide(self, seen: Seen) -> Decision[float]:
        last: Recorded[TemperatureTaken] | None = seen.lasts[0]
        celsius = 1 + (last.event.celsius if last else 0)
        return Decision(events=[(self.stream, TemperatureTaken(celsius=celsius, place="roof"))], value=celsius)


async def test_one_step_in_the_view_brings_an_old_version_up(connection: Any, dsn: str) -> None:
    """With one step in the view, SQL, reads and rules all see an old event in its new shape; the stored one stays."""
    stream = ids.stream_of(ids.new_id(1_800_000_000_000, os.urandom(10)))
    await write(connection, stream, 1, "TemperatureTaken", 1, '{"fahrenheit": 212}')
    await connection.execute(UPCAST)
    async with Committer(dsn, TEMPERATURES) as committer:
        assert (await committer.submit(WarmUp(stream))).value == 101
    rows = await connection.fetch(store.READ_WHOLES, [stream])
    assert [store.decode(TEMPERATURES, row).event for row in rows] == [
        TemperatureTaken(celsius=100, place=None),
        TemperatureTaken(celsius=101, place="roof"),
    ]
    total = "select sum((data->>'celsius')::numeric) from log.recorded_events where type = 'TemperatureTaken'"
    assert await connection.fetchval(total) == 201
    stored = await connection.fetch("select schema_version, data from log.events order by position")
    assert [row["schema_version"] for row in stored] == [1, 2]
    assert msgspec.json.decode(stored[0]["data"]) == {"fahrenheit": 212}


async def test_a_later_version_is_not_guessed_at(connection: Any, dsn: str) -> None:
    """An event that a later release wrote refuses who asks for its stream, and nobody else."""
    stream, other = ids.stream_named("golden", "later"), ids.stream_named("golden", "other")
    await write(connection, stream, 1, "TemperatureTaken", 3, '{"kelvin": 273}')
    async with Committer(dsn, TEMPERATURES) as committer:
        refused, done = committer.submit(WarmUp(stream)), committer.submit(WarmUp(other))
        with pytest.raises(UnknownEvent):
            await refused
        assert (await done).value == 1
