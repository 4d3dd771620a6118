"""People whom the provider vouches for, and the names under which they stand in the log.

A name belongs to the subject that first came with it, for ever, and a subject keeps its first name, however it is called
later: so two names in the log are two accounts there.
"""

from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from asyncpg import Connection, Pool

from services.operator_settings import is_reserved

Database: TypeAlias = "Pool[Any] | Connection[Any]"

LONGEST: Final = 80
CLAIM: Final = """
insert into operators.people (issuer, subject, name) values ($1, $2, $3) on conflict do nothing
"""
READ: Final = "select name from operators.people where issuer = $1 and subject = $2"


async def name_of(database: Database, issuer: str, subject: str, wanted: object, others: Collection[str]) -> str:
    """Return the name of a subject: its first, or the one it wants if nobody has it; `others` are those of the settings."""
    plain = _plain(wanted) or _plain(subject) or "somebody"
    account = blake2b("\n".join((issuer, subject)).encode(), digest_size=4).hexdigest()
    own = f"{plain[:LONGEST]} {account}"
    wishes = [own] if is_reserved(plain) or plain in others else [plain[:LONGEST], own]
    for name in wishes:
        await database.execute(CLAIM, issuer, subject, name)
        found: str | None = await database.fetchval(READ, issuer, subject)
        if found is not None:
            return found
    raise LookupError(own)  # two subjects of one hash


def _plain(name: object) -> str:
    """Return a name as it may stand in a line: printable, without double spaces."""
    return " ".join(name.split()) if isinstance(name, str) and name.replace("\t", " ").isprintable() else ""
