"""Read corrections of tallies."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from events.log.reads import Reads
from projections.registry import named
from projections.tally import Tally


class ToolCorrection(msgspec.Struct, frozen=True):
    """A tool, by slug, and its (ship, skip) before and after."""

    slug: str
    before: Tally
    after: Tally


class Correction(msgspec.Struct, frozen=True):
    """A correction with the listed tools that it changed; `position` is that of its event."""

    action: Literal["disqualified", "reinstated"]
    reason: str
    voters: int
    votes: int
    recorded_at: datetime
    position: int
    tools: list[ToolCorrection]


# Unlisted tools are left out, as everywhere.
CORRECTIONS = named("""
select c.action, c.reason, c.voters, c.votes, c.recorded_at, c.position,
       coalesce((select jsonb_agg(jsonb_build_array(t.slug, jsonb_build_array(x.before_ship, x.before_skip),
                                                    jsonb_build_array(x.after_ship, x.after_skip)) order by t.slug)
                 from {corrections}.corrected_tools x join {cards}.tools t on t.tool = x.tool and t.listed
                 where x.correction = c.correction), '[]') as tools
from {corrections}.corrections c
where $1::bigint is null or c.position < $1
order by c.position desc
limit $2
""")

_tools = msgspec.json.Decoder(list[tuple[str, Tally, Tally]])


async def corrections(pool: Reads, before: int | None, limit: int) -> Sequence[Correction]:
    """Return up to `limit` corrections, newest first, recorded before a position."""
    rows = await pool.fetch(CORRECTIONS, before, limit)
    return [Correction(**{**row, "tools": [ToolCorrection(*tool) for tool in _tools.decode(row["tools"])]}) for row in rows]
