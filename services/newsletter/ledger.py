"""The ledger of mails: claimed in short chunks, attempted after the claim is committed, their outcomes committed after that.

The statement that claims asks the log itself whether each reader may be mailed, because a view may be a moment behind. A claim
whose lease ran out is uncertain: its mails may have gone out, and an operator decides about them.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from emails.refusals import Verdict
from projections import subscribers
from services.newsletter.holds import ABOUT_US, PROBE_SECONDS

Database: TypeAlias = "Pool[Any] | Connection[Any]"
State = Literal["pending", "attempting", "deferred", "accepted", "rejected", "uncertain", "cancelled", "excluded"]

STATES: Final = ("pending", "attempting", "deferred", "accepted", "rejected", "uncertain", "cancelled", "excluded")
CHUNK: Final = 50
"""Mails claimed at once. A lost worker can leave this many uncertain, times its lanes."""

RELAY_IS_HELD: Final = "from newsletter.holds r where r.provider = '' and r.held_at is not null"
PROBE_IS_DUE: Final = f"""
h.held_at is not null and h.probe_at <= now() and (select s.paused_at is null from newsletter.schedule s)
  and (select g.is_open and (not g.is_capped or g.room > 0) from newsletter.gate g)
  and not exists (select from newsletter.slowdowns d where d.name in ('', h.provider) and d.until > now())
  and (h.provider = '' or not exists (select {RELAY_IS_HELD}))
"""  # noqa: S608 - a constant
# Of a provider one of the mails that wait for it, rather one that was refused; of the relay, any that is due.
ONE_THAT_WAITS: Final = """
cross join lateral (
    (select m.issue, m.reader, m.mail from newsletter.mails m
     where m.provider = h.provider and m.issue > 0 and m.state = 'deferred'
     order by m.reason is not distinct from h.held_for desc, random() limit 1)
    union all
    (select m.issue, m.reader, m.mail from newsletter.mails m
     where h.provider = '' and m.issue > 0 and m.state in ('pending', 'deferred') and m.not_before <= now()
     order by m.issue, m.not_before limit 1)
    limit 1
) c
"""

IS_DUE: Final = f"""
select not exists (select from newsletter.slowdowns d where d.name = '' and d.until > now())
   and (exists (select from newsletter.mails m
                where m.state in ('pending', 'deferred') and m.not_before <= now() and m.issue = 0)
        or (select s.paused_at is null from newsletter.schedule s)
           and (exists (select from newsletter.mails m
                        where m.state in ('pending', 'deferred') and m.not_before <= now() and m.issue > 0
                          and (select g.is_open and (not g.is_capped or g.room > 0) from newsletter.gate g)
                          and not exists (select {RELAY_IS_HELD}))
                or exists (select from newsletter.holds h {ONE_THAT_WAITS} where {PROBE_IS_DUE})))
"""  # noqa: S608 - constants

# Single mails (issue 0) go first. Digests go to confirmed subscribers, confirmations to pending ones. Where digests have a cap,
# the day's row is locked first, so what it lets pass is counted before anybody else reads it. A probe is a digest.
CLAIM: Final = f"""
with gate as materialized (select g.day, g.is_open, g.is_capped from newsletter.gate g),
today as materialized (
    select d.day, d.cap - d.mails as room from newsletter.days d
    where d.provider = '' and d.day = (select g.day from gate g where g.is_open and g.is_capped) for update
),
probing as (
    select h.provider, h.held_for from newsletter.holds h where {PROBE_IS_DUE}
      and (select not g.is_capped or exists (select from today t where t.room > 0) from gate g)
    limit (select t.room from today t where t.room > 0) for update skip locked
),
chosen as (
    select c.issue, c.reader, c.mail, h.provider from probing h {ONE_THAT_WAITS}
),
probes as (
    select m.issue, m.reader, m.mail, m.kind, c.provider from newsletter.mails m
    join chosen c on c.issue = m.issue and c.reader = m.reader and c.mail = m.mail
    where m.state in ('pending', 'deferred') for update of m skip locked
),
probed as (
    update newsletter.holds h
    set step = h.step + 1, probe_at = now() + ($4::integer[])[least(h.step + 2, cardinality($4))] * interval '1 second'
    from probes p where h.provider = p.provider
),
due as (
    select m.issue, m.reader, m.mail, m.kind from newsletter.mails m
    where m.state in ('pending', 'deferred') and m.not_before <= now()
      and m.issue <= (select case when s.paused_at is null and not exists (select {RELAY_IS_HELD}) and g.is_open
                                       and (not g.is_capped or exists (select from today t where t.room > 0))
                                  then 2147483647 else 0 end
                      from newsletter.schedule s, gate g)
      and not exists (select from newsletter.slowdowns d where d.name = '' and d.until > now())
    order by m.issue, m.not_before
    limit least($1::bigint, (select t.room - (select count(*) from probes) from today t where t.room > 0))
    for update of m skip locked
),
asked as (
    select d.issue, d.reader, d.mail, d.probe, s.round, s.address, s.categories,
           case when coalesce(s.status, 'erased') = 'erased' then 'erased'
                when s.suppressed is not null and d.kind <> 'confirmation' then 'suppressed'
                when d.kind = 'confirmation' and s.status <> 'pending' and s.suppressed is null then 'no longer asked for'
                when d.kind <> 'confirmation' and s.status = 'unsubscribed' then 'unsubscribed'
                when d.kind <> 'confirmation' and s.status <> 'confirmed' then 'not confirmed'
                when d.kind = 'digest' and s.paused_until > current_date then 'paused'
           end as reason
    from (select p.issue, p.reader, p.mail, p.kind, p.provider as probe from probes p
          union all select d.issue, d.reader, d.mail, d.kind, null from due d) d
    cross join lateral newsletter.subscriber(d.reader) s
),
claimed as (
    update newsletter.mails m
    set state = case when a.reason is null then 'attempting' else 'cancelled' end, reason = a.reason, claim = $2,
        claims = m.claims + 1,
        lease_until = case when a.reason is null then now() + $3 * interval '1 second' end,
        settled_at = case when a.reason is null then null else now() end
    from asked a where m.issue = a.issue and m.reader = a.reader and m.mail = a.mail
    returning m.issue, m.reader, m.mail, m.kind, m.state, m.attempts, m.claims, a.round, a.address, a.categories, a.probe
),
counted as (
    update newsletter.days d set mails = d.mails + c.mails
    from (select count(*) as mails from claimed where issue > 0 and state = 'attempting') c
    where d.provider = '' and d.day = (select t.day from today t) and c.mails > 0
)
select c.issue, c.reader, c.mail, c.kind, c.attempts, c.claims, c.round, c.address,
       coalesce(c.categories, '[]') as categories, c.probe,
       case when c.issue > 0 then (select t.day from today t) end as day
from claimed c where c.state = 'attempting'
"""  # noqa: S608

# A worker that was thought lost may still record its outcomes, unless an operator has decided meanwhile. A mail that a held
# provider put off, or refused for no fault of its reader ($11: how its reason begins), waits with its others. While the relay
# is held, every mail that was refused so waits. A digest whose try isn't counted is taken back from its day's count ($12).
RECORD: Final = """
with recorded as (
    update newsletter.mails m
    set state = o.state, code = o.code, reason = o.reason, attempts = m.attempts + o.tried, lease_until = null,
        claims = greatest(m.claims + least(o.claims, 0), o.claims),
        not_before = case when o.is_held and o.state = 'deferred' then 'infinity' else now() + o.wait * interval '1 second' end,
        provider = case when (o.is_held and o.state = 'deferred') or o.reason like $11 || '%' then o.provider end,
        settled_at = case when o.state in ('pending', 'deferred') then null else now() end
    from (
        select o.issue, o.reader, o.mail, o.code, o.reason, o.tried, o.wait, o.provider, o.claims,
               coalesce(h.is_own, false) as is_held,
               case when o.state = 'rejected' and h.is_own is not null and o.reason like $11 || '%' then 'deferred'
                    else o.state end as state
        from unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::smallint[],
                    $8::integer[], $9::text[], $13::integer[])
            as o(issue, reader, mail, state, code, reason, tried, wait, provider, claims)
        left join lateral (select bool_or(h.provider = o.provider) as is_own from newsletter.holds h
                           where h.provider in (o.provider, '') and h.held_at is not null) h on true
    ) o
    where m.issue = o.issue and m.reader = o.reader and m.mail = o.mail and m.claim = $10
      and m.state in ('attempting', 'uncertain')
    returning m.issue, o.tried
)
update newsletter.days d set mails = greatest(d.mails - r.unsent, 0)
from (select count(*) as unsent from recorded where issue > 0 and tried = 0) r
where d.day = $12::date and d.provider = '' and r.unsent > 0
"""

HAS: Final = """
select exists (select from newsletter.mails m where m.issue = $1 and m.reader = $2 and m.mail = $3 and m.claim = $4)
"""

RENEW: Final = """
update newsletter.mails set lease_until = now() + $2 * interval '1 second' where state = 'attempting' and claim = $1
"""

EXPIRE: Final = """
update newsletter.mails set state = 'uncertain', reason = 'the worker was lost', lease_until = null, settled_at = now()
where state = 'attempting' and lease_until < now()
"""

SETTLE: Final = """
update newsletter.issues i set state = 'settled', settled_at = now()
where i.state = 'planned' and not exists (
    select from newsletter.mails m where m.issue = i.number and m.state in ('pending', 'deferred'))
  and not exists (select from newsletter.mails m where m.state = 'attempting' and m.issue = i.number)
"""

# Twice as long each time, up to 128 times, until it takes mail again.
SLOW_DOWN: Final = """
insert into newsletter.slowdowns as s (name, until, step) values ($1, now() + $2 * interval '1 second', 0)
on conflict (name) do update
set step = least(s.step + 1, 7), until = now() + $2 * power(2, least(s.step + 1, 7)) * interval '1 second'
where s.until <= now()
"""

SLOWED: Final = """
select name, ceil(extract(epoch from greatest(until - now(), interval '0')))::integer as seconds from newsletter.slowdowns
"""

READ_OUTCOMES: Final = """
select m.reader, m.state, m.reason, m.code, m.attempts, m.settled_at
from newsletter.mails m where m.issue = $1 and ($2::text is null or m.reader = $2) order by m.state, m.reader
"""

Resolution = Literal["resend", "drop"]
RESEND: Final = """
with resent as (
    update newsletter.mails set state = 'pending', reason = null, claim = null, not_before = now(), settled_at = null
    where issue = $1 and state = 'uncertain' returning 1
),
reopened as (
    update newsletter.issues set state = 'planned', settled_at = null
    where number = $1 and state = 'settled' and exists (select from resent)
)
select count(*) from resent
"""
DROP: Final = """
with dropped as (
    update newsletter.mails set state = 'cancelled', reason = 'dropped by an operator', claim = null, settled_at = now()
    where issue = $1 and state = 'uncertain' returning 1
)
select count(*) from dropped
"""


class ClaimedMail(msgspec.Struct, frozen=True, eq=False):
    """A mail that is ours to send; `address` is sealed, `categories` are those its reader chose (none: all).

    `claims` counts how often it was claimed, this time included. `probe` is the held provider that it tries. `day` is the day
    whose cap counts it, None if there is no cap.
    """

    issue: int
    reader: str
    mail: str
    kind: str
    attempts: int
    claims: int
    round: int
    address: str
    categories: tuple[str, ...]
    probe: str | None = None
    day: date | None = None


UNMARKED: Final = -1


class MailOutcome(msgspec.Struct, frozen=True):
    """The outcome of a mail; `wait` is the seconds until it is tried again, `verdict` whom a refusal for good blames.

    `claims` is the count of a mark, if that knows of more claims than the ledger; UNMARKED takes back the claim of a mail that
    wasn't held to the marks, which would else look like a later one than its mark's.
    `provider` keeps its reader's mailbox, or is the relay ('') where that refused it.
    """

    mail: ClaimedMail
    state: State
    code: int | None = None
    reason: str | None = None
    tried: int = 1
    wait: int = 0
    verdict: Verdict | None = None
    claims: int = 0
    provider: str | None = None


class ReaderOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's mail of an issue; `state` is "unplanned" for readers who were not confirmed subscribers at planning time."""

    reader: str
    state: str
    reason: str | None = None
    code: int | None = None
    attempts: int = 0
    settled_at: datetime | None = None

    @property
    def in_words(self) -> str:
        """The outcome in a line."""
        why = ", ".join(str(part) for part in (self.reason, self.code) if part)
        return f"{self.reader} {self.state}" + (f" ({why})" if why else "")


_categories = msgspec.json.Decoder(tuple[str, ...])


async def is_due(database: Database) -> bool:
    """Return whether there is anything to send."""
    due: bool = await database.fetchval(IS_DUE)
    return due


async def claim(database: Database, name: str, lease_seconds: int, most: int = CHUNK) -> list[ClaimedMail]:
    """Take up to `most` mails that are due, and a probe of each held provider that is due one, under a claim of this name.

    Mails to readers who may no longer be mailed are cancelled.
    """
    rows = await database.fetch(CLAIM, most, name, lease_seconds, PROBE_SECONDS)
    return [ClaimedMail(**{**row, "categories": _categories.decode(row["categories"])}) for row in rows]


async def record(database: Database, name: str, outcomes: Sequence[MailOutcome]) -> None:
    """Record the outcomes of the mails of a claim, at least one."""
    rows = [
        (o.mail.issue, o.mail.reader, o.mail.mail, o.state, o.code, o.reason, o.tried, o.wait, o.provider) for o in outcomes
    ]
    day, claims = outcomes[0].mail.day, [o.claims for o in outcomes]
    await database.execute(RECORD, *zip(*rows, strict=True), name, ABOUT_US, day, claims)


async def has(database: Database, name: str, mail: ClaimedMail) -> bool:
    """Return whether the ledger still says that a mail was claimed under a name; a ledger that went back doesn't."""
    found: bool = await database.fetchval(HAS, mail.issue, mail.reader, mail.mail, name)
    return found


async def hold(database: Database, why: str) -> None:
    """Pause the newsletter until an operator resumes it."""
    await database.execute("update newsletter.schedule set paused_at = coalesce(paused_at, now()), held = $1", why)


async def renew(database: Database, name: str, lease_seconds: int) -> None:
    """Renew the lease of a claim."""
    await database.execute(RENEW, name, lease_seconds)


async def settle(database: Database) -> None:
    """Give up claims whose lease ran out, and close issues with nothing left to do. Writes nothing if there are none."""
    await database.execute(EXPIRE)
    await database.execute(SETTLE)


async def slow_down(database: Database, name: str, seconds: int) -> None:
    """Send nothing to a provider (the relay: '') for a while, longer each time; simultaneous calls count once."""
    await database.execute(SLOW_DOWN, name, seconds)


async def slowed(database: Database) -> dict[str, int]:
    """Return the providers that asked to slow down, each with the seconds until it is tried again (0: now)."""
    rows = await database.fetch(SLOWED)
    return {row["name"]: row["seconds"] for row in rows}


async def recovered(database: Database, names: Sequence[str]) -> None:
    """Forget that these providers asked to slow down: they take mail again."""
    await database.execute("delete from newsletter.slowdowns where name = any($1::text[]) and until <= now()", names)


async def accounts(database: Database, issue: int) -> dict[str, int]:
    """Count an issue's mails by state, every state named; they add up to what was planned."""
    rows = await database.fetch("select state, count(*) as mails from newsletter.mails where issue = $1 group by state", issue)
    counted = {row["state"]: row["mails"] for row in rows}
    return {state: counted.get(state, 0) for state in STATES}


async def resolve(database: Database, issue: int, how: Resolution) -> int:
    """Send the uncertain mails of an issue again, or drop them; return their number."""
    resolved: int = await database.fetchval(RESEND if how == "resend" else DROP, issue)
    return resolved


async def outcomes(database: Database, issue: int, reader: str | None) -> Sequence[ReaderOutcome]:
    """Return the outcome of an issue for each of its readers, or for one reader."""
    found = [ReaderOutcome(**row) for row in await database.fetch(READ_OUTCOMES, issue, reader)]
    if found or reader is None:
        return found
    status = await subscribers.read_status(database, reader)
    reason = "no such subscriber" if status is None else f"was not a confirmed subscriber when planned, is {status} now"
    return [ReaderOutcome(reader=reader, state="unplanned", reason=reason)]
