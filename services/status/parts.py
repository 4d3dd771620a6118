"""The log's parts, as they must be and as they are: no trigger keeps a part from being taken off or left without protection."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from asyncpg import Connection

SINCE: Final = 54
"""The migration from which on the log is in parts, and parts may be in the archive."""

# What `log.parts` says beside what the server's catalog says. The first part of an older log has no lower bound.
READ_PARTS: Final = """
select m.name, m.first_position, m.last_position, h.position between m.first_position and m.last_position as is_head,
       m.oid is not null as is_there,
       exists (select from pg_inherits i where i.inhrelid = m.oid and i.inhparent = w.oid and not i.inhdetachpending)
           as is_attached,
       coalesce(a.state <> 'written', false) as is_archived
from (
    select p.*, format('log.events_%s', p.part) as name, to_regclass(format('log.events_%s', p.part)) as oid from log.parts p
) m
cross join log.head h
left join log.archives a on a.part = m.part
join pg_class w on w.oid = to_regclass('log.events') and w.relkind = 'p'
order by m.part
"""
# A part that is detached can be changed too.
READ_CHANGEABLE: Final = """
select t.name
from (select 'log.events' as name union select format('log.events_%s', p.part) from log.parts p) t
where to_regclass(t.name) is not null and not exists (
    select from pg_trigger g
    where g.tgrelid = to_regclass(t.name) and g.tgname = 'events_append_only' and g.tgenabled in ('O', 'A'))
order by 1
"""


class LogPart(msgspec.Struct, frozen=True):
    """A part of the log, its positions, whether the head is in it, whether it is there and where it must be, and archived."""

    name: str
    first_position: int
    last_position: int
    is_head: bool
    is_there: bool
    is_attached: bool
    is_archived: bool = False


class Parts(msgspec.Struct, frozen=True):
    """The parts that the log must have, and the tables of the log that don't refuse to be changed."""

    parts: Sequence[LogPart] = ()
    changeable: Sequence[str] = ()


async def read_parts(connection: "Connection[Any]") -> Parts:
    """Return the parts of the log."""
    found = [LogPart(**row) for row in await connection.fetch(READ_PARTS)]
    return Parts(found, [row["name"] for row in await connection.fetch(READ_CHANGEABLE)])


def said(log: Parts) -> Iterator[str]:
    """Return a line on the parts."""
    for head in (part for part in log.parts if part.is_head):
        where = f"the head in {head.name} (positions {head.first_position} to {head.last_position})"
        archived = sum(part.is_archived for part in log.parts)
        many = f"{len(log.parts)} of the log" + (f" ({archived} in the archive)" if archived else "")
        yield f"{many}, {where}; room to {log.parts[-1].last_position}"


def wrong(log: Parts) -> Iterator[tuple[str, str]]:
    """Return what is wrong with the parts, and what to do about it."""
    for part in log.parts:
        which = f"{part.name} (positions {part.first_position} to {part.last_position})"
        if not part.is_there:
            yield f"A part of the log is gone: {which}", "restore it from a backup: see docs/operating.md"
        elif not part.is_attached:
            bounds = f"from ({part.first_position}) to ({part.last_position + 1})"
            mend = f"alter table log.events attach partition {part.name} for values {bounds}"
            stop = "stop the API processes until it is back: who voted in it may vote again, and counts twice"
            yield f"A part of the log was taken off: {which}", f"{stop}; find out by whom; in psql it comes back by: {mend}"
    for name in log.changeable:
        trigger = f"create or replace trigger events_append_only before update or delete or truncate on {name}"
        mend = f"{trigger} for each statement execute function log.refuse_change()"
        yield f"Events of the log can be changed: {name} has no trigger", f"find out by whom; in psql: {mend}"
