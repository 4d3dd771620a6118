"""Decide about cohorts, and carry a void or its undoing out: batch by batch, so that votes go on meanwhile.

Who is still to be corrected is read from the log each time, so a run that was killed is taken up by any other, and none
corrects a voter twice. One run is at work at a time: an undo must see every void that stands.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple

from asyncpg import Connection, Record

from events.commands.integrity import CohortState, CorrectCohort, DecideCohort, FinishCohort
from events.integrity import CohortDecided, Ruling, Status, Suspected, decided
from events.log import ids, postgres, store
from events.log.command import IdempotencyKey, Receipt
from events.log.committer import Committer
from events.log.event import Recorded
from events.registry import REGISTRY
from projections.cards import tallies_at_head
from projections.registry import named
from services.integrity import cohorts
from services.integrity.cohorts import Database

MOST: Final = 1_000
"""Events in a batch: one a voter, and one a ballot of each. It keeps others waiting for less than a tenth of a second."""
TURN_SECONDS: Final = 0.2

Report = Callable[[int, int], None]
"""Is told how many voters of a decision are corrected, and how many there are."""

_LOCK: Final = 0x766F6964
_TAKE: Final = "select pg_try_advisory_lock($1)"

# The voters of a void who are not out yet, with the number of their ballots; but for those whom an operator has brought back.
_TO_DISQUALIFY: Final = """
select v.voter, b.ballots
from unnest($1::text[]) with ordinality as v(voter, n)
left join lateral (
    select e.type from log.of_stream(newsletter.stream_of(v.voter)) e order by e.version desc limit 1
) o on true
cross join lateral (
    select count(*) as ballots from log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) e
    where e.data->>'voter' = v.voter
) b
where o.type is distinct from 'VoterDisqualified'
  and not exists (
    select from log.of_stream(newsletter.stream_of(v.voter)) e where e.data->>'correction' = $2
  )
order by v.n
"""

# Whoever was ever disqualified with a cohort. An undone void concerns none but them, and what they have voted on is asked by
# voter: by position, it would be looked for among ballots that may long be in the archive.
_EVER_OUT: Final = """
select distinct e.data->>'voter' as voter from log.other_events e
where e.type = 'VoterDisqualified' and e.data ? 'cohort' order by 1
"""

# Of them, those that the undone void keeps out: their last word on its tool is a vote of its span, they are out with a cohort,
# and no other cohort that is void has them. What is void is known from the view, and from the log after the view's checkpoint.
_TO_REINSTATE: Final = named("""
with decided as materialized (
    select distinct on (d.cohort) d.cohort, d.tool, d.choice, d.begins, d.ends, d.status
    from (
        select cohort, tool, choice, begins, ends, status, position from {integrity}.decisions
        union all
        select e.data->>'cohort', e.data->>'tool', e.data->>'choice', (e.data->>'begins')::timestamptz,
               (e.data->>'ends')::timestamptz, log.cohort_status(e.type, e.data), e.position
        from {integrity}.checkpoint c cross join log.head h
        cross join lateral log.taken(c.position, h.position, '{}',
                                     '{VoidProposed, VoidWithdrawn, CohortDecided, CohortCorrected}') e
    ) d
    order by d.cohort, d.position desc
)
select v.voter, b.ballots
from unnest($1::text[]) with ordinality as v(voter, n)
cross join lateral (
    select e.type, e.data->>'choice' as choice, e.recorded_at
    from log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) e
    where e.data->>'voter' = v.voter and e.data->>'tool' = $3 and e.type in ('VoteCast', 'VoteRetracted')
    order by e.version desc limit 1
) w
cross join lateral (
    select e.type, e.data from log.of_stream(newsletter.stream_of(v.voter)) e order by e.version desc limit 1
) o
cross join lateral (
    select count(*) as ballots from log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) e
    where e.data->>'voter' = v.voter
) b
where w.type = 'VoteCast' and w.choice = $4 and w.recorded_at >= $5 and w.recorded_at < $6
  and o.type = 'VoterDisqualified' and o.data ? 'cohort'
  and not exists (
    select from log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) e
    join decided d on d.tool = e.data->>'tool' and d.choice = e.data->>'choice'
                  and e.recorded_at >= d.begins and e.recorded_at < d.ends
    where e.type = 'VoteCast' and e.data->>'voter' = v.voter and d.status in ('voiding', 'voided') and d.cohort <> $2
      and not exists (select from log.of_stream(e.stream) n where n.version > e.version)
  )
order by v.n
""")
_UNFINISHED: Final = named("""
select cohort from {integrity}.decisions where status in ('voiding', 'undoing') order by position
""")


class Run(NamedTuple):
    """A decision to be carried out, and its position."""

    decision: CohortDecided
    position: int


async def decide(
    database: Database,
    committer: Committer,
    cohort: str,
    asked: Ruling,
    *,
    revision: int | None = None,
    key: IdempotencyKey | None = None,
) -> Receipt[CohortState]:
    """Record a decision on a cohort. Raises CohortUnknown, CohortChanged, CohortHeld, KeyReused."""
    found = None if asked.decision == "undo" else await _suspected(database, cohort)
    return await committer.submit(DecideCohort(cohort=cohort, found=found, asked=asked, revision=revision, key=key))


async def _suspected(database: Database, id_: str) -> Suspected | None:
    one = await cohorts.read(database, id_)
    if one is None:
        return None
    voters = len(await cohorts.voters(database, one))
    same = {field: getattr(one, field) for field in Suspected.__struct_fields__ if field not in ("cohort", "voters")}
    return Suspected(cohort=id_, voters=voters, **same)


async def last_of(database: Database, cohort: str) -> Recorded[Any] | None:
    """Return the last event of a cohort; None before the first decision."""
    stream = ids.stream_of(cohort)
    rows = await database.fetch(store.READ_LASTS, [stream])
    return store.decode(REGISTRY, rows[0], stream) if rows else None


async def status_of(database: Database, cohort: str) -> tuple[Status, int | None]:
    """Return the status after the last decision on a cohort, and the position of that."""
    last = await last_of(database, cohort)
    return ("waiting", None) if last is None else (decided(last.event), last.position)


async def connect(dsn: str) -> "Connection[Any]":
    """Open a connection to judge and correct by: no part of the log may be passed over."""
    return await postgres.connect(dsn, "integrity", seconds=600, plan_cache_mode=postgres.ANEW)


async def carry_out(
    dsn: str, committer: Committer, cohort: str, report: Report = lambda done, of: None, *, waits: bool = True
) -> None:
    """Correct all voters whom the last decision on a cohort concerns, unless that is done.

    If another run is at work, wait for its end, or with `waits` off leave it to that. Raises LogUnavailable.
    """
    connection = await connect(dsn)
    try:
        while (run := await _run_of(connection, cohort)) is not None:
            if await connection.fetchval(_TAKE, _LOCK):
                await _carry_out(connection, committer, run, report)
            elif not waits:
                return
            else:
                await asyncio.sleep(TURN_SECONDS)
    finally:
        await connection.close(timeout=5)


async def resume(dsn: str) -> int:
    """Carry out what was left half done, unless a run is at work; return how many decisions there were."""
    connection = await postgres.connect(dsn, "integrity", seconds=60)
    try:
        left = [row["cohort"] for row in await connection.fetch(_UNFINISHED)]
    finally:
        await connection.close(timeout=5)
    if left:
        async with Committer(dsn, REGISTRY, patience=30) as committer:
            for cohort in left:
                await carry_out(dsn, committer, cohort, waits=False)
    return len(left)


async def _run_of(connection: "Connection[Any]", cohort: str) -> Run | None:
    """Return the last decision on a cohort, if it is to be carried out still."""
    last = await last_of(connection, cohort)
    if last is None or decided(last.event) not in ("voiding", "undoing"):
        return None
    return Run(last.event, last.position)


async def _carry_out(connection: "Connection[Any]", committer: Committer, run: Run, report: Report) -> None:
    decision = run.decision
    left = await _left(connection, run)
    done, of = max(0, decision.voters - len(left)), max(decision.voters, len(left))
    for voters in batches(left):
        report(done, of)
        began = monotonic()
        await committer.submit(_batch(decision, voters))
        done += len(voters)
        if await _run_of(connection, decision.cohort) != run:
            return  # another decision came since
        await asyncio.sleep(monotonic() - began)  # others had to wait for as long
    report(of, of)
    await committer.submit(FinishCohort(decision.cohort, decision.correction or "", decision.by))


def _batch(decision: CohortDecided, voters: Sequence[str]) -> CorrectCohort:
    return CorrectCohort(
        decision.correction or "",
        voters,
        decision.reason,
        tallies_at_head,
        reinstate=decision.decision == "undo",
        operator=decision.by,
        of=decision.cohort,
    )


async def _left(connection: "Connection[Any]", run: Run) -> Sequence[Record]:
    """Return the voters that are to be corrected still, each with the number of its ballots."""
    decision = run.decision
    span = decision.tool, decision.choice, decision.begins, decision.ends
    if decision.decision == "undo":
        voters: Sequence[str] = [row["voter"] for row in await connection.fetch(_EVER_OUT)]
        found: Sequence[Record] = await connection.fetch(_TO_REINSTATE, voters, decision.cohort, *span)
    else:
        voters = await cohorts.claimed(connection, *span, run.position)
        found = await connection.fetch(_TO_DISQUALIFY, voters, decision.correction)
    return found


def batches(left: Iterable[Record]) -> Iterator[list[str]]:
    """Yield voters in batches that hold the head's lock for a moment only."""
    batch: list[str] = []
    events = 0
    for row in left:
        if batch and events + 1 + row["ballots"] > MOST:
            yield batch
            batch, events = [], 0
        batch.append(row["voter"])
        events += 1 + row["ballots"]
    if batch:
        yield batch
