"""Sessions: who has signed in to the operators' pages, kept in PostgreSQL, so that one that is ended stops at once everywhere.

A session is known by a secret in its cookie, of which the database has a hash. What it rests on is asked for each time: the
operator's token in the settings, or the groups that the provider named. Of the browser only its family is kept, of the network
its block (a /24 or a /64), and both only until the session ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from services.settings import OperatorToken, Settings

Database: TypeAlias = "Pool[Any] | Connection[Any]"
How = Literal["token", "oidc"]

SEEN_EVERY: Final = timedelta(minutes=1)
"""How exact the time of the last page is."""
KEPT_DAYS: Final = 90
MOST_OF_ONE: Final = 20
"""Sessions that one operator has open at once: a further one ends the one that was used longest ago."""

BEGIN: Final = """
with begun as (
    insert into operators.sessions (id, secret, operator, how, rests_on, issuer, subject, groups, browser, network, ends_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + $11::interval) returning id, operator, how
)
select operators.note(b.operator, 'signed-in', b.id, b.how) from begun b
"""
_LIVE: Final = "s.ended_at is null and s.ends_at > now() and s.seen_at > now() - $1::interval"
_ROW: Final = "s.id, s.operator, s.how, s.rests_on, s.issuer, s.groups, s.browser, s.network, s.began_at, s.seen_at, s.ends_at"
FIND: Final = f"""
select {_ROW}, now() - s.seen_at > $3::interval as is_old from operators.sessions s
where s.secret = any($2::bytea[]) and {_LIVE}
"""  # noqa: S608 - constants
SEE: Final = "update operators.sessions set seen_at = now() where id = $1"
LAPSED: Final = """
select exists (select from operators.sessions where secret = any($1::bytea[]) and issuer = $2 and not is_ended)
"""
READ: Final = f"""
select {_ROW} from operators.sessions s where {_LIVE} and ($3::text is null or s.operator = $3)
order by s.seen_at desc, s.id limit $2
"""  # noqa: S608 - constants
END: Final = """
with ended as (
    update operators.sessions set ended_at = now(), is_ended = true, browser = '', network = ''
    where ended_at is null and ends_at > now() and ($1::text[] is null or id = any($1)) and ($2::text is null or operator = $2)
      and id is distinct from $4
    returning id, operator
)
select e.id, operators.note($3, case when e.operator = $3 then 'signed-out' else 'ended-session' end, e.id, e.operator)
from ended e
"""
CROWDED: Final = """
select id from operators.sessions where operator = $1 and ended_at is null order by seen_at desc, began_at desc offset $2
"""
CLEAR: Final = """
with over as (
    update operators.sessions set ended_at = least(ends_at, now()), browser = '', network = ''
    where ended_at is null and (ends_at <= now() or seen_at <= now() - $1::interval)
),
states as (delete from operators.used_states where used_at < now() - interval '1 day'),
acts as (delete from operators.acts where at < now() - $2::interval),
failed as (delete from operators.failed_sign_ins where hour < now() - $2::interval)
delete from operators.sessions where ended_at < now() - $2::interval
"""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is open."""

    id: str
    operator: str
    how: How
    browser: str
    network: str
    began_at: datetime
    seen_at: datetime
    ends_at: datetime


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """An operator who has signed in: the name, the scopes that are open now, how, and the session."""

    name: str
    scopes: frozenset[str]
    how: How
    session: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider vouches for: the name that stands in the log, the subject, and the groups that open something."""

    name: str
    issuer: str
    subject: str
    groups: tuple[str, ...]


class Visit(msgspec.Struct, frozen=True):
    """From where somebody signs in: the browser's family and the network's block."""

    browser: str
    network: str


class Sessions:
    """The sessions of a site, as its settings admit them."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._given = settings.signing_in
        self._tokens = {token.name: token for token in settings.operator_tokens}
        self._groups = settings.signing_in.groups
        self._idle = timedelta(minutes=settings.signing_in.idle_minutes)
        self._whole = timedelta(minutes=settings.signing_in.session_minutes)

    async def begin_by_token(self, id_: str, secret: str, operator: OperatorToken, visit: Visit) -> None:
        """Open a session that rests on an operator's token."""
        await self._begin(id_, secret, operator.name, "token", (_hash_of(operator), None, None, []), visit)

    async def begin_by_oidc(self, id_: str, secret: str, identity: Identity, visit: Visit) -> None:
        """Open a session of somebody whom the provider vouches for."""
        rests_on = (None, identity.issuer, identity.subject, list(identity.groups))
        await self._begin(id_, secret, identity.name, "oidc", rests_on, visit)

    async def _begin(self, id_: str, secret: str, name: str, how: How, rests_on: Sequence[Any], visit: Visit) -> None:
        about = (*rests_on, visit.browser, visit.network, self._whole)
        await self._database.execute(BEGIN, id_, hashed(secret), name, how, *about)
        if crowded := [row["id"] for row in await self._database.fetch(CROWDED, name, MOST_OF_ONE)]:
            await end(self._database, name, crowded)

    async def find(self, secrets: Sequence[str]) -> SignedIn | None:
        """Return who has signed in by one of these secrets, and note that the session is used; None if nobody has."""
        if not secrets:
            return None
        rows = await self._database.fetch(FIND, self._idle, [hashed(secret) for secret in secrets], SEEN_EVERY)
        for row in rows:
            if scopes := self._scopes(row):
                if row["is_old"]:
                    await self._database.execute(SEE, row["id"])
                return SignedIn(name=row["operator"], scopes=scopes, how=row["how"], session=row["id"])
        return None

    async def has_lapsed(self, secrets: Sequence[str]) -> bool:
        """Tell whether one of these secrets had a session by the provider that its time alone has ended."""
        if self._given.issuer is None:
            return False
        return bool(await self._database.fetchval(LAPSED, [hashed(secret) for secret in secrets], self._given.issuer))

    async def read(self, limit: int, operator: str | None = None) -> Sequence[Session]:
        """Return the open sessions, of one operator or of all, the last used first."""
        rows = await self._database.fetch(READ, self._idle, limit, operator)
        shown = Session.__struct_fields__
        return [Session(**{field: row[field] for field in shown}) for row in rows if self._scopes(row)]

    def _scopes(self, row: Mapping[str, Any]) -> frozenset[str]:
        """Return the scopes that a session opens by the present settings; none if they admit it no more."""
        if row["how"] == "token":
            token = self._tokens.get(row["operator"])
            is_same = token is not None and self._given.by_token and _hash_of(token) == row["rests_on"]
            return token.scopes if is_same and token is not None else frozenset()
        if row["issuer"] != self._given.issuer:
            return frozenset()
        return self.scopes_of(row["groups"])

    def scopes_of(self, groups: Sequence[str]) -> frozenset[str]:
        """Return the scopes that groups open by the settings."""
        return frozenset().union(*(one.scopes for one in self._groups if one.group in groups))


async def end(
    database: Database, by: str, sessions: Sequence[str] | None = None, operator: str | None = None, but: str | None = None
) -> Sequence[str]:
    """End these sessions, or all, of one operator or of all, `but` one; return the ids of those that were open."""
    ended = await database.fetch(END, None if sessions is None else list(sessions), operator, by, but)
    return [row["id"] for row in ended]


async def clear(database: Database, idle_minutes: int) -> None:
    """Close the sessions whose time is over, and forget what is older than 90 days."""
    await database.execute(CLEAR, timedelta(minutes=idle_minutes), timedelta(days=KEPT_DAYS))


def hashed(secret: str) -> bytes:
    """Return what the database keeps of a secret; it is random, so a plain hash tells nothing of it."""
    return sha256(secret.encode()).digest()


def _hash_of(operator: OperatorToken) -> bytes:
    return blake2b(operator.name.encode(), key=sha256(operator.token.encode()).digest(), person=b"session rests on").digest()
