"""The command to import a catalog file, and the import of a large one in parts."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Self

from events.catalog import Listing, evolve, pair_stream, stream
from events.catalog_file import CatalogFile, CatalogInvalid, Fault, check, check_pairs, import_catalog, parts, slugs_in
from events.log import ids
from events.log.command import Command, Decision, IdempotencyKey, Reads, Receipt, Seen
from events.log.committer import LogUnavailable
from events.log.event import fold

TRIES: Final = 5
"""Of each part, a second apart."""


class ImportCatalog(Command[int], frozen=True):
    """Append what a catalog file changes; the value is the number of events, with those `before` it of a file in parts.

    Exclusive, so that every tool it does not find is new: a batch's other commands could have added it.
    """

    file: CatalogFile
    faults: Sequence[Fault]
    new_ids: Mapping[str, str]
    operator: str
    before: int = 0

    exclusive = True
    seconds = 10.0
    receipt_type = Receipt[int]

    @classmethod
    def of(cls, file: CatalogFile, new_id: Callable[[], str], operator: str, key: IdempotencyKey | None = None) -> Self:
        """Check a file, make an id for every slug in it, and return the command."""
        return cls(file, check(file), {slug: new_id() for slug in sorted(slugs_in(file))}, operator, key=key)

    def reads(self, listing: Listing) -> Reads:
        """Name the pairs of the file, and the tools that the catalog has."""
        known = (listing.find(tool.slug) for tool in self.file.tools)
        return Reads(
            lasts=[pair_stream(*pair) for pair in self._pairs(self._ids(listing))],
            wholes=[ids.stream_of(tool) for tool in known if tool is not None],
        )

    def decide(self, seen: Seen) -> Decision[int]:
        """Decide by the rule. Raises CatalogInvalid with every fault."""
        if faults := [*self.faults, *check_pairs(self.file, seen.listing)]:
            raise CatalogInvalid(faults)
        tool_ids = self._ids(seen.listing)
        announced = {pair for pair, last in zip(self._pairs(tool_ids), seen.lasts, strict=True) if last is not None}
        tools = {tool.slug: tool for whole in seen.wholes if (tool := fold(evolve, whole)) is not None}
        events = import_catalog(tools, announced, self.file, tool_ids)
        return Decision(
            events=[(stream(event), event) for event in events],
            value=self.before + len(events),
            position=max((whole[-1].position for whole in seen.wholes if whole), default=None),
            meta={"operator": self.operator},
        )

    def _ids(self, listing: Listing) -> dict[str, str]:
        """Return the id of every slug in the file: the catalog's, or the one made for it if it is new."""
        return {slug: listing.find(slug) or new for slug, new in self.new_ids.items()}

    def _pairs(self, tool_ids: Mapping[str, str]) -> list[tuple[str, str]]:
        return [(tool_ids[pair.left], tool_ids[pair.right]) for pair in self.file.comparisons]


class CatalogSound(Exception):
    """A file has no fault, and nothing was kept under its key."""


class CheckCatalog(ImportCatalog, frozen=True):
    """Append nothing: raise CatalogInvalid with every fault, else CatalogSound.

    Under the key of an import that was whole, the receipt is that import's.
    """

    exclusive = False

    def reads(self, listing: Listing) -> Reads:
        """Name no stream."""
        return Reads()

    def decide(self, seen: Seen) -> Decision[int]:
        """Decide by the rule. Raises CatalogInvalid or CatalogSound."""
        if faults := [*self.faults, *check_pairs(self.file, seen.listing)]:
            raise CatalogInvalid(faults)
        raise CatalogSound


async def import_whole(
    submit: Callable[[Command[int]], Awaitable[Receipt[int]]],
    whole: ImportCatalog,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Import a file of any size; return the number of events appended. A file with a fault appends nothing.

    Much would keep votes waiting, so it comes in parts. After a kill, or LogUnavailable, what came stays, and the same import
    again appends the rest. Raises CatalogInvalid with every fault, KeyReused, LogUnavailable.
    """
    files = list(parts(whole.file))
    if len(files) == 1:
        return (await submit(whole)).value
    try:
        return (await submit(CheckCatalog(whole.file, whole.faults, {}, whole.operator, key=whole.key))).value
    except CatalogSound:
        pass
    appended = 0
    for n, file in enumerate(files, 1):
        new_ids = {slug: whole.new_ids[slug] for slug in slugs_in(file)}
        key = whole.key if n == len(files) else None  # only the whole is kept
        part = ImportCatalog(file, (), new_ids, whole.operator, appended, key=key)
        appended = (await _patiently(submit, part)).value
        report(n, len(files))
    return appended


async def _patiently(submit: Callable[[Command[int]], Awaitable[Receipt[int]]], part: ImportCatalog) -> Receipt[int]:
    """Submit a part, again while the log is busy: what was recorded all the same is no change the second time."""
    for _ in range(TRIES - 1):
        try:
            return await submit(part)
        except LogUnavailable:
            await asyncio.sleep(1)
    return await submit(part)
