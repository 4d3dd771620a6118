"""Read for the detector: counts from the view, and from the log the votes of the few cells that the counts make suspicious."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from asyncpg import Connection, Record

from projections.registry import named
from projections.tally import Tally
from services.integrity.detector_counts import Counts, Days, Site
from services.integrity.detector_evidence import MOST_VOTES, UNMARKED, Pool, Votes, pairs
from services.integrity.marks import MarksOf
from services.integrity.ticks import DAY, tick_of, time_of

POOL: Final = 400
EARLIER: Final = 100
ANNOUNCED: Final = 3 * DAY
NAMED: Final = 2 * DAY
"""Ticks for which an announcement, or a digest that names a tool, explains votes."""

_TICK: Final = "(extract(epoch from at) / 600)::bigint"

_COUNTS: Final = named(f"""
select c.tool, array_agg({_TICK} order by c.at) as tick, array_agg(c.ship order by c.at) as ship,
       array_agg(c.skip order by c.at) as skip, array_agg(c.young_ship order by c.at) as young_ship,
       array_agg(c.young_skip order by c.at) as young_skip
from {{integrity}}.cells c
where c.at < $2 and c.tool = any (array(select distinct r.tool from {{integrity}}.cells r where r.at >= $1 and r.at < $2))
group by c.tool
""")  # noqa: S608 - made of a constant
_SITE: Final = named(f"select {_TICK} as tick, votes, young from {{integrity}}.ticks where at < $1 order by at")  # noqa: S608
_DAYS: Final = named("""
select d.tool, array_agg(d.day) as day, array_agg(d.ship) as ship, array_agg(d.skip) as skip
from (
    select tool, (extract(epoch from date_trunc('day', at, 'UTC')) / 86400)::bigint as day, sum(ship)::bigint as ship,
           sum(skip)::bigint as skip
    from {integrity}.cells where at < $1 group by 1, 2
) d
group by d.tool order by d.tool
""")
# What draws voters to a tool: that it is new here or announced, and digests that name it.
_EXPLAINED: Final = named("""
select a.tool, a.at, $1::bigint as ticks from {integrity}.announcements a
union all
select f.fact->>'tool', i.compiled_at, $2::bigint
from newsletter.issues i
cross join unnest(array['new_tools', 'movers', 'closest', 'disagreements']) as k(kind)
cross join jsonb_array_elements(coalesce(i.content->k.kind, '[]')) as f(fact)
where i.state <> 'cancelled' and i.compiled_at >= (select since from {integrity}.kept)
""")
# The last votes of a tool and a choice in some ticks; each cell says where in the log its votes are.
_VOTES: Final = named("""
select e.position, extract(epoch from e.recorded_at)::float8 as time, e.data->>'voter' as voter, e.data->>'tool' as tool,
       e.recorded_at, coalesce(log.made_at(e.data->>'voter') / 1000.0, 0)::float8 as made
from {integrity}.cells c
cross join lateral (
    select r.position, r.recorded_at, r.data
    from log.taken(c.first_position - 1, c.last_position, '{}', array['VoteCast']) r
    where r.data->>'tool' = c.tool and ($2::text is null or r.data->>'choice' = $2)
    offset 0 -- keeps this a look into each cell's part of the log
) e
where c.tool = $1 and c.at >= $3 and c.at < $4
order by c.at desc, e.position desc
limit $5
""")
_PICKED: Final = """
select e.position, extract(epoch from e.recorded_at)::float8 as time, e.data->>'voter' as voter, e.data->>'tool' as tool,
       e.recorded_at, coalesce(log.made_at(e.data->>'voter') / 1000.0, 0)::float8 as made
from unnest($1::bigint[]) p(position) cross join lateral log.at_position(p.position) e
where e.type = 'VoteCast' order by e.position
"""
_BOUNDS: Final = named("""
select (select coalesce(max(last_position), 0) from {integrity}.ticks where at < $1) as low,
       (select coalesce(max(last_position), 0) from {integrity}.ticks where at < $2) as high
""")
# Which other tools each voter had voted for until ten minutes after a vote, and which of them within ten minutes of it.
_OTHERS: Final = """
select v.n, o.number = 0 as alone, o.near
from unnest($1::text[], $2::text[], $3::timestamptz[]) with ordinality as v(voter, tool, at, n)
cross join lateral (
    select count(*) as number,
           coalesce(array_agg(distinct r.data->>'tool') filter (where r.recorded_at >= v.at - interval '10 minutes'),
                    '{}') as near
    from log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) r
    where r.type = 'VoteCast' and r.data->>'voter' = v.voter
      and r.data->>'tool' <> v.tool and r.recorded_at <= v.at + interval '10 minutes'
) o
order by v.n
"""
# The tallies of the listed tools as of a position: the view's, less what has happened since, or with what it has not seen yet.
_TALLIES: Final = named("""
select t.tool, t.ship + coalesce(d.ship, 0) as ship, t.skip + coalesce(d.skip, 0) as skip
from {cards}.tallies t
left join (
    select m.tool,
           sum(c.sign * (coalesce(m.plus = 'ship', false)::integer - coalesce(m.minus = 'ship', false)::integer)) as ship,
           sum(c.sign * (coalesce(m.plus = 'skip', false)::integer - coalesce(m.minus = 'skip', false)::integer)) as skip
    from (select position, case when position > $1 then -1 else 1 end as sign from {cards}.checkpoint) c
    cross join lateral log.changes_taken(least(c.position, $1), greatest(c.position, $1)) m
    group by m.tool
) d on d.tool = t.tool
where t.listed
""")

Known: TypeAlias = dict[int, Record]
"""What else voters did around the votes at these positions: neighbouring cells, what is usual of their tool and of their hour
are judged by the same votes over and over, and to look into a vote was half of what a scan cost the server."""
MOST_KNOWN: Final = 50_000


class Read(NamedTuple):
    """What the screen needs; `tools` has the tools' ids by their numbers, in order."""

    tools: Sequence[str]
    counts: Counts
    site: Site
    days: Days
    explained: Any


async def read(connection: "Connection[Any]", begin: int, end: int) -> Read:
    """Read what is needed to screen the cells that end in the ticks from `begin` to before `end`."""
    days = await connection.fetch(_DAYS, time_of(end))
    tools = [row["tool"] for row in days]
    number = {tool: n for n, tool in enumerate(tools)}
    counts = sorted(await connection.fetch(_COUNTS, time_of(begin), time_of(end)), key=lambda row: number[row["tool"]])
    site = await connection.fetch(_SITE, time_of(end))
    causes = [(number[r["tool"]], tick_of(r["at"]), r["ticks"]) for r in await connection.fetch(_EXPLAINED, ANNOUNCED, NAMED)
              if r["tool"] in number]  # fmt: skip
    explained = np.array([(tool, at, at + ticks) for tool, at, ticks in causes], np.int64).reshape(-1, 3)
    return Read(tools, _counts(counts, number), _site(site), _days(days, begin), explained)


def _counts(rows: Sequence[Record], number: Mapping[str, int]) -> Counts:
    tool = np.repeat([number[row["tool"]] for row in rows], [len(row["tick"]) for row in rows]).astype(np.int64)
    columns = {name: _joined(row[name] for row in rows) for name in ("tick", "ship", "skip", "young_ship", "young_skip")}
    votes, young = (np.stack([columns[f"{kind}ship"], columns[f"{kind}skip"]], 1) for kind in ("", "young_"))
    return Counts(tool, columns["tick"], votes, young)


def _joined(lists: Any) -> Any:
    return np.array([value for values in lists for value in values], np.int64)


def _site(rows: Sequence[Record]) -> Site:
    first = rows[0]["tick"] if rows else 0
    votes, young = np.zeros((2, rows[-1]["tick"] - first + 1 if rows else 0), np.int64)
    place = np.array([row["tick"] for row in rows], np.int64) - first
    votes[place], young[place] = [row["votes"] for row in rows], [row["young"] for row in rows]
    return Site(first, votes, young)


def _days(rows: Sequence[Record], begin: int) -> Days:
    """Return the votes of each day, from a day before the first cell on: of a young site the first ones are empty."""
    first = min(begin // DAY - 8, *(min(row["day"]) for row in rows)) if rows else 0
    last = max((max(row["day"]) for row in rows), default=0)
    votes = np.zeros((len(rows), last - first + 1, 2), np.int64)
    for number, row in enumerate(rows):
        votes[number, np.array(row["day"]) - first] = np.stack([row["ship"], row["skip"]], 1)
    return Days(first, votes)


async def read_votes(
    connection: "Connection[Any]", tool: str, choice: str, begin: int, end: int, marks: MarksOf, known: Known
) -> Votes:
    """Read the last votes of a cell, with what else their voters did."""
    rows = (await connection.fetch(_VOTES, tool, choice, time_of(begin), time_of(end), MOST_VOTES))[::-1]
    others, marked = await _others(connection, rows, known), await _marked(connection, rows, marks)
    return Votes(_column(rows, "time"), _column(rows, "time") - _column(rows, "made"), _alone(others), marked,
                 [row["near"] for row in others])  # fmt: skip


async def read_pool(connection: "Connection[Any]", hour: int, marks: MarksOf, known: Known) -> Pool:
    """Read votes of the site, evenly picked from the day up to an hour (in hours since 1970)."""
    bounds = await connection.fetchrow(_BOUNDS, time_of(hour * 6 - DAY), time_of(hour * 6))
    assert bounds is not None  # noqa: S101 - the statement returns one row
    low, high = bounds["low"], bounds["high"]
    picked = np.unique((low + (np.arange(POOL) + 0.5) * (high - low) / POOL).astype(np.int64)) + 1
    rows = await connection.fetch(_PICKED, picked.tolist())
    others = await _others(connection, rows, known)
    young = _column(rows, "time") - _column(rows, "made") < 600
    return Pool(young, _alone(others), await _marked(connection, rows, marks))


async def read_earlier(connection: "Connection[Any]", tool: str, begin: int, known: Known) -> Mapping[str, float]:
    """Return the share of a tool's voters in the weeks before that voted for each two other tools within minutes."""
    rows = await connection.fetch(_VOTES, tool, None, time_of(begin - 28 * DAY), time_of(begin), EARLIER)
    counts = Counter(pair for row in await _others(connection, rows, known) for pair in pairs(row["near"]))
    return {pair: (count + 1) / (len(rows) + 10) for pair, count in counts.items()}


async def read_tallies(connection: "Connection[Any]", position: int) -> Mapping[str, Tally]:
    """Return the tallies of all listed tools as of a position of the log."""
    return {row["tool"]: (int(row["ship"]), int(row["skip"])) for row in await connection.fetch(_TALLIES, position)}


async def _others(connection: "Connection[Any]", rows: Sequence[Record], known: Known) -> Sequence[Record]:
    """Return what else each vote's voter did, looked up where it isn't known."""
    if new := [row for row in rows if row["position"] not in known]:
        columns = ([row[name] for row in new] for name in ("voter", "tool", "recorded_at"))
        found = await connection.fetch(_OTHERS, *columns)
        known |= zip((row["position"] for row in new), found, strict=True)
    others = [known[row["position"]] for row in rows]
    if len(known) > MOST_KNOWN:
        known.clear()
    return others


async def _marked(connection: "Connection[Any]", rows: Sequence[Record], marks: MarksOf) -> Any:
    known = await marks(connection, [row["position"] for row in rows])
    return np.array([known.get(row["position"], UNMARKED) for row in rows], np.int64)


def _column(rows: Sequence[Record], name: str) -> Any:
    return np.array([row[name] for row in rows], float)


def _alone(rows: Sequence[Record]) -> Any:
    return np.array([row["alone"] for row in rows], bool)
