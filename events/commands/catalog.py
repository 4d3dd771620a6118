"""The command to import a catalog file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from events import quarantine
from events.catalog import VIEW, Listing, evolve, pair_stream, stream
from events.catalog_file import CatalogFile, CatalogInvalid, Fault, check, check_pairs, import_catalog, most_events, slugs_in
from events.log import ids
from events.log.command import Command, Decision, IdempotencyKey, Reads, Receipt, Seen
from events.log.event import fold

FEW: Final = 500
"""As many events are decided while all others wait."""


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
        """Check a file, make an id for every slug in it, and return the command."""
        return cls(file, check(file), {slug: new_id() for slug in sorted(slugs_in(file))}, operator, key=key)

    @property
    def is_large(self) -> bool:
        """Whether the file may come to more than a few events."""
        return most_events(self.file) > FEW

    def reads(self, listing: Listing) -> Reads:
        """Name the pairs of the file, what its view passes over, and the tools that the catalog has."""
        known = (listing.find(tool.slug) for tool in self.file.tools)
        return Reads(
            lasts=[pair_stream(*pair) for pair in self._pairs(self._ids(listing))],
            wholes=[quarantine.stream(VIEW), *(ids.stream_of(tool) for tool in known if tool is not None)],
        )

    def decide(self, seen: Seen) -> Decision[int]:
        """Decide by the rule. Raises CatalogInvalid with every fault."""
        if faults := [*self.faults, *check_pairs(self.file, seen.listing)]:
            raise CatalogInvalid(faults)
        passed_over, *wholes = seen.wholes
        dropped = {recorded.event.position for recorded in passed_over}
        tool_ids = self._ids(seen.listing)
        lasts = zip(self._pairs(tool_ids), seen.lasts, strict=True)
        announced = {pair for pair, last in lasts if last is not None and last.position not in dropped}
        taken = ([recorded for recorded in whole if recorded.position not in dropped] for whole in wholes)
        tools = {tool.slug: tool for whole in taken if (tool := fold(evolve, whole)) is not None}
        events = import_catalog(tools, announced, self.file, tool_ids)
        return Decision(
            events=[(stream(event), event) for event in events],
            value=len(events),
            position=max((whole[-1].position for whole in wholes if whole), default=None),
            meta={"operator": self.operator},
        )

    def _ids(self, listing: Listing) -> dict[str, str]:
        """Return the id of every slug in the file: the catalog's, or the one made for it if it is new."""
        return {slug: listing.find(slug) or new for slug, new in self.new_ids.items()}

    def _pairs(self, tool_ids: Mapping[str, str]) -> list[tuple[str, str]]:
        return [(tool_ids[pair.left], tool_ids[pair.right]) for pair in self.file.comparisons]
