"""A copy of a person's data has everything that there is of the person, and nothing of anybody else."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings

from events.erasure import person_stream
from events.log.ids import stream_of
from events.log.vault import Vault
from projections.registry import PROJECTIONS
from services import valkey
from services.clock import fresh_id, now
from services.person.copies import Sources, copy_of, copy_subscriber, copy_visitor
from tests.support import servers
from tests.support.catalogs import tool
from tests.support.histories import (
    A_DAY,
    EXAMPLES,
    VAULT_KEY,
    VOTERS,
    Act,
    History,
    add_three_tools,
    histories,
    random_histories,
)
from tests.support.log import patient
from tests.support.newsroom import Newsroom, newsroom
from tests.support.runners import catch_up
from tests.support.settings import settings as settings_of

# All that names a visitor or stands on a stream of its reviews. Of joining a subscription, the copy tells the first time alone.
READ_OWN = """
select e.position from log.events e
where (e.data->>'voter' = $1 or e.data->>'visitor' = $1 and e.type not in ('SubscriptionRequested', 'BookmarksJoined'))
   or e.stream = $2
   or e.stream in (select p.stream from log.events p where p.type = 'ReviewSubmitted' and p.data->>'visitor' = $1)
order by 1
"""
READ_JOINED = """
select min(e.position) as position from log.events e
where e.type in ('SubscriptionRequested', 'BookmarksJoined') and e.data->>'visitor' = $1
  and not exists (select from log.events g where g.stream = e.stream and g.type = 'PersonErased')
group by e.stream order by 1
"""
READ_SUBSCRIBERS = "select distinct data->>'subscriber' from log.events where data ? 'subscriber'"
MARK = "insert into integrity.network_marks (position, day, bucket) values ($1, (now() at time zone 'UTC')::date, 4711)"
READ = [one for one in PROJECTIONS if one.name in ("cards", "corrections", "subscribers", "bookmarks")]
"""The views that a copy reads."""
SECRETS = ("wrapped", "fingerprint", "bucket", "mark", "token", "hash", "cohort", "scores")
"""The names of what a copy must not hold."""


def walk(found: object) -> Iterator[tuple[str, object]]:
    """Return every field below some JSON, by name."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield name, value
            yield from walk(value)
    if isinstance(found, list):
        for value in found:
            yield from walk(value)


def positions(found: object) -> list[int]:
    """Return every position that a copy names."""
    return sorted(value for name, value in walk(msgspec.to_builtins(found)) if name == "position" and isinstance(value, int))


@asynccontextmanager
async def sources(dsn: str, valkey_url: str) -> AsyncIterator[Sources]:
    """Open what a copy is read from."""
    connection = await asyncpg.connect(dsn)
    async with valkey.client(valkey_url) as client:
        yield Sources(connection, Vault([VAULT_KEY]), client)
    await connection.close()


@pytest.mark.timeout(900 + 3 * EXAMPLES)
@settings(random_histories, max_examples=max(3, EXAMPLES // 3))
@given(acts=histories)
async def test_every_event_of_a_person_is_in_its_copy_and_no_other(
    postgres: servers.Postgres, template: str, valkey_url: str, acts: list[Act]
) -> None:
    """After any history a visitor's copy names the positions of all its events and of no others; so does a subscriber's."""
    async with servers.database(postgres, template) as dsn, sources(dsn, valkey_url) as read:
        connection: Any = read.database
        async with patient(dsn) as committer:
            await add_three_tools(committer)
            await History(committer).do([*A_DAY, *acts])
        for projection in READ:
            await catch_up(dsn, projection)
        for voter in VOTERS:
            copied = await copy_visitor(read, voter, now())
            joined = [row[0] for row in await connection.fetch(READ_JOINED, voter)]
            assert [one.position for one in copied.subscriptions] == joined
            own = [row[0] for row in await connection.fetch(READ_OWN, voter, person_stream(voter))]
            assert positions(copied) == sorted(own + joined)
        for (subscriber,) in await connection.fetch(READ_SUBSCRIBERS):
            rows = await connection.fetch("select position from log.events where stream = $1 order by 1", stream_of(subscriber))
            assert positions(await copy_subscriber(read, subscriber, now())) == [row[0] for row in rows]


@pytest.fixture
async def room(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Newsroom]:
    """A newsroom on the test's own database."""
    async with newsroom(settings_of(dsn, valkey_url, home=tmp_path, base_url="https://verdicts.example")) as opened:
        yield opened


async def test_a_subscribers_copy_has_consent_mails_bounces_and_browsers(room: Newsroom, valkey_url: str) -> None:
    """What an operator is given for an address: the consent, each mail with its outcome, bounces, and what its browser did."""
    await room.import_tools(tool("alpha"))
    (visitor,) = await room.vote("alpha", 1, 0)
    ada = await room.subscribe("ada@example.com", visitor=visitor)
    await room.subscribe("bob@example.com")
    await room.database.execute(
        "insert into newsletter.bounces (reader, report, kind, code) values ($1, 'x', 'soft', '4.2.2')", ada
    )
    await room.project()
    await room.send_now()
    await room.deliver()
    async with valkey.client(valkey_url) as client:
        found, copied = await copy_of(Sources(room.database, room.vault, client), "ADA@example.com", now())
    given = msgspec.to_builtins(copied)
    assert (found.of, found.id, given["email"], given["status"]) == ("subscriber", ada, "ada@example.com", "confirmed")
    assert [event["type"] for event in given["events"]] == ["SubscriptionRequested", "SubscriptionConfirmed"]
    assert [(mail["kind"], mail["state"]) for mail in given["mails"]] == [("confirmation", "cancelled"), ("digest", "accepted")]
    assert [(bounce["kind"], bounce["code"]) for bounce in given["bounces"]] == [("soft", "4.2.2")]
    assert [(browser["visitor"], browser["votes"][0]["choice"]) for browser in given["browsers"]] == [(visitor, "ship")]
    assert {row["name"] for row in given["explained"]} >= {"Address", "Consent and choices", "Mails", "Bounces"}
    assert "bob" not in msgspec.json.encode(copied).decode()


async def test_a_copy_holds_no_secret(room: Newsroom, valkey_url: str) -> None:
    """That votes are marked is said, and how many; no mark, key or hash is in a copy."""
    await room.import_tools(tool("alpha"))
    (visitor,) = await room.vote("alpha", 1, 0)
    position = await room.database.fetchval("select position from log.events where type = 'VoteCast'")
    await room.database.execute(MARK, position)
    await room.project()
    async with valkey.client(valkey_url) as client:
        copied = msgspec.to_builtins(await copy_visitor(Sources(room.database, room.vault, client), visitor, now()))
    assert copied["network_marks"] == 1
    assert [name for name, _ in walk(copied) if name in SECRETS] == []
    assert 4711 not in [value for _, value in walk(copied)]


async def test_nobody_has_an_empty_copy(room: Newsroom, valkey_url: str) -> None:
    """Of an unknown visitor nothing is kept, and of an unknown address not even that it was asked for."""
    await room.project()
    async with valkey.client(valkey_url) as client:
        read = Sources(room.database, room.vault, client)
        _, visitor = await copy_of(read, fresh_id(), now())
        assert positions(visitor) == []
        _, address = await copy_of(read, "nobody@example.com", now())
        assert address == {"email": "nobody@example.com", "status": None}
        mark = (await room.vault.finder(room.database)).mark("nobody@example.com")
        await room.database.execute("insert into vault.left_elsewhere (mark, left_on) values ($1, '2026-03-01')", mark)
        _, address = await copy_of(read, "Nobody@Example.com", now())
    assert str(address["left_elsewhere"]) == "2026-03-01"
