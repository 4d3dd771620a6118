"""Cohorts of votes that look bought, as the scan keeps them. What is decided about them stands in the view `integrity`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from asyncpg import Connection, Pool, Record

from projections.registry import named
from projections.tally import Tally

Database: TypeAlias = "Pool[Any] | Connection[Any]"


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Votes of a tool and a choice that look bought, and the tally with and without those of them that still stand.

    `effect` orders the queue, the largest first; `unsettles` says that the removal changes a settled verdict.
    """

    id: str
    tool: str
    choice: str
    span: str
    begins: datetime
    ends: datetime
    votes: int
    first_position: int
    last_position: int
    scores: Mapping[str, float]
    p: float
    before: Tally
    after: Tally
    effect: float
    unsettles: bool
    revision: int
    evaluated_position: int
    found_at: datetime


COLUMNS: Final = """
c.id, c.tool, c.choice, c.span, c.begins, c.ends, c.votes, c.first_position, c.last_position, c.scores, c.p, c.before, c.after,
c.effect, c.unsettles, c.revision, c.evaluated_position, c.found_at
"""
_READ: Final = f"select {COLUMNS} from integrity.cohorts c where c.id = $1"  # noqa: S608 - made of columns' names
# The revision grows with what is said of the votes. The tally beside them moves all the time, and is written as it is.
_KEEP: Final = """
insert into integrity.cohorts as c (id, tool, choice, span, begins, ends, votes, first_position, last_position, scores, p,
                                    before, after, effect, unsettles, evaluated_position, found_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
on conflict (id) do update
set span = excluded.span, begins = excluded.begins, ends = excluded.ends, votes = excluded.votes,
    first_position = excluded.first_position, last_position = excluded.last_position, scores = excluded.scores, p = excluded.p,
    before = excluded.before, after = excluded.after, effect = excluded.effect, unsettles = excluded.unsettles,
    evaluated_position = excluded.evaluated_position,
    revision = c.revision + ((c.begins, c.ends, c.votes, c.scores)
                             is distinct from (excluded.begins, excluded.ends, excluded.votes, excluded.scores))::integer
where (c.begins, c.ends, c.votes, c.scores, c.before, c.after)
      is distinct from (excluded.begins, excluded.ends, excluded.votes, excluded.scores, excluded.before, excluded.after)
"""
_FORGET: Final = named("""
delete from integrity.cohorts c
where c.id = any($1::text[]) and not exists (select from {integrity}.decisions d where d.cohort = c.id)
""")

# The votes of a tool and a choice in a span: whether each is the voter's last word on the tool, and whether the voter is
# disqualified. The tool's hours say where in the log to look, however long ago that is.
_VOTES: Final = named("""
select v.data->>'voter' as voter, v.position, v.recorded_at,
       extract(epoch from v.recorded_at)::float8 - coalesce(log.made_at(v.data->>'voter') / 1000.0, 0)::float8 as age,
       not exists (select from log.of_stream(v.stream) n where n.version > v.version and n.position <= $5)
           as is_last,
       coalesce((select o.type from log.of_stream(newsletter.stream_of(v.data->>'voter')) o where o.position <= $5
                 order by o.version desc limit 1), '') = 'VoterDisqualified' as is_out
from {hours}.hours h
cross join lateral (
    select e.stream, e.version, e.position, e.data, e.recorded_at
    from log.taken(h.first_position - 1, h.last_position, '{}', array['VoteCast']) e
    where e.data->>'tool' = h.tool and e.data->>'choice' = $2 and e.recorded_at >= $3 and e.recorded_at < $4
    offset 0 -- keeps this a look into each hour's part of the log
) v
where h.tool = $1 and h.hour >= date_trunc('hour', $3::timestamptz, 'UTC') and h.hour < $4
order by v.position
""")

_scores = msgspec.json.Decoder(dict[str, float])
_tally = msgspec.json.Decoder(tuple[int, int])
_encode = msgspec.json.Encoder().encode


def decoded(row: Record) -> Cohort:
    """Return the cohort of a row with the columns of `COLUMNS`."""
    tallies = {name: _tally.decode(row[name]) for name in ("before", "after")}
    plain = {field: row[field] for field in Cohort.__struct_fields__}
    return Cohort(**plain | tallies | {"scores": _scores.decode(row["scores"])})


async def read(database: Database, id_: str) -> Cohort | None:
    """Return a cohort; None for an id that none has."""
    row = await database.fetchrow(_READ, id_)
    return None if row is None else decoded(row)


async def keep(database: Database, cohort: Cohort) -> None:
    """Write a cohort. Its revision grows if what is said of its votes has changed."""
    await database.execute(
        _KEEP, cohort.id, cohort.tool, cohort.choice, cohort.span, cohort.begins, cohort.ends, cohort.votes,
        cohort.first_position, cohort.last_position, _encode(cohort.scores).decode(), cohort.p, _encode(cohort.before).decode(),
        _encode(cohort.after).decode(), cohort.effect, cohort.unsettles, cohort.evaluated_position, cohort.found_at,
    )  # fmt: skip


async def forget(database: Database, ids: Sequence[str]) -> None:
    """Take cohorts out that have become part of another, but for those decided on: a void must be there to be undone."""
    await database.execute(_FORGET, ids)


class Standing(NamedTuple):
    """The first and the last position of the votes of a span, and the voters whose vote still stands."""

    first: int
    last: int
    voters: Sequence[str]


class Vote(NamedTuple):
    """A vote of a span, with its voter's age then in seconds.

    It is the voter's last word on the tool or not, and the voter is out (disqualified) or not.
    """

    voter: str
    position: int
    at: datetime
    age: float
    is_last: bool
    is_out: bool

    @property
    def stands(self) -> bool:
        """Whether the vote counts."""
        return self.is_last and not self.is_out


async def votes(
    database: Database, tool: str, choice: str, begins: datetime, ends: datetime, position: int = 2**62
) -> list[Vote]:
    """Return the votes of a span, in order, as of a position of the log."""
    return [Vote(*row) for row in await database.fetch(_VOTES, tool, choice, begins, ends, position)]


async def standing(
    database: Database, tool: str, choice: str, begins: datetime, ends: datetime, position: int = 2**62
) -> Standing | None:
    """Return whose votes of a span stand, as of a position of the log; None if the span has no votes."""
    found = await votes(database, tool, choice, begins, ends, position)
    if not found:
        return None
    return Standing(found[0].position, found[-1].position, [vote.voter for vote in found if vote.stands])


async def voters(database: Database, cohort: Cohort, position: int = 2**62) -> Sequence[str]:
    """Return the voters whose vote in a cohort still stands, as of a position of the log."""
    found = await votes(database, cohort.tool, cohort.choice, cohort.begins, cohort.ends, position)
    return [vote.voter for vote in found if vote.stands]


async def claimed(database: Database, tool: str, choice: str, begins: datetime, ends: datetime, position: int) -> Sequence[str]:
    """Return the voters whose last word on a tool is a vote of a span, as of a position of the log, disqualified ones too."""
    return [vote.voter for vote in await votes(database, tool, choice, begins, ends, position) if vote.is_last]
