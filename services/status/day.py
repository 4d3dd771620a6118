"""What changed since yesterday: the last 24 hours of the log, of the mails, of the disk and of the processes.

It is counted from indexes: ballots are the events that are nothing else, and of all others there are few.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from services.sizes import size
from services.status.model import Day, Starts

Database: TypeAlias = "Pool[Any] | Connection[Any]"

SINCE: Final = 47
"""The migration from which on starts and sizes are kept."""

_SPAN: Final = """
select now() - interval '1 day' as since, log.position_at(now() - interval '1 day') as first, h.position as last from log.head h
"""
_OTHERS: Final = """
select e.type, count(*) as events from log.events e
where e.position > $1 and e.position <= $2 and (e.type not in ('VoteCast', 'VoteRetracted') or e.schema_version <> 1)
group by e.type
"""
_CORRECTIONS: Final = """
select count(distinct e.data->>'correction') from log.events e
where e.position > $1 and e.position <= $2 and (e.type not in ('VoteCast', 'VoteRetracted') or e.schema_version <> 1)
  and e.type = 'CorrectionRecorded'
"""
_COHORTS: Final = "select count(*) from integrity.cohorts where found_at > $1"
# Of the issues that were under way since then.
_MAILS: Final = """
select count(*) filter (where m.state = 'accepted') as accepted, count(*) filter (where m.state = 'rejected') as refused
from newsletter.issues i join newsletter.mails m on m.issue = i.number
where (i.state = 'planned' or i.settled_at > $1) and m.settled_at > $1
"""
_WAITING: Final = "select count(*) from newsletter.mails where state in ('pending', 'deferred')"
_SIZES: Final = f"select pg_database_size(current_database()) as bytes, ({_WAITING}) as waiting_mails"
# The last of yesterday's that is a day old or older; none on a site that is younger.
_YESTERDAY: Final = "select bytes, waiting_mails from status.sizes where hour <= $1 order by hour desc limit 1"
_STARTS: Final = """
select kind, count(*) as starts, array_agg(distinct release order by release) as releases
from status.starts where started_at > $1 group by kind order by kind
"""
_KEEP_SIZES: Final = f"""
insert into status.sizes (hour, bytes, waiting_mails)
select date_trunc('hour', now()), s.bytes, s.waiting_mails from ({_SIZES}) s
on conflict (hour) do nothing
"""  # noqa: S608 - a statement of ours
_PRUNE_SIZES: Final = "delete from status.sizes where hour < now() - interval '8 days'"

_TYPES: Final = {
    "tools_added": "ToolAdded",
    "tools_unlisted": "ToolUnlisted",
    "reviews": "ReviewSubmitted",
    "sign_ups": "SubscriptionRequested",
    "confirmed": "SubscriptionConfirmed",
    "unsubscribed": "Unsubscribed",
    "suppressed": "SubscriberSuppressed",
    "erased": "PersonErased",
}


async def read_day(connection: "Connection[Any]") -> Day:
    """Return what changed in the last 24 hours."""
    span = await connection.fetchrow(_SPAN)
    assert span is not None  # noqa: S101 - the head has one row
    since, first, last = span
    others = {row["type"]: row["events"] for row in await connection.fetch(_OTHERS, first, last)}
    mails, sizes = await connection.fetchrow(_MAILS, since), await connection.fetchrow(_SIZES)
    assert mails is not None and sizes is not None  # noqa: S101 - each returns one row
    before = await connection.fetchrow(_YESTERDAY, since)
    return Day(
        since=since,
        events=last - first,
        votes=last - first - sum(others.values()),
        **{name: others.get(type_, 0) for name, type_ in _TYPES.items()},
        corrections=await connection.fetchval(_CORRECTIONS, first, last),
        cohorts=await connection.fetchval(_COHORTS, since),
        digests_accepted=mails["accepted"],
        digests_refused=mails["refused"],
        waiting_mails=sizes["waiting_mails"],
        waiting_mails_before=None if before is None else before["waiting_mails"],
        grown_bytes=None if before is None else sizes["bytes"] - before["bytes"],
        starts=[Starts(**row) for row in await connection.fetch(_STARTS, since)],
    )


async def keep_sizes(database: Database) -> None:
    """Keep the sizes of this hour, once whoever asks."""
    await database.execute(_KEEP_SIZES)
    await database.execute(_PRUNE_SIZES)


def said(day: Day) -> Iterator[str]:
    """Return what changed, a line a subject; what is nil is left out, but for the votes."""
    votes = [f"{day.votes:,} {'vote' if day.votes == 1 else 'votes'}"]
    votes += _named(day.reviews, "review", "reviews") + _named(day.corrections, "correction", "corrections")
    yield ", ".join([*votes, *_named(day.cohorts, "cohort that looks bought", "cohorts that look bought")])
    tools = _named(day.tools_added, "tool added", "tools added") + _named(
        day.tools_unlisted, "tool taken off", "tools taken off"
    )
    people = _named(day.sign_ups, "sign-up", "sign-ups") + _named(day.confirmed, "confirmed", "confirmed")
    people += _named(day.unsubscribed, "unsubscribed", "unsubscribed") + _named(day.suppressed, "suppressed", "suppressed")
    people += _named(day.erased, "person erased", "persons erased")
    mails = _named(day.digests_accepted, "digest accepted", "digests accepted")
    mails += _named(day.digests_refused, "refused", "refused") + _waiting(day)
    grown = day.grown_bytes or 0
    disk = [f"the database {'grew' if grown > 0 else 'shrank'} by {size(abs(grown))}"] if grown else []
    yield from (", ".join(words) for words in (tools, people, mails, disk) if words)
    for starts in day.starts:
        times = f"{starts.starts} times" if starts.starts > 1 else "once"
        yield f"{starts.kind} started {times}, release {' and '.join(starts.releases)}"


def _waiting(day: Day) -> list[str]:
    before = day.waiting_mails_before
    if not day.waiting_mails and not before:
        return []
    return [f"{day.waiting_mails:,} waiting" + ("" if before is None else f" ({before:,} a day ago)")]


def _named(count: int, one: str, several: str) -> list[str]:
    return [f"{count:,} {one if count == 1 else several}"] if count else []
