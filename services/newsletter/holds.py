"""Hold an issue when many of its mails in a row are refused for no reader's fault: more of them would be refused too.

The mails of a held issue that were refused so are deferred again, and all of them wait for an operator, who resumes or cancels
the issue. A mail that is taken breaks the row. Single mails are never held: each is tried again by itself.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from asyncpg import Connection, Pool

MANY_GONE: Final = 5
"""Readers of a chunk, more than were taken there, whose addresses are refused as dead before the server is doubted."""
ROW: Final = 10
"""Readers in a row whose refusal holds an issue."""
MANY_REFUSED: Final = 10
"""Readers refused in a day of whom an operator is told."""
RESUME_HELD: Final = "see its reason in `ballotpress digest status ISSUE --missed`, mend it, then `ballotpress digest resume`"
ABOUT_US: Final = "refused, about us"
"""The beginning of such a mail's reason."""
DOUBTED: Final = f"{ABOUT_US} (nearly every address as unknown)"
"""The reason of mails whose server refuses so many addresses that it is doubted, until an operator resumes the issue."""

HOLD: Final = f"""
with held as (
    update newsletter.issues set held_at = coalesce(held_at, now()), held_for = $2, state = 'planned', settled_at = null
    where number = any($1::integer[]) and state in ('planned', 'settled') returning number
)
update newsletter.mails m set state = 'deferred', settled_at = null, not_before = now()
from held h where m.issue = h.number and m.state = 'rejected' and m.reason like '{ABOUT_US}%'
"""  # noqa: S608 - a constant
RESUME: Final = f"""
with resumed as (
    update newsletter.issues set held_at = null, held_for = null,
        refusals_believed = refusals_believed or held_for is not distinct from '{DOUBTED}'
    where held_at is not null returning number
)
update newsletter.mails m set state = 'deferred', settled_at = null, not_before = now()
from resumed r where m.issue = r.number
  and (m.state in ('pending', 'deferred') or m.state = 'rejected' and m.reason like '{ABOUT_US}%')
"""  # noqa: S608
RETRY: Final = f"""
with again as (
    update newsletter.mails set state = 'pending', reason = null, claim = null, not_before = now(), settled_at = null
    where issue = $1 and state = 'rejected' and reason like '{ABOUT_US}%' returning 1
),
reopened as (
    update newsletter.issues set state = 'planned', settled_at = null
    where number = $1 and state = 'settled' and exists (select from again)
)
select count(*) from again
"""  # noqa: S608
BELIEVED: Final = "select number from newsletter.issues where number = any($1::integer[]) and refusals_believed"
READ_REFUSED: Final = """
select (select count(distinct b.reader) from newsletter.bounces b
        where b.kind = 'ours' and b.recorded_at > now() - interval '1 day') as readers,
       (select coalesce(array_agg(i.number order by i.number), '{}') from newsletter.issues i
        where i.held_at is not null and i.state = 'planned') as held,
       (select max(i.held_for) from newsletter.issues i where i.held_at is not null and i.state = 'planned') as held_for
"""


class Refused(msgspec.Struct, frozen=True):
    """How many readers' servers refused us in the last day, the issues that are held for that, and the last reason."""

    readers: int
    held: tuple[int, ...]
    held_for: str | None


class RefusalRow:
    """The readers in a row, as one worker sees them, whose mails were refused for no fault of theirs."""

    def __init__(self) -> None:
        self._readers: set[str] = set()

    def note(self, refused: Iterable[str], *, any_taken: bool) -> bool:
        """Note the outcomes of a chunk; return whether the row is long enough to hold its issues."""
        if any_taken:
            self._readers.clear()
            return False
        self._readers.update(refused)
        return len(self._readers) >= ROW


def said_held(held: Sequence[int]) -> str:
    """Return a line on issues that are held."""
    return f"Issue {', '.join(map(str, held))} is held: mails in a row were refused for no fault of their readers"


async def believed(database: "Pool[Any] | Connection[Any]", issues: Iterable[int]) -> set[int]:
    """Return those of the issues whose refusals of addresses an operator has decided to believe."""
    return {row["number"] for row in await database.fetch(BELIEVED, sorted(issues))}


async def hold(database: "Pool[Any] | Connection[Any]", issues: Iterable[int], reason: str) -> None:
    """Hold issues, and defer the mails that were refused for the same cause."""
    await database.execute(HOLD, sorted(issues), reason)


async def resume(database: "Pool[Any] | Connection[Any]") -> None:
    """Let held issues go on, with every mail that was refused for no reader's fault."""
    await database.execute(RESUME)


async def retry(database: "Pool[Any] | Connection[Any]", issue: int) -> int:
    """Send the mails of an issue again that were refused for no reader's fault; return their number."""
    again: int = await database.fetchval(RETRY, issue)
    return again


async def read_refused(database: "Pool[Any] | Connection[Any]") -> Refused:
    """Return what an operator must know of refusals."""
    (row,) = await database.fetch(READ_REFUSED)
    return Refused(row["readers"], tuple(row["held"]), row["held_for"])
