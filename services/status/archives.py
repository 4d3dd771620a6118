"""The files of archived parts, looked at cheaply: whether each is there, and as long as it was written."""

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from events.log.archive.places import PlaceUnusable, place_of
from events.log.archive.state import Archive

LOOK_SECONDS: Final = 3.0
"""So long a store may take to answer."""


class LackingFile(msgspec.Struct, frozen=True):
    """An archived part whose file can't be relied on: what is wrong with it, and where it is kept."""

    part: int
    what: str
    place: str


async def look(archives: Sequence[Archive]) -> Sequence[LackingFile]:
    """Return the archived parts whose files aren't there, aren't as long as they were, or can't be looked at from here."""
    away = [one for one in archives if one.state != "written"]
    found = await asyncio.gather(*(asyncio.to_thread(_wrong, one) for one in away))
    return [LackingFile(one.part, what, one.place) for one, what in zip(away, found, strict=True) if what is not None]


def _wrong(archive: Archive) -> str | None:
    try:
        size = place_of(archive.place, LOOK_SECONDS).size(archive.name)
    except ModuleNotFoundError:
        return f"{archive.path} can't be looked at: install ballotpress[archive] here"
    except PlaceUnusable as error:
        return str(error)
    if size is None:
        return f"{archive.path} isn't there"
    return None if size == archive.bytes else f"{archive.path} has {size:,} bytes, where {archive.bytes:,} were written"


def wrong(lacking: Sequence[LackingFile]) -> Iterator[tuple[str, str]]:
    """Return what is wrong with the files, and what to do about it."""
    for one in lacking:
        write = f"`ballotpress events archive {one.part} --to {shlex.quote(one.place)}`"
        mend = f"make its place readable or put it back from a copy; {write} writes it again from what the database keeps"
        yield f"The file of part {one.part} of the log can't be used: {one.what}", mend
