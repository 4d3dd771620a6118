"""Read bookmarks: the tools that a visitor keeps."""

from collections.abc import Sequence

import msgspec

from events.log.reads import Reads
from projections.registry import named


class Bookmark(msgspec.Struct, frozen=True):
    """A bookmarked tool, by slug; `position` is that of the event that bookmarked it."""

    slug: str
    position: int


# Unlisted tools are left out; their bookmarks come back with them.
BOOKMARKS = named("""
select t.slug, b.position
from {bookmarks}.bookmarks b
join {cards}.tools t on t.tool = b.tool and t.listed
where b.visitor = $1 and ($2::bigint is null or b.position < $2)
order by b.position desc
limit $3
""")

SLUGS = named("""
select t.slug from {bookmarks}.bookmarks b join {cards}.tools t on t.tool = b.tool where b.visitor = any($1::text[]) order by 1
""")


async def bookmarks(pool: Reads, visitor: str, before: int | None, limit: int) -> Sequence[Bookmark]:
    """Return up to `limit` of a visitor's bookmarks of listed tools, newest first, made before a position."""
    return [Bookmark(**row) for row in await pool.fetch(BOOKMARKS, visitor, before, limit)]


async def slugs(database: Reads, visitors: Sequence[str]) -> list[str]:
    """Return the slugs of all tools that these visitors bookmarked, unlisted ones too, in order."""
    return [row["slug"] for row in await database.fetch(SLUGS, visitors)]
