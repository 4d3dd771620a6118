"""People whom the provider vouches for, and the names under which they stand in the log.

A name belongs to the subject that first came with it, for ever, and a subject keeps its first name, however it is called
later: so two names in the log are two accounts there.
"""

import unicodedata
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
OTHERS: Final = "select name from operators.people where (issuer, subject) <> ($1, $2)"
_ALIKE: Final = str.maketrans("01|", "oll")


async def name_of(database: Database, issuer: str, subject: str, wanted: object, others: Collection[str]) -> str:
    """Return the name of a subject: its first, or the one it wants if no other looks like it; `others` are of the settings."""
    plain = _plain(wanted) or _plain(subject) or "somebody"
    account = blake2b("\n".join((issuer, subject)).encode(), digest_size=4).hexdigest()
    own = f"{plain[:LONGEST]} {account}"
    taken = [*others, *(row["name"] for row in await database.fetch(OTHERS, issuer, subject))]
    wishes = [own] if _could_be_another(plain[:LONGEST], taken) else [plain[:LONGEST], own]
    for name in wishes:
        await database.execute(CLAIM, issuer, subject, name)
        found: str | None = await database.fetchval(READ, issuer, subject)
        if found is not None:
            return found
    raise LookupError(own)  # two subjects of one hash


def _plain(name: object) -> str:
    """Return a name as it may stand in a line: printable, without double spaces."""
    return " ".join(name.split()) if isinstance(name, str) and name.replace("\t", " ").isprintable() else ""


def _could_be_another(name: str, taken: Collection[str]) -> bool:
    """Tell whether a name could be mistaken for a reserved or taken one: by its case, accents, or letters of other scripts."""
    seen = _seen(name)
    return not seen.isascii() or is_reserved(seen) or seen in {_seen(one) for one in taken}


def _seen(name: str) -> str:
    """Return a name as a hasty eye sees it: without case, accents and widths (Unicode's NFKD), and with digits as letters."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return bare.casefold().translate(_ALIKE)
