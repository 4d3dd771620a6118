"""What speaks for and against a cohort, for the operator who decides: counts and shares, never who voted on what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import exp
from typing import Final

import msgspec

from events.ballots import pseudonym
from events.log.archive.reading import read_at
from projections.registry import named
from services.integrity import cohorts
from services.integrity.cohorts import Cohort, Database, Vote
from services.integrity.marks import marks_of

TICK: Final = timedelta(minutes=10)
WEEKS: Final = 4
SAMPLE: Final = 12
MOST_ASKED: Final = 1_000
"""So many voters are asked what else they voted on."""
SEVERAL: Final = 3
"""What fewer voters share is nobody's business."""
AGES: Final = {"1 minute": 60.0, "10 minutes": 600.0, "1 hour": 3600.0, "1 day": 86400.0, "1 week": 604800.0, "1 month": 2.6e6}
GAPS: Final = {"1 s": 1.0, "5 s": 5.0, "30 s": 30.0, "2 min": 120.0, "10 min": 600.0, "1 h": 3600.0, "6 h": 21600.0}


class _OfVoter(msgspec.Struct, frozen=True):
    """The part of a vote that is asked for here."""

    voter: str


_voters: Final = msgspec.json.Decoder(_OfVoter)


class Bucket(msgspec.Struct, frozen=True):
    """The votes of a tool and a choice from a time on, and how many are usual then; null where no earlier week is kept."""

    at: datetime
    votes: int
    usual: float | None
    suspected: bool


class Share(msgspec.Struct, frozen=True):
    """How many percent of something fall below a bound that the last one didn't reach, and how many usually do."""

    below: str
    percent: float
    usual_percent: float


class Shared(msgspec.Struct, frozen=True):
    """Another tool, by slug, and how many of the voters voted on it too."""

    tool: str
    voters: int


class Evidence(msgspec.Struct, frozen=True):
    """All that is shown of a cohort. `voters` have their vote in it still, with `ballots` on `tools`, which a void takes out.

    `networks` are the sizes of its largest networks, null where no marks are kept.
    """

    bucket_seconds: int
    histogram: list[Bucket]
    ages: list[Share]
    spacing: list[Share]
    shared: list[Shared]
    networks: list[int] | None
    sample: list[str]
    voters: int
    ballots: int
    tools: int


_CELLS: Final = named("""
select at, case $2 when 'ship' then ship else skip end as votes from {integrity}.cells where tool = $1 and at >= $3 and at < $4
""")
_KEPT: Final = named("""
select coalesce((select since from {integrity}.kept), '-infinity') as since, (select min(at) from {integrity}.ticks) as first
""")
# Some positions of the day before, evenly picked.
_DAY_BEFORE: Final = named("""
select p.position
from (
    select coalesce((select max(last_position) from {integrity}.ticks where at < $1::timestamptz - interval '1 day'), 0) as low,
           coalesce((select max(last_position) from {integrity}.ticks where at < $1), 0) as high
) b
cross join lateral generate_series(b.low + 1, b.high, greatest(1, (b.high - b.low) / 400)) as p(position)
order by 1
""")
_AGES: Final = """
select extract(epoch from e.recorded_at)::float8 - log.made_at(e.data->>'voter') / 1000.0 as age
from unnest($1::bigint[]) as p(position)
join lateral log.at_position(p.position) e on e.type = 'VoteCast'
union all
select extract(epoch from v.at)::float8 - log.made_at(v.voter) / 1000.0
from unnest($2::text[], $3::timestamptz[]) as v(voter, at)
"""
# What else voters have voted on, and how many ballots they have in all.
_BALLOTS: Final = named("""
select t.slug, r.tool, count(*) as voters
from (
    select distinct on (e.stream) e.data->>'tool' as tool, e.type
    from unnest($1::text[]) as v(voter)
    join lateral log.between_streams(log.first_stream(v.voter), log.last_stream(v.voter)) e
        on e.data->>'voter' = v.voter and e.type in ('VoteCast', 'VoteRetracted')
    order by e.stream, e.version desc
) r
join {cards}.tools t on t.tool = r.tool
where r.type = 'VoteCast'
group by 1, 2
order by voters desc, t.slug
""")


async def read(database: Database, cohort: Cohort) -> Evidence:
    """Return the evidence about a cohort."""
    votes = await cohorts.votes(database, cohort.tool, cohort.choice, cohort.begins, cohort.ends)
    voters = [vote.voter for vote in votes if vote.stands]
    bucket, histogram = await _histogram(database, cohort)
    site_ages = await _site_ages(database, cohort.begins)
    ballots = await database.fetch(_BALLOTS, voters[:MOST_ASKED])
    marked = await marks_of(database, [vote.position for vote in votes])
    others = [Shared(row["slug"], row["voters"]) for row in ballots if row["tool"] != cohort.tool]
    return Evidence(
        bucket_seconds=int(bucket.total_seconds()),
        histogram=histogram,
        ages=_shares(AGES, [vote.age for vote in votes], site_ages),
        spacing=_spacing(votes),
        shared=[other for other in others if other.voters >= SEVERAL][:8],
        networks=sorted(Counter(marked.values()).values(), reverse=True)[:5] if marked else None,
        sample=sorted(pseudonym(voter, cohort.tool) for voter in voters)[:SAMPLE],
        voters=len(voters),
        ballots=sum(row["voters"] for row in ballots) * len(voters) // max(1, len(voters[:MOST_ASKED])),
        tools=len(ballots),
    )


async def _site_ages(database: Database, before: datetime) -> list[float]:
    """Return how old visitors were when they voted: some votes of the whole site, of the day before. Archived ones too.

    Raises PlaceUnusable, FileBroken, ArchiveRefused.
    """
    positions = [row["position"] for row in await database.fetch(_DAY_BEFORE, before)]
    archived = [row for row in await read_at(database, positions) if row.type == "VoteCast"]
    voters = [_voters.decode(row.data).voter for row in archived]
    rows = await database.fetch(_AGES, positions, voters, [row.recorded_at for row in archived])
    return [float(row["age"]) for row in rows if row["age"] is not None]


def frame(begins: datetime, ends: datetime) -> tuple[timedelta, datetime, datetime]:
    """Return how long a bucket of the histogram is, and the times from and before which there are buckets."""
    length = ends - begins
    bucket = TICK if length <= timedelta(hours=1) else timedelta(hours=1) if length <= timedelta(days=1) else timedelta(hours=6)
    around = max(length, 18 * bucket)
    epoch = datetime(2000, 1, 1, tzinfo=begins.tzinfo)
    first = epoch + (begins - around - epoch) // bucket * bucket
    return bucket, first, first + -((first - ends - around / 2) // bucket) * bucket


async def _histogram(database: Database, cohort: Cohort) -> tuple[timedelta, list[Bucket]]:
    bucket, first, until = frame(cohort.begins, cohort.ends)
    kept = await database.fetchrow(_KEPT)
    since = None if kept["first"] is None else max(kept["since"], kept["first"])  # type: ignore[index]
    if since is None or first < since - 2 * (until - first):
        return bucket, []  # the counts of that time are kept no more
    rows = await database.fetch(_CELLS, cohort.tool, cohort.choice, first - WEEKS * timedelta(weeks=1), until)
    counts: Counter[datetime] = Counter()
    for at, votes in rows:
        counts[first + (at - first) // bucket * bucket] += votes
    found = []
    while first < until:
        suspected = first < cohort.ends and first + bucket > cohort.begins
        found.append(Bucket(first, counts[first], _usual(counts, first, since), suspected))
        first += bucket
    return bucket, found


def _usual(counts: Mapping[datetime, int], at: datetime, since: datetime) -> float | None:
    """Return the mean of the same hours in the weeks before, as far as they are kept."""
    weeks = [at - week * timedelta(weeks=1) for week in range(1, WEEKS + 1)]
    known = [counts[week] for week in weeks if week >= since]
    return round(sum(known) / len(known), 2) if known else None


def _shares(bounds: Mapping[str, float], seen: Sequence[float], usual: Sequence[float]) -> list[Share]:
    return [Share(name, _percent(seen, low, high), _percent(usual, low, high)) for name, low, high in _between(bounds)]


def _between(bounds: Mapping[str, float]) -> list[tuple[str, float, float]]:
    highs = [*bounds.items(), ("longer", float("inf"))]
    return [(name, low, high) for (name, high), low in zip(highs, [float("-inf"), *bounds.values()], strict=True)]


def _percent(values: Sequence[float], low: float, high: float) -> float:
    return round(100 * sum(low <= value < high for value in values) / max(1, len(values)), 1)


def _spacing(votes: Sequence[Vote]) -> list[Share]:
    """Return how the times between votes spread, against what chance (an exponential of the same mean) would give."""
    times = sorted(vote.at for vote in votes)
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(times)]
    mean = max(1e-6, sum(gaps) / max(1, len(gaps)))
    return [
        Share(name, _percent(gaps, low, high), round(100 * (exp(-max(0.0, low) / mean) - exp(-high / mean)), 1))
        for name, low, high in _between(GAPS)
    ]
