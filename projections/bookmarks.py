"""Bookmarks, read: the tools a visitor keeps."""

from collections.abc import Sequence
from typing import Any

import msgspec
from asyncpg import Pool


class Bookmark(msgspec.Struct, frozen=True):
    """A kept tool, by slug, and the event since which it is kept."""

    slug: str
    position: int


# Tools that are off the site are left out; should they return, so do their bookmarks.
BOOKMARKS = """
select t.slug, b.position
from bookmarks_1.bookmarks b
join cards_1.tools t on t.tool = b.tool and t.listed
where b.visitor = $1 and ($2::bigint is null or b.position < $2)
order by b.position desc
limit $3
"""


async def bookmarks(pool: "Pool[Any]", visitor: str, before: int | None, limit: int) -> Sequence[Bookmark]:
    """Give up to `limit` of a visitor's bookmarks of listed tools, newest first, made before a position."""
    return [Bookmark(**row) for row in await pool.fetch(BOOKMARKS, visitor, before, limit)]
