"""What the database keeps of witnesses: who is asked, how far each is, its cosignatures; and what of it may be published."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from asyncpg import Connection

from services.proof.note import COSIGNATURE, KeyMalformed, Line, Verifier, cosigned_at, read_lines, read_vkey
from services.proof.policy import Policy, Witness, policy_at
from services.proof.store import Database, State

UNMET_SECONDS: Final = 600.0
"""So long is a checkpoint that the policy is content with waited for."""

_ADD: Final = "insert into proof.witnesses (vkey, url) values ($1, $2) on conflict (vkey) do update set url = excluded.url"
_REMOVE: Final = "delete from proof.witnesses where split_part(vkey, '+', 1) = $1"
_FORGET: Final = "delete from proof.asked where witness = $1"
_ADDED: Final = "select vkey, url from proof.witnesses order by added_at, vkey"
_ASKED: Final = "select witness, size, failed, disputed from proof.asked where log = $1"
_NOTE: Final = """
insert into proof.asked (log, witness, size, failed, disputed) values ($1, $2, $3, $4, $5)
on conflict (log, witness) do update
set size = excluded.size, failed = excluded.failed, disputed = excluded.disputed, at = now()
"""
_COSIGN: Final = """
insert into proof.cosignatures (log, size, witness, line, cosigned_at) values ($1, $2, $3, $4, $5) on conflict do nothing
"""
_COSIGNED: Final = "select exists (select from proof.cosignatures where log = $1 and size = $2 and witness = $3)"
_NEWER: Final = """
select c.size, array_agg(s.line) filter (where s.line is not null) as lines,
       extract(epoch from clock_timestamp() - c.signed_at)::float8 as age
from proof.checkpoints c left join proof.cosignatures s on s.log = c.log and s.size = c.size
where c.log = $1 and c.size >= $2
group by c.size, c.signed_at order by c.size desc
"""


class Asked(msgspec.Struct, frozen=True):
    """What is known of a witness: how far it says it is, what its last answer failed with, whether it disputes our history."""

    size: int = 0
    failed: str | None = None
    disputed: bool = False


class Listed(msgspec.Struct, frozen=True):
    """A witness as operators see it."""

    name: str
    url: str
    size: int
    failed: str | None


async def add(database: Database, vkey: str, url: str) -> str:
    """Ask a witness from now on; return its name. Raises KeyMalformed."""
    verifier = read_vkey(vkey, (COSIGNATURE,))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise KeyMalformed(f"{url!r} is no prefix of a witness: it must be such as https://witness.example/submit")
    await database.execute(_ADD, vkey, url.rstrip("/"))
    return verifier.name


async def remove(connection: "Connection[Any]", name: str) -> bool:
    """Ask a witness no more, and forget what it said; return whether it was known."""
    async with connection.transaction():
        removed = await connection.execute(_REMOVE, name)
        forgotten = await connection.execute(_FORGET, name)
    return (removed, forgotten) != ("DELETE 0", "DELETE 0")


async def to_ask(database: Database, policy: Policy) -> list[Witness]:
    """Return the witnesses that have an address: of the policy, and those that were added."""
    found = {w.verifier: w for w in policy.witnesses.values() if w.url is not None}
    for row in await database.fetch(_ADDED):
        verifier = read_vkey(row["vkey"], (COSIGNATURE,))
        found.setdefault(verifier, Witness(verifier, row["url"]))
    return list(found.values())


async def listed(database: Database, policy: Path | None) -> list[Listed]:
    """Return the witnesses that are asked, as operators see them. Raises PolicyMalformed."""
    log = await database.fetchval("select max(log) from proof.log")
    known = await asked(database, log or 0)
    return [
        Listed(w.verifier.name, w.url or "", one.size, one.failed)
        for w in await to_ask(database, policy_at(policy))
        for one in [known.get(w.verifier.name, Asked())]
    ]


async def asked(database: Database, log: int) -> Mapping[str, Asked]:
    """Return what is known of each witness of a log, by name."""
    return {row["witness"]: Asked(row["size"], row["failed"], row["disputed"]) for row in await database.fetch(_ASKED, log)}


async def note(database: Database, log: int, name: str, seen: Asked) -> None:
    """Record what is known of a witness."""
    await database.execute(_NOTE, log, name, seen.size, seen.failed, seen.disputed)


async def cosign(database: Database, log: int, size: int, line: Line) -> None:
    """Record a cosignature that was verified."""
    at = datetime.fromtimestamp(cosigned_at(line), UTC)
    await database.execute(_COSIGN, log, size, line.name, str(line), at)


async def has_cosigned(database: Database, log: int, size: int, name: str) -> bool:
    """Return whether we hold a witness's cosignature of a size."""
    return bool(await database.fetchval(_COSIGNED, log, size, name))


class Choice(msgspec.Struct, frozen=True):
    """The size to publish, None for none yet, and whether the policy is content with it."""

    size: int | None
    is_met: bool


async def choose(database: Database, state: State, policy: Policy, known: Sequence[Witness]) -> Choice:
    """Return what to publish: the newest checkpoint that meets the policy, after ten minutes without one the newest signed."""
    if state.log is None or state.last is None:
        return Choice(None, True)
    if not policy.asks:
        return Choice(state.last.size, True)
    rows = await database.fetch(_NEWER, state.log.number, state.log.published_size)
    keys = {(w.verifier.name, w.verifier.key_id): w.verifier for w in (*policy.witnesses.values(), *known)}
    for row in rows:
        if policy.is_met(cosigners(row["lines"] or (), keys)):
            return Choice(row["size"], True)
    newer = [row for row in rows if row["size"] > state.log.published_size]
    if newer and newer[-1]["age"] > UNMET_SECONDS:
        return Choice(newer[0]["size"], False)
    return Choice(None, True)


def cosigners(lines: Sequence[str], keys: Mapping[tuple[str, bytes], Verifier]) -> set[bytes]:
    """Return the public keys of the witnesses whose verified lines these are."""
    found = [line for text in lines for line in read_lines(f"{text}\n")]
    return {keys[line.name, line.key_id].key for line in found if (line.name, line.key_id) in keys}
