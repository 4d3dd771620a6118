"""Read when verdicts came and changed, and when tools did."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from asyncpg import Pool

from projections.cards import PanelVerdict
from projections.registry import named

Kind = Literal["panel", "settled"]


class VerdictChange(msgspec.Struct, frozen=True):
    """A verdict that came, changed or went, with the tool as it is now; `before` and `after` are None for no verdict."""

    tool: str
    slug: str
    name: str
    category: str
    kind: Kind
    before: PanelVerdict | None
    after: PanelVerdict | None
    position: int
    recorded_at: datetime


# What a single look says changes too often to be told. One statement with a category and one without, each with its index:
# their orders are spelled apart, else the planner would read one category's changes from among all.
_NEWEST = named("""
select v.tool, t.slug, t.name, v.category, v.kind, v.before, v.after, v.position, v.recorded_at
from {verdicts}.verdicts v join {cards}.tools t on t.tool = v.tool and t.listed
where v.listed and v.kind <> 'community' :category
order by v.position desc
limit $1
""")
NEWEST: Final = _NEWEST.replace(":category", "")
NEWEST_IN: Final = _NEWEST.replace(":category", "and v.category = $2").replace("v.position desc", "-v.position")


async def newest(pool: "Pool[Any]", category: str | None, limit: int) -> Sequence[VerdictChange]:
    """Return the newest `limit` changes of panel and settled verdicts on listed tools, newest first."""
    if category is None:
        rows = await pool.fetch(NEWEST, limit)
    else:
        rows = await pool.fetch(NEWEST_IN, limit, category)
    return [VerdictChange(**row) for row in rows]
