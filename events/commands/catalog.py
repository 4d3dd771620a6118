"""The command to import a catalog file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from asyncpg import Connection

from events import quarantine
from events.catalog import VIEW, Listing, Persona, Tool, evolve, evolve_persona, pair_stream, persona_stream, stream
from events.catalog_file import CatalogFile, CatalogInvalid, Fault, Known, check, import_catalog, most_events
from events.catalog_slugs import check_pairs, check_successors, resolve
from events.log import ids
from events.log.command import Command, Decision, Found, IdempotencyKey, Reads, Receipt, Seen
from events.log.event import fold

FEW: Final = 500
"""As many events are decided while all others wait."""

# The successors that tools have now, by what the view of the catalog takes in.
SUCCESSORS: Final = """
select e.tool, e.successor
from (
    select distinct l.stream
    from log.head h cross join lateral log.taken(0, h.position, '{}', '{ToolAdded, ToolDescribed}') l where l.data ? 'successor'
) s
cross join lateral (
    select r.data->>'tool' as tool, r.data->>'successor' as successor
    from log.of_stream(s.stream) r
    where r.type in ('ToolAdded', 'ToolDescribed')
      and r.position not in (select (d.data->>'position')::bigint from log.of_stream($1) d)
    order by r.version desc limit 1
) e
where e.successor is not null
"""


class ImportCatalog(Command[int], frozen=True):
    """Append what a catalog file changes; the value is the number of events.

    Exclusive, so that every tool it does not find is new: a batch's other commands could have added it. What the view of the
    catalog passes over isn't in the catalog, so that the next import appends it again, as a new event.
    """

    file: CatalogFile
    faults: Sequence[Fault]
    new_ids: Mapping[str, str]
    operator: str

    exclusive = True
    seconds = 10.0
    receipt_type = Receipt[int]

    @classmethod
    def of(cls, file: CatalogFile, new_id: Callable[[], str], operator: str, key: IdempotencyKey | None = None) -> Self:
        """Check a file, make an id for every tool in it, and return the command."""
        return cls(file, check(file), {tool.slug: new_id() for tool in file.tools}, operator, key=key)

    @property
    def is_large(self) -> bool:
        """Whether the file may come to more than a few events."""
        return most_events(self.file) > FEW

    def reads(self, listing: Listing) -> Reads:
        """Name what the view passes over, those of the file's tools that the catalog has, its personas, and its pairs."""
        tool_ids = resolve(self.file, listing, self.new_ids).tool_ids
        new = {*self.new_ids.values()}
        return Reads(
            lasts=[pair_stream(*pair) for pair in self._pairs(tool_ids)],
            wholes=[
                quarantine.stream(VIEW),
                *(ids.stream_of(id_) for tool in self.file.tools if (id_ := tool_ids[tool.slug]) not in new),
                *(persona_stream(said.persona) for said in self.file.personas),
            ],
        )

    async def look_up(self, connection: "Connection[Any]") -> Found:
        """Read the successors that tools have, if the file names any: a circle may lead through tools that it leaves out."""
        if not any(tool.successor for tool in self.file.tools):
            return Found({})
        rows = await connection.fetch(SUCCESSORS, quarantine.stream(VIEW))
        return Found({row["tool"]: row["successor"] for row in rows})

    async def finds_the_same(self, connection: "Connection[Any]", found: Mapping[str, str]) -> bool:
        """Check that no other import has led tools elsewhere meanwhile, which could close a circle with this file's."""
        now: Mapping[str, str] = (await self.look_up(connection)).value
        return now == found

    def decide(self, seen: Seen) -> Decision[int]:
        """Decide by the rule. Raises CatalogInvalid with every fault."""
        meant = resolve(self.file, seen.listing, self.new_ids)
        faults = [
            *self.faults,
            *meant.faults,
            *check_pairs(self.file, meant.tool_ids),
            *check_successors(self.file, meant.tool_ids, seen.found),
        ]
        if faults:
            raise CatalogInvalid(faults)
        events = import_catalog(self._known(seen, meant.tool_ids), self.file, meant.tool_ids)
        return Decision(
            events=[(stream(event), event) for event in events],
            value=len(events),
            position=max((whole[-1].position for whole in seen.wholes[1:] if whole), default=None),
            meta={"operator": self.operator},
        )

    def _known(self, seen: Seen, tool_ids: Mapping[str, str]) -> Known:
        """Return what the catalog has of the file's things, without what its view passes over."""
        passed_over, *wholes = seen.wholes
        dropped = {recorded.event.position for recorded in passed_over}
        taken = [[recorded for recorded in whole if recorded.position not in dropped] for whole in wholes]
        tools: list[Tool | None] = [
            fold(evolve, whole) for whole in taken
        ]  # None of a persona's stream, and the other way round
        personas: list[Persona | None] = [fold(evolve_persona, whole) for whole in taken if self.file.personas]
        lasts = zip(self._pairs(tool_ids), seen.lasts, strict=True)
        return Known(
            tools={tool.tool: tool for tool in tools if tool is not None},
            personas={persona.persona.lower(): persona for persona in personas if persona is not None},
            announced={pair for pair, last in lasts if last is not None and last.position not in dropped},
        )

    def _pairs(self, tool_ids: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return the file's pairs by id; a slug without a tool is a fault that `decide` finds."""
        pairs = ((pair.left, pair.right) for pair in self.file.comparisons)
        return [(tool_ids[left], tool_ids[right]) for left, right in pairs if left in tool_ids and right in tool_ids]
