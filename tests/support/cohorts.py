"""Cohorts as the scan would keep them: of all votes that a tool has of a choice."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncpg import Connection

from events.ballots import Choice, VoteCast, stream
from events.log.committer import Committer
from events.log.ids import new_id as id_of
from projections.tally import Tally
from services.integrity import cohorts
from services.integrity.cohorts import Cohort
from tests.support.catalogs import new_id
from tests.support.log import append

_VOTES = """
select min(recorded_at) as first, max(recorded_at) as last, min(position) as first_position, max(position) as last_position,
       count(*) as votes
from log.recorded_events where type = 'VoteCast' and data->>'tool' = $1 and data->>'choice' = $2
"""


async def cast(committer: Committer, tool: str, choice: Choice, count: int, seed: int | None = None) -> list[str]:
    """Cast votes of so many new voters on a tool, by its id; return the voters. A `seed` makes them the same each time."""
    voters = [new_id() if seed is None else id_of(1_800_000_000_000 + seed, n.to_bytes(10, "big")) for n in range(count)]
    await committer.submit(append(*((stream(v, tool), VoteCast(voter=v, tool=tool, choice=choice)) for v in voters)))
    return voters


async def suspect(
    connection: "Connection[Any]",
    tool: str,
    choice: Choice = "ship",
    *,
    before: Tally = (40, 10),
    after: Tally = (0, 10),
    id_: str | None = None,
    ends: datetime | None = None,
    **more: Any,
) -> Cohort:
    """Keep all votes of a choice on a tool, or those before a time, as a cohort; the views must have them."""
    row = await connection.fetchrow(_VOTES, tool, choice)
    assert row is not None and row["votes"], "nobody has voted so"
    cohort = Cohort(
        id=id_ or new_id(),
        tool=tool,
        choice=choice,
        span="10 minutes",
        begins=row["first"],
        ends=ends or row["last"] + timedelta(microseconds=1),
        votes=more.get("votes", row["votes"]),
        first_position=row["first_position"],
        last_position=row["last_position"],
        scores={"burst": 21.5, "regularity": 4.0},
        p=1e-9,
        before=before,
        after=after,
        effect=more.get("effect", 120.0),
        unsettles=more.get("unsettles", True),
        revision=1,
        evaluated_position=row["last_position"],
        found_at=row["last"],
    )
    await cohorts.keep(connection, cohort)
    return cohort


async def out(connection: "Connection[Any]", voters: Sequence[str]) -> set[str]:
    """Return those of some voters that are disqualified, from the log."""
    rows = await connection.fetch(
        "select distinct on (data->>'voter') data->>'voter' as voter, type from log.events"
        " where type in ('VoterDisqualified', 'VoterReinstated') order by data->>'voter', position desc"
    )
    return {row["voter"] for row in rows if row["type"] == "VoterDisqualified"} & set(voters)
