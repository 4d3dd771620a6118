"""Hold a provider's mails when many in a row are refused for no reader's fault: more of them would be refused too.

A row is counted in the database, over all workers; a mail that is taken breaks it. The digests of a held provider wait, with
those that were refused for the same cause, until an operator resumes it or the provider takes a probe: one of them, tried at
growing intervals. The relay is held as a provider of everybody. Single mails never are: each is tried again by itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from services.newsletter.providers import RELAY

Database: TypeAlias = "Pool[Any] | Connection[Any]"

MANY_GONE: Final = 5
"""Readers of a chunk, more than were taken there, whose addresses are refused as dead before the server is doubted."""
ROW: Final = 10
"""Mails in a row whose refusal holds a provider."""
MANY_REFUSED: Final = 10
"""Readers refused in a day of whom an operator is told."""
PROBE_SECONDS: Final = (300, 900, 1800, 3600, 7200, 14400)
"""Seconds from a hold to its first probe, from that to the second, and so on; the last counts for all further ones."""
RELAY_NAME: Final = "relay"
"""What operators call the relay where a provider is named."""
RESUME_HELD: Final = (
    "see `ballotpress digest holds`, mend the cause, then `ballotpress digest resume`; now and then a mail is tried"
)
ABOUT_US: Final = "refused, about us"
"""The beginning of such a mail's reason."""
WAITS: Final = "its provider is held"
"""The reason of mails that wait with those that were refused."""
DOUBTED: Final = f"{ABOUT_US} (nearly every address as unknown)"
"""The reason of mails whose server refuses so many addresses that it is doubted, until an operator resumes its provider."""

# A row begins anew a day after its last refusal.
REFUSED: Final = """
insert into newsletter.holds as h (provider, refused, held_for)
select t.provider, t.refused, t.reason from unnest($1::text[], $2::integer[], $3::text[]) t(provider, refused, reason)
order by t.provider
on conflict (provider) do update
set refused = excluded.refused + case when h.at < now() - interval '1 day' then 0 else h.refused end, at = now(),
    held_for = case when h.held_at is null then excluded.held_for else h.held_for end
"""
# A provider that is held again soon is probed as seldom as it was at last.
HOLD: Final = """
with long as (
    select h.provider from newsletter.holds h where h.provider = any($1::text[]) and h.held_at is null and h.refused >= $2
    order by h.provider for update
)
update newsletter.holds h
set held_at = now(), probe_at = now() + ($3::integer[])[least(h.step + 1, cardinality($3))] * interval '1 second'
from long l where h.provider = l.provider returning h.provider
"""
HELD_OF: Final = "select provider from newsletter.holds where provider = any($1::text[]) and held_at is not null"
# That some addresses are taken doesn't end the doubt about a server; that an address is taken which it refused as unknown does.
TAKEN: Final = f"""
with taken as (
    select h.provider from newsletter.holds h
    where h.provider = any($1::text[]) and (h.refused > 0 or h.held_at is not null)
      and (h.held_at is null or h.held_for <> '{DOUBTED}' or h.provider = any($2::text[]))
    order by h.provider for update
)
update newsletter.holds h set refused = 0, held_at = null, probe_at = null from taken t where h.provider = t.provider
"""  # noqa: S608 - a constant
RESUME: Final = f"""
with resumed as (
    update newsletter.holds
    set refused = 0, held_at = null, probe_at = null, at = now(), believed_at = case when held_for = '{DOUBTED}' then now() end
    where held_at is not null and ($1::text is null or provider = $1) returning provider
)
select r.provider, operators.note($2, 'resumed-hold', coalesce(nullif(r.provider, ''), '{RELAY_NAME}')) from resumed r
"""  # noqa: S608

# Three statements that bring the mails in line with the holds: those refused in the last three days wait with the others; those
# that wait for nobody go on; and what is over needs no provider's name.
RECALL: Final = f"""
with recalled as (
    update newsletter.mails m set state = 'deferred', settled_at = null, not_before = 'infinity'
    from newsletter.holds h, newsletter.issues i
    where m.provider is not null and h.held_at is not null and (m.provider = h.provider or h.provider = '')
      and i.number = m.issue and i.state in ('planned', 'settled')
      and m.state = 'rejected' and m.reason like '{ABOUT_US}%' and m.settled_at > now() - interval '3 days'
    returning m.issue
)
update newsletter.issues set state = 'planned', settled_at = null
where state = 'settled' and number in (select r.issue from recalled r)
"""  # noqa: S608
FREE: Final = """
update newsletter.mails m set not_before = now(), provider = null
where m.provider is not null and m.state in ('pending', 'deferred') and m.not_before = 'infinity'
  and not exists (select from newsletter.holds h where h.provider = m.provider and h.held_at is not null)
"""
TIDY: Final = """
update newsletter.mails m set provider = null
where m.provider is not null and m.state not in ('pending', 'attempting', 'deferred')
  and (m.state <> 'rejected' or m.settled_at < now() - interval '3 days')
"""
FORGET: Final = """
delete from newsletter.holds where held_at is null and greatest(at, believed_at) < now() - interval '3 days'
"""

STANDING: Final = """
select provider, held_for, held_at is not null as is_held from newsletter.holds where refused > 0 or held_at is not null
"""
BELIEVED: Final = """
select provider from newsletter.holds where provider = any($1::text[]) and believed_at > now() - interval '3 days'
"""
RETRY: Final = f"""
with again as (
    update newsletter.mails
    set state = 'pending', reason = null, provider = null, claim = null, not_before = now(), settled_at = null
    where issue = $1 and state = 'rejected' and reason like '{ABOUT_US}%' returning 1
),
reopened as (
    update newsletter.issues set state = 'planned', settled_at = null
    where number = $1 and state = 'settled' and exists (select from again)
)
select count(*) from again
"""  # noqa: S608
READ_READERS: Final = """
select count(distinct b.reader) from newsletter.bounces b where b.kind = 'ours' and b.recorded_at > now() - interval '1 day'
"""
# Of the relay wait all digests, also those that no worker has looked at.
READ_HOLDS: Final = """
select h.provider, h.held_at as since, h.held_for as reason, h.probe_at,
       case when h.provider = '' then (select count(*) from newsletter.mails m join newsletter.issues i on i.number = m.issue
                                       where m.issue > 0 and i.state = 'planned' and m.state in ('pending', 'deferred'))
            else (select count(*) from newsletter.mails m where m.provider = h.provider and m.state = 'deferred') end as mails
from newsletter.holds h where h.held_at is not null order by h.held_at, h.provider
"""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that is held: since when, the refusals' reason, how many mails wait, and when one is tried."""

    provider: str
    since: datetime
    reason: str
    mails: int
    probe_at: datetime


class Refused(msgspec.Struct, frozen=True):
    """How many readers' servers refused us in the last day, and the providers that are held for that."""

    readers: int
    held: tuple[Hold, ...]


class Standing(msgspec.Struct, frozen=True):
    """The providers with a row of refusals, and those of them that are held, with the reason."""

    rows: Set[str]
    held: dict[str, str]


class Answers:
    """What the providers said to the digests of a chunk."""

    def __init__(self) -> None:
        self.refused: defaultdict[str, list[str]] = defaultdict(list)
        self.taken: set[str] = set()
        self.probes_taken: set[str] = set()

    def hear(self, provider: str, is_taken: bool, refusal: str | None, probe: str | None) -> None:
        """Take down what a provider said to a mail: that it takes it, why it refused it for our fault, or neither."""
        if is_taken:
            self.taken.add(provider)
            if probe is not None:
                self.probes_taken.add(probe)
        elif refusal is not None:
            self.refused[provider].append(refusal)

    def concern(self, standing: Standing) -> bool:
        """Return whether they change any row of refusals."""
        return bool(self.refused) or (bool(self.taken) and not standing.rows.isdisjoint({RELAY, *self.taken}))


def said_held(held: Iterable[str]) -> str:
    """Return a line on providers that are held."""
    if RELAY in (names := list(held)):
        return "All digests are held: mails in a row were refused for no fault of their readers"
    return f"Mails to {', '.join(sorted(names))} are held: mails in a row were refused there for no fault of their readers"


def named(provider: str) -> str:
    """Return what operators call a provider."""
    return provider or RELAY_NAME


def unnamed(name: str) -> str:
    """Return the provider that an operator's name means."""
    return RELAY if name.lower() == RELAY_NAME else name.lower()


async def standing(database: Database) -> Standing:
    """Return how the providers stand."""
    rows = await database.fetch(STANDING)
    return Standing({row["provider"] for row in rows}, {row["provider"]: row["held_for"] for row in rows if row["is_held"]})


async def believed(database: Database, providers: Iterable[str]) -> set[str]:
    """Return those of the providers whose refusals of addresses an operator has decided to believe."""
    return {row["provider"] for row in await database.fetch(BELIEVED, sorted(providers))}


async def note(database: Database, answers: Answers) -> list[str]:
    """Count refusals in a row, and end the rows that a taken mail breaks; return the providers that are held from now on.

    Refusals of several providers count for the relay together, unless one of them is held by itself.
    """
    doubted = {provider for provider, reasons in answers.refused.items() if DOUBTED in reasons}
    taken = answers.taken - doubted
    if answers.taken:
        taken |= {RELAY} - doubted
        await database.execute(TAKEN, sorted(taken), sorted(answers.probes_taken))
    refused = {name: reasons for name, reasons in answers.refused.items() if name not in taken and name != RELAY}
    newly = await _count(database, refused)
    held = {row["provider"] for row in await database.fetch(HELD_OF, sorted(refused))} if refused else set()
    if RELAY not in taken:
        others = [reason for name, reasons in refused.items() if name not in held for reason in reasons if reason != DOUBTED]
        newly += await _count(database, {RELAY: [*others, *answers.refused.get(RELAY, ())]})
    await align(database)
    return newly


async def _count(database: Database, refused: Mapping[str, Sequence[str]]) -> list[str]:
    """Count refusals by provider; return those whose rows have become long enough to hold them. One doubt is a long row."""
    rows = [_row(name, reasons) for name, reasons in refused.items() if reasons]
    if not rows:
        return []
    names, counts, reasons = zip(*rows, strict=True)
    await database.execute(REFUSED, names, counts, reasons)
    return [row["provider"] for row in await database.fetch(HOLD, names, ROW, PROBE_SECONDS)]


def _row(name: str, reasons: Sequence[str]) -> tuple[str, int, str]:
    return (name, max(len(reasons), ROW), DOUBTED) if DOUBTED in reasons else (name, len(reasons), reasons[-1])


async def align(database: Database) -> None:
    """Let mails wait for the providers that are held, and those go on that wait for no other."""
    for statement in (RECALL, FREE):
        await database.execute(statement)


async def tidy(database: Database) -> None:
    """Bring mails in line that a race left out, and forget providers whose refusals are over."""
    await align(database)
    for statement in (TIDY, FORGET):
        await database.execute(statement)


async def resume(database: Database, operator: str, provider: str | None = None) -> list[str]:
    """Let a provider's mails go on, or everybody's, as an operator says; return the providers that were held."""
    resumed = [row["provider"] for row in await database.fetch(RESUME, provider, operator)]
    await align(database)
    return resumed


async def retry(database: Database, issue: int) -> int:
    """Send the mails of an issue again that were refused for no reader's fault; return their number."""
    again: int = await database.fetchval(RETRY, issue)
    return again


async def read_holds(database: Database) -> tuple[Hold, ...]:
    """Return the providers that are held, the longest held first."""
    return tuple(Hold(**row) for row in await database.fetch(READ_HOLDS))


async def read_refused(database: Database) -> Refused:
    """Return what an operator must know of refusals."""
    return Refused(await database.fetchval(READ_READERS), await read_holds(database))
