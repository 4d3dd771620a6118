"""The command to import subscribers who consented elsewhere. Addresses arrive sealed, as in `events.commands.subscribers`."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any, Literal
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from events.commands.subscribers import KNOW, Person
from events.log.command import Command, Decision, Effect, Found, Receipt, Seen
from events.log.event import Event
from events.subscribers import import_subscriber, stream

FIND_ALL = "select mark from vault.lookups where mark = any($1::bytea[])"

# Who left elsewhere: the mark of the address, and the day. A consent of a later day goes before it.
FIND_LEFT = "select mark, left_on from vault.left_elsewhere where mark = any($1::bytea[])"
NOTE_LEFT = """
insert into vault.left_elsewhere as v (mark, left_on)
select l.mark, max(coalesce(l.left_on, current_date)) from unnest($1::bytea[], $2::date[]) as l(mark, left_on)
group by l.mark order by l.mark
on conflict (mark) do update set left_on = greatest(v.left_on, excluded.left_on)
"""
FORGET_LEFT = "delete from vault.left_elsewhere where mark = $1"


class Imported(msgspec.Struct, frozen=True):
    """A row: a prospective subscriber, with the proof of consent sealed under the same key, and its day if it is known."""

    person: Person
    proof: str
    categories: tuple[str, ...] = ()
    consented: date | None = None


class Left(msgspec.Struct, frozen=True):
    """Somebody who left elsewhere: the mark of the address, and the day, if it is known."""

    mark: bytes
    day: date | None = None


Fate = Literal["imported", "known", "left"]


class Known(msgspec.Struct, frozen=True):
    """What is known of addresses, by their marks: which have a subscriber or are suppressed, and who left elsewhere when."""

    known: frozenset[bytes]
    left: dict[bytes, date]

    def fate(self, mark: bytes, consented: date | None) -> Fate:
        """Return what becomes of a row: who left elsewhere comes back by a consent of a later day alone."""
        if mark in self.known:
            return "known"
        is_back = mark not in self.left or (consented is not None and consented > self.left[mark])
        return "imported" if is_back else "left"


async def look_known(database: "Connection[Any] | Pool[Any]", marks: Sequence[bytes]) -> Known:
    """Return what is known of some addresses."""
    known = await database.fetch(FIND_ALL, marks)
    left = await database.fetch(FIND_LEFT, marks)
    return Known(frozenset(row["mark"] for row in known), {row["mark"]: row["left_on"] for row in left})


class ImportSubscribers(Command[list[Fate]], frozen=True):
    """Import many rows, and note who `left` elsewhere; the value is each row's fate. Known addresses stay as they are.

    Raises CategoriesUnknown.
    """

    rows: Sequence[Imported]
    operator: str
    offered: Collection[str] = ()
    left: Sequence[Left] = ()

    exclusive = True
    receipt_type = Receipt[list[Fate]]

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Find what is known of the addresses."""
        return Found(await look_known(connection, [row.person.mark for row in self.rows]))

    def decide(self, seen: Seen) -> Decision[list[Fate]]:
        """Import the new addresses; of an address that comes twice, the first row counts."""
        found: Known = seen.found
        new: dict[bytes, Imported] = {}
        fates: list[Fate] = []
        for row in self.rows:
            mark = row.person.mark
            fates.append("known" if mark in new else found.fate(mark, row.consented))
            if fates[-1] == "imported":
                new[mark] = row
        events = [placed for row in new.values() for placed in self._events(row)]
        effects = [effect for row in new.values() for effect in _effects(row, back=row.person.mark in found.left)]
        if self.left:
            effects.append(Effect(NOTE_LEFT, ([one.mark for one in self.left], [one.day for one in self.left])))
        return Decision(events=events, value=fates, effects=effects, meta={"operator": self.operator})

    def _events(self, row: Imported) -> list[tuple[UUID, Event]]:
        person = row.person
        new = import_subscriber(None, person.id, person.address, row.categories, row.proof, self.offered)
        return [(stream(person.id), event) for event in new]


def _effects(row: Imported, *, back: bool) -> list[Effect]:
    """Return what goes with an imported row; who came back is no longer one who left."""
    person = row.person
    kept = [person.keep, Effect(KNOW, (person.mark, person.id, person.mailbox))]
    return [*kept, Effect(FORGET_LEFT, (person.mark,))] if back else kept
