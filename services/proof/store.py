"""What the database keeps of the public log: its incarnations, every checkpoint that was signed, and why nothing is signed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from events.commands.proof import STREAM
from events.log.reads import Reads
from services.proof.checkpoint import Checkpoint

Database: TypeAlias = "Connection[Any] | Pool[Any]"

_LOCK: Final = 0x70726F6F66  # any constant will do: every signer of a database must ask for the same one

_TRY_LOCK: Final = "select pg_try_advisory_xact_lock($1)"
_WAIT_LOCK: Final = "select pg_advisory_xact_lock($1)"
_ANNOUNCED: Final = """
select data->>'vkey' as vkey from log.recorded_events
where stream = $1 and type = 'LogKeyAdded' and position <= $2 order by position desc
"""
_READ: Final = """
select h.position as head, l.log, l.origin, l.vkeys, l.published_size, l.unwitnessed_since, c.size, c.root, c.note, c.signed_at,
       r.what, r.advice, r.since
from log.head h
left join lateral (select * from proof.log order by log desc limit 1) l on true
left join lateral (select * from proof.checkpoints c where c.log = l.log order by c.size desc limit 1) c on true
left join proof.refusal r on true
"""
_OF_LOG: Final = ("log", "origin", "vkeys", "published_size", "unwitnessed_since")
_BEGIN: Final = "insert into proof.log (log, origin, vkeys) values ($1, $2, $3)"
_END: Final = "update proof.log set common = $2 where log = $1"
_ADD_KEYS: Final = "update proof.log set vkeys = $2 where log = $1"
_INSERT: Final = "insert into proof.checkpoints (log, size, root, note) values ($1, $2, $3, $4)"
_PUBLISH: Final = """
update proof.log
set published_size = $2, unwitnessed_since = case when $3 then null else coalesce(unwitnessed_since, now()) end
where log = $1 and (published_size < $2 or published_size = $2 and $3 and unwitnessed_since is not null)
"""
_AT: Final = """
select l.origin, c.size, c.root, c.note from proof.checkpoints c join proof.log l on l.log = c.log
where c.log = $1 and c.size = $2
"""
_SIZES: Final = "select size, root from proof.checkpoints where log = $1 order by size"
_FORMER: Final = "select origin from proof.log where log < $1"
_REFUSE: Final = """
insert into proof.refusal (what, advice) values ($1, $2)
on conflict (only_row) do update set what = excluded.what, advice = excluded.advice
"""
_ALLOW: Final = "delete from proof.refusal"
_PRUNE: Final = """
delete from proof.checkpoints c where (c.log, c.size) in (
    select p.log, p.size from proof.checkpoints p where p.signed_at < now() - interval '1 day' and proof.may_go(p) limit 5000)
"""


class Log(msgspec.Struct, frozen=True):
    """An incarnation of the public log: its number, its origin, the keys that sign it (newest first), and what is served."""

    number: int
    origin: str
    vkeys: Sequence[str]
    published_size: int
    unwitnessed_since: datetime | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why the signer refuses, what to do about it, and since when."""

    what: str
    advice: str
    since: datetime


class State(msgspec.Struct, frozen=True):
    """The head of the log, its present incarnation, and what was signed last; None before the first signature."""

    head: int
    log: Log | None
    last: Checkpoint | None
    signed_at: datetime | None
    refusal: Refusal | None

    @property
    def signed(self) -> int:
        """Return the size that was signed last; 0 before the first signature."""
        return 0 if self.last is None else self.last.size


async def read(database: Reads) -> State:
    """Return how the public log stands."""
    row = await database.fetchrow(_READ)
    assert row is not None  # noqa: S101 - the head has one row
    log = None if row["log"] is None else Log(*(row[name] for name in _OF_LOG))
    last = None if row["size"] is None else Checkpoint(row["origin"], row["size"], row["root"], row["note"])
    refusal = None if row["what"] is None else Refusal(row["what"], row["advice"], row["since"])
    return State(row["head"], log, last, row["signed_at"], refusal)


async def try_lock(connection: "Connection[Any]") -> bool:
    """Take the signer's place until the transaction ends; return False if another signer has it."""
    return bool(await connection.fetchval(_TRY_LOCK, _LOCK))


async def wait_lock(connection: "Connection[Any]") -> None:
    """Take the signer's place until the transaction ends, when it is free."""
    await connection.execute(_WAIT_LOCK, _LOCK)


async def begin(connection: "Connection[Any]", log: Log) -> None:
    """Record an incarnation of the log."""
    await connection.execute(_BEGIN, log.number, log.origin, log.vkeys)


async def end(connection: "Connection[Any]", log: Log, common: int) -> None:
    """Record that a log was given up, and how much of it the next begins with."""
    await connection.execute(_END, log.number, common)


async def add_keys(connection: "Connection[Any]", log: Log, vkeys: Sequence[str]) -> None:
    """Record the keys that sign a log, newest first."""
    await connection.execute(_ADD_KEYS, log.number, vkeys)


async def insert(connection: "Connection[Any]", log: Log, checkpoint: Checkpoint) -> None:
    """Record a checkpoint that was signed."""
    await connection.execute(_INSERT, log.number, checkpoint.size, checkpoint.root, checkpoint.note)


async def publish(connection: "Connection[Any]", log: Log, size: int, *, is_met: bool) -> None:
    """Let the checkpoint of a size be served until a larger one is; `is_met` says that its cosigners are enough."""
    await connection.execute(_PUBLISH, log.number, size, is_met)


async def announced(connection: "Connection[Any]", size: int) -> Sequence[str]:
    """Return the keys that the first `size` entries of the log announce, the newest first."""
    return [row["vkey"] for row in await connection.fetch(_ANNOUNCED, STREAM, size)]


async def read_at(database: Database, log: int, size: int) -> Checkpoint | None:
    """Return the checkpoint of a size; None if there is none."""
    row = await database.fetchrow(_AT, log, size)
    return None if row is None else Checkpoint(*row)


async def roots(database: Database, log: int) -> Sequence[tuple[int, bytes]]:
    """Return the sizes and roots that are kept of a log, smallest first."""
    return [(row["size"], row["root"]) for row in await database.fetch(_SIZES, log)]


async def former_origins(database: Database, log: int) -> frozenset[str]:
    """Return the origins of the incarnations before one."""
    return frozenset(row["origin"] for row in await database.fetch(_FORMER, log))


async def refuse(database: Database, what: str, advice: str) -> None:
    """Record why nothing is signed."""
    await database.execute(_REFUSE, what, advice)


async def allow(database: Database) -> None:
    """Forget why nothing was signed."""
    await database.execute(_ALLOW)


async def prune(database: Database) -> int:
    """Delete checkpoints older than a day that a later one of their hour stands for; return how many."""
    return int((await database.execute(_PRUNE)).rpartition(" ")[2])
