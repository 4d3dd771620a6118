"""The last check as the database keeps it: what was found, since when, and whether the first issue waits for it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from asyncpg import Connection, Pool

from services.mail_check.lines import TITLES, Line

Database: TypeAlias = "Pool[Any] | Connection[Any]"

SINCE: Final = 40
"""The migration from which on there is a check to read."""

BEGIN: Final = """
update newsletter.mail_check set begun_at = now()
where (checked_at is null or checked_at < now() - interval '1 day' or asked_at > checked_at)
  and (begun_at is null or begun_at < now() - interval '5 minutes')
returning 1
"""
ASK: Final = "update newsletter.mail_check set asked_at = now(), begun_at = null"
WAIVE: Final = """
with waived as (update newsletter.mail_check set waived_at = now(), waived_by = $1, waived_for = $2)
select operators.note($1, 'waived-mail-check', 'mail check', reason_ => $2)
"""
UNWAIVE: Final = """
with taken_back as (
    update newsletter.mail_check set waived_at = null, waived_by = null, waived_for = null
    where waived_at is not null returning 1
)
select operators.note($1, 'took-waiver-back', 'mail check') from taken_back
"""
# A line keeps since when it is in its state; the subjects of an earlier release go.
KEEP: Final = """
with checked as (
    update newsletter.mail_check set checked_at = now(), gates = $1
),
gone as (
    delete from newsletter.mail_check_lines where subject <> all ($2::text[])
)
insert into newsletter.mail_check_lines as l (subject, state, says, mend, publish, since, right_at)
select n.subject, n.state, n.says, n.mend, n.publish, now(), case when n.state = 'right' then now() end
from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[]) as n(subject, state, says, mend, publish)
on conflict (subject) do update
set state = excluded.state, says = excluded.says, mend = excluded.mend, publish = excluded.publish,
    since = case when l.state = excluded.state then l.since else excluded.since end,
    right_at = coalesce(excluded.right_at, l.right_at)
"""
# A first issue is behind a site once a relay took a mail of one, or has mails that it is to take: the outbox gives no code. An
# issue that the log alone knows was sent elsewhere, before the log was moved here.
READ: Final = """
select c.checked_at, c.gates, c.asked_at, c.waived_at, c.waived_by, c.waived_for,
       not exists (
           select from newsletter.mails m where m.issue > 0
             and (m.state in ('pending', 'attempting', 'deferred', 'uncertain')
                  or (m.state = 'accepted' and m.code is not null)))
       and not exists (
           select from log.head h cross join lateral log.taken(0, h.position, '{}', '{IssueSent}') e
           where (e.data->>'accepted')::int > 0
             and not exists (select from newsletter.issues i where i.number = (e.data->>'issue')::int)) as is_first,
       (select coalesce(jsonb_agg(l order by l.subject), '[]') from newsletter.mail_check_lines l) as lines
from newsletter.mail_check c
"""


class KeptLine(Line, frozen=True, kw_only=True):
    """A line of the last check, since when it is in its state, and when it was right last."""

    since: datetime
    right_at: datetime | None = None

    @property
    def went_wrong(self) -> bool:
        """Return whether it was right before."""
        return self.state == "wrong" and self.right_at is not None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The last check: when it ended (None: there was none), its lines, and whether an issue would be the first.

    `gates` says that the site is public: red lines hold its first issue, unless that was waived, by whom and for what.
    """

    checked_at: datetime | None
    asked_at: datetime | None
    gates: bool
    is_first: bool
    waived_at: datetime | None
    waived_by: str | None
    waived_for: str | None
    lines: Sequence[KeptLine]

    @property
    def wrong(self) -> Sequence[KeptLine]:
        """The red lines."""
        return [line for line in self.lines if line.state == "wrong"]

    @property
    def holds_first(self) -> bool:
        """Return whether the first issue waits."""
        return self.gates and self.is_first and self.waived_at is None and bool(self.wrong)

    @property
    def is_asked_for(self) -> bool:
        """Return whether an operator has asked for another check, which a worker has yet to make."""
        return self.asked_at is not None and (self.checked_at is None or self.asked_at > self.checked_at)


_decoder: Final = msgspec.json.Decoder(list[KeptLine])


async def read(database: Database) -> Checked:
    """Return the last check."""
    row = await database.fetchrow(READ)
    assert row is not None  # noqa: S101 - the table has one row
    order = list(TITLES)
    lines = sorted(_decoder.decode(row["lines"]), key=lambda line: order.index(line.subject))
    kept: Mapping[str, Any] = {name: value for name, value in row.items() if name != "lines"}
    return Checked(**kept, lines=lines)


async def keep(database: Database, lines: Sequence[Line], *, gates: bool) -> None:
    """Keep what a check found."""
    await database.execute(
        KEEP,
        gates,
        [line.subject for line in lines],
        [line.state for line in lines],
        [line.says for line in lines],
        [line.mend for line in lines],
        [None if line.publish is None else msgspec.json.encode(line.publish).decode() for line in lines],
    )


async def begin(database: Database) -> bool:
    """Return whether a check is due, and is this process's to make: a day has passed, or an operator asked for one."""
    return await database.fetchval(BEGIN) is not None


async def ask(database: Database) -> None:
    """Ask a worker for another check."""
    await database.execute(ASK)


async def waive(database: Database, operator: str, reason: str) -> None:
    """Let the first issue go though lines are red."""
    await database.execute(WAIVE, operator, reason)


async def unwaive(database: Database, operator: str) -> None:
    """Let the first issue wait for red lines again."""
    await database.execute(UNWAIVE, operator)
