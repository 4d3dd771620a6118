"""Which tool each slug of a catalog file means, and the faults that only the catalog shows.

A slug that a tool has or had is that tool's for ever. A new slug beside a present one among its `former_slugs` renames that
tool; a former slug is taken back by naming the present one as former.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from events.catalog import Listing
from events.catalog_file import CatalogFile, CatalogTool, Fault

MISSING: Final = "There is no tool {!r}, neither here nor in the catalog."


class Meant(msgspec.Struct, frozen=True):
    """The id of every slug that a file names, those without a tool left out, and the faults of the tools' slugs."""

    tool_ids: Mapping[str, str]
    faults: list[Fault]


def resolve(file: CatalogFile, listing: Listing, new_ids: Mapping[str, str]) -> Meant:
    """Return which tools the slugs of a file mean; `new_ids` has an id for each of its tools that the catalog lacks."""
    meant: dict[str, str] = {}
    faults: list[Fault] = []
    for n, tool in enumerate(file.tools):
        if not tool.former_slugs and not listing.is_former(tool.slug):  # nearly all, of many thousands
            meant[tool.slug] = listing.find(tool.slug) or new_ids[tool.slug]
            continue
        id_, found = _tool(f"/tools/{n}", tool, listing)
        faults += found
        own = id_ or new_ids[tool.slug]
        meant.update((slug, listing.find(slug) or own) for slug in (tool.slug, *tool.former_slugs))
    for slug in _others(file):
        if slug not in meant and (known := listing.find(slug)) is not None:
            meant[slug] = known
    return Meant(meant, faults)


def _tool(pointer: str, tool: CatalogTool, listing: Listing) -> tuple[str | None, list[Fault]]:
    """Return the id of a tool that the catalog has, None for a new one, and the faults of its slugs."""
    own = listing.find(tool.slug)
    # By the slug that it has now, which the file says is its former one: more than one is another's.
    renamed = [listing.find(slug) for slug in tool.former_slugs if not listing.is_former(slug)]
    id_ = own or next(filter(None, renamed), None)
    faults = [
        (f"{pointer}/former_slugs/{m}", f"The slug {slug!r} leads to another tool for ever.")
        for m, slug in enumerate(tool.former_slugs)
        if listing.find(slug) not in (None, id_)
    ]
    if listing.is_former(tool.slug) and own not in renamed:
        faults.append((f"{pointer}/slug", _TAKEN.format(tool.slug)))
    return id_, faults


_TAKEN: Final = "The slug {!r} leads to a tool that has another one now. Name it by that, or name that among its former ones."


def _others(file: CatalogFile) -> Iterator[str]:
    """Return the slugs that a file names beside those of its tools."""
    yield from (slug for pair in file.comparisons for slug in (pair.left, pair.right))
    yield from (tool.successor for tool in file.tools if isinstance(tool.successor, str))


def check_pairs(file: CatalogFile, tool_ids: Mapping[str, str]) -> Iterator[Fault]:
    """Return a fault for each compared slug without a tool, and for each tool that is compared with itself by two slugs."""
    for n, pair in enumerate(file.comparisons):
        sides = (("left", pair.left), ("right", pair.right))
        missing = [(side, slug) for side, slug in sides if slug not in tool_ids]
        yield from ((f"/comparisons/{n}/{side}", MISSING.format(slug)) for side, slug in missing)
        if not missing and pair.left != pair.right and tool_ids[pair.left] == tool_ids[pair.right]:
            yield f"/comparisons/{n}", f"The slugs {pair.left!r} and {pair.right!r} are of one tool."


def check_successors(file: CatalogFile, tool_ids: Mapping[str, str], successors: Mapping[str, str]) -> Iterator[Fault]:
    """Return a fault for each successor without a tool, and for each that leads back to its tool.

    `successors` are those that the catalog has, by id; the file's take their place.
    """
    after = {
        **successors,
        **{tool_ids[t.slug]: tool_ids.get(t.successor or "") for t in file.tools if t.successor is not UNSET},
    }
    back = _in_circles(after)
    for n, tool in enumerate(file.tools):
        if not isinstance(tool.successor, str):
            continue
        if tool.successor not in tool_ids:
            yield f"/tools/{n}/successor", MISSING.format(tool.successor)
        elif tool_ids[tool.slug] in back:
            yield f"/tools/{n}/successor", f"The successor {tool.successor!r} leads back to this tool."


def _in_circles(after: Mapping[str, str | None]) -> set[str]:
    """Return the tools that their successors lead back to."""
    found: set[str] = set()
    seen: set[str] = set()
    for start in after:
        way: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in seen:
            seen.add(at)
            way[at] = None
            at = after.get(at)
        if at in way:
            steps = list(way)
            found.update(steps[steps.index(at) :])
    return found
