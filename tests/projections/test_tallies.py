"""Tallies of the past: whatever happened when, the view and the log together say what a plain fold says."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import quarantine
from events.ballots import VoteCast, VoteRetracted
from events.log import ids
from events.log.event import Event
from events.quarantine import EventDropped
from events.registry import REGISTRY
from events.voters import VoterDisqualified, VoterReinstated
from projections import hours
from projections.engine.projection import connect
from projections.engine.runner import advance
from projections.registry import PROJECTIONS
from tests.support import servers
from tests.support.histories import EXAMPLES, TOOLS, VOTERS
from tests.support.log import record_at
from tests.support.servers import database

START = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)  # the day after is a Monday
HOURS = next(projection for projection in PROJECTIONS if projection.name == "hours")

Recorded = tuple[datetime, Event]
Choice = Literal["ship", "skip"]

# Gaps that fall together, within an hour, over hours, over a day; and the very beginning of an hour.
_gap = st.sampled_from([0, 0, 0, 1_000_000, 1_799_999_999, 1_800_000_000, 1_800_000_001, 3_600_000_000, 90_000_000_000])
_act = st.tuples(
    _gap, st.sampled_from(VOTERS), st.integers(0, 1), st.sampled_from(["ship", "skip", "ship", "skip", "retract", "correct"])
)
histories = st.lists(_act, min_size=1, max_size=40)


def happen(acts: Sequence[tuple[int, str, int, str]]) -> list[Recorded]:
    """Make the events of a history by the rules, a moment apart at least."""
    at, ballots, gone, events = START, dict[tuple[str, str], Choice](), set[str](), list[Recorded]()
    for gap, voter, number, what in acts:
        at += timedelta(microseconds=max(gap, 1))
        tool = TOOLS[number]
        event: Event | None = None
        if what == "correct":
            own = [(tool, choice) for (who, tool), choice in ballots.items() if who == voter]
            kind = VoterReinstated if voter in gone else VoterDisqualified
            gone ^= {voter}
            event = kind(voter=voter, ballots=own, correction=VOTERS[0])
        elif voter not in gone and what == "retract" and (previous := ballots.pop((voter, tool), None)):
            event = VoteRetracted(voter=voter, tool=tool, previous=previous)
        elif voter not in gone and what in ("ship", "skip") and ballots.get((voter, tool)) != what:
            choice: Choice = "ship" if what == "ship" else "skip"
            event = VoteCast(voter=voter, tool=tool, choice=choice, previous=ballots.get((voter, tool)))
            ballots[voter, tool] = choice
        if event is not None:
            events.append((at, event))
    return events


def told(events: Sequence[Recorded], tool: str, gone: set[str], *, corrected: bool) -> tuple[int, int]:
    """Fold events into (ship, skip) of a tool; corrected, without the votes of those who are gone."""
    counts = {"ship": 0, "skip": 0}
    for _, event in events:
        match event:
            case VoteCast() | VoteRetracted() if event.tool == tool and not (corrected and event.voter in gone):
                if event.previous is not None:
                    counts[event.previous] -= 1
                if isinstance(event, VoteCast):
                    counts[event.choice] += 1
            case VoterDisqualified() | VoterReinstated() if not corrected:
                sign = 1 if isinstance(event, VoterReinstated) else -1
                for ballot, choice in event.ballots:
                    counts[choice] += sign * (ballot == tool)
    return counts["ship"], counts["skip"]


def disqualified(events: Sequence[Recorded]) -> set[str]:
    """Tell who is disqualified after these events."""
    gone: set[str] = set()
    for _, event in events:
        if isinstance(event, VoterDisqualified | VoterReinstated):
            gone = gone | {event.voter} if isinstance(event, VoterDisqualified) else gone - {event.voter}
    return gone


async def record(connection: "asyncpg.Connection[Any]", events: Sequence[Recorded]) -> None:
    """Write events into an empty log at their times, which the log itself would not let anyone choose."""
    await record_at(connection, [(at, _stream(event), event) for at, event in events])


def _stream(event: Event) -> UUID:
    match event:
        case VoteCast() | VoteRetracted():
            return ids.stream_beside(event.voter, "ballot", event.tool)
        case EventDropped():
            return quarantine.stream(event.projection)
        case VoterDisqualified() | VoterReinstated():
            return ids.stream_of(event.voter)
    raise AssertionError(event)


async def look(dsn: str, upto: int, window: int) -> None:
    """Take the log into the hours view up to a position, in windows of some size."""
    connection = await connect(dsn, HOURS.schema)
    try:
        position = 0
        while position < upto:
            advanced = await advance(connection, HOURS, REGISTRY, min(window, upto - position))
            position = advanced.end or 0
    finally:
        await connection.close()


def moments(events: Sequence[Recorded]) -> list[datetime]:
    """Choose the times to ask about: each event's, just before it, and around the beginnings of hours."""
    hour = timedelta(hours=1)
    begun = {at.replace(minute=0, second=0, microsecond=0) for at, _ in events}
    edges = [edge + shift for edge in begun for shift in (timedelta(0), hour / 2, hour - timedelta(microseconds=1), hour)]
    return sorted({START - 30 * hour, *edges, *(at - timedelta(microseconds=1) for at, _ in events), *(at for at, _ in events)})


@given(acts=histories, behind=st.integers(0, 5), window=st.integers(1, 50))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
async def test_a_tally_as_of_any_time_is_what_a_fold_says(
    postgres: servers.Postgres, template: str, acts: list[Any], behind: int, window: int
) -> None:
    """At every time, counted and corrected, and at every position, the tally is the fold of the log up to then, or to where the
    view is."""
    events = happen(acts)
    checkpoint = max(0, len(events) - behind)
    seen, gone = events[:checkpoint], disqualified(events[:checkpoint])
    async with database(postgres, template) as dsn, asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            await record(connection, events)
        await look(dsn, checkpoint, window)
        for time in [None, *moments(events)]:
            before = [(at, event) for at, event in seen if time is None or at <= time]
            for corrected in (False, True):
                found = await hours.as_of(pool, TOOLS[0], time, corrected=corrected)
                wanted = told(before, TOOLS[0], gone, corrected=corrected)
                assert ((found.ship, found.skip), found.position) == (wanted, len(before)), (time, corrected)
        for position in range(len(events) + 2):
            told_then = await hours.at(pool, TOOLS[0], position)
            if not 1 <= position <= len(events):
                assert told_then is None
                continue
            assert told_then is not None
            wanted = told(seen[:position], TOOLS[0], gone, corrected=False)
            assert ((told_then.ship, told_then.skip), told_then.position) == (wanted, min(position, checkpoint)), position


@given(acts=histories, every=st.sampled_from(["hour", "day", "week"]), window=st.integers(1, 50))
@settings(max_examples=max(5, EXAMPLES // 2), deadline=None, suppress_health_check=list(HealthCheck))
async def test_the_changes_of_periods_are_what_a_fold_says(
    postgres: servers.Postgres, template: str, acts: list[Any], every: hours.Every, window: int
) -> None:
    """Summed up period by period, from a beginning that leaves events before it, the changes are the folds at their ends."""
    events = happen(acts)
    gone = disqualified(events)
    length = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[every]
    begin = datetime(2026, 3, 2, tzinfo=UTC)
    async with database(postgres, template) as dsn, asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            await record(connection, events)
        await look(dsn, len(events), window)
        for corrected in (False, True):
            changes = await hours.changes(pool, TOOLS[0], begin, begin + 50 * length, every, corrected=corrected)
            ship, skip = changes.get(None, (0, 0))
            for n in range(50):
                more_ship, more_skip = changes.get(begin + n * length, (0, 0))
                ship, skip = ship + more_ship, skip + more_skip
                before = [(at, event) for at, event in events if at < begin + (n + 1) * length]
                assert (ship, skip) == told(before, TOOLS[0], gone, corrected=corrected), (n, corrected)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """A pool on the test's own database."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as made:
        yield made


async def test_what_the_view_passed_over_is_left_out(dsn: str, pool: "asyncpg.Pool[Any]") -> None:
    """A vote that an operator let the view pass is missing from the part of a tally that is read from the log, too."""
    hour = START.replace(minute=0) + timedelta(hours=1)
    events: list[Recorded] = [
        (hour + timedelta(minutes=n), VoteCast(voter=voter, tool=TOOLS[0], choice="ship"))
        for n, voter in enumerate(VOTERS[:3], start=1)
    ]
    events.append((hour + timedelta(minutes=30), EventDropped(projection="hours", position=2, reason="why")))
    async with pool.acquire() as connection:
        await record(connection, events)
    await look(dsn, len(events), 10)
    for minutes, ships in ((1, 1), (2, 1), (3, 2), (40, 2)):
        found = await hours.as_of(pool, TOOLS[0], hour + timedelta(minutes=minutes), corrected=False)
        assert found.ship == ships
