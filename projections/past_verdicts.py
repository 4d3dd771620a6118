"""Read a persona's verdicts as of a position of the log: those that its reviews said then, of tools that are listed now."""

from typing import Final

from events import quarantine
from events.catalog import VIEW
from events.log.reads import Reads
from projections.registry import named
from projections.tools import PersonaVerdict

# The last review by then of each tool that the persona has reviewed since the log began, by the tool's own stream; without what
# the view of the catalog passes over.
VERDICTS_THEN: Final = named("""
select t.slug as tool, t.name, p.category, e.score, e.verdict, e.take, e.position
from {cards}.panel p
join {cards}.tools t on t.tool = p.tool
cross join lateral (
    select (r.data->>'score')::integer as score, r.data->>'verdict' as verdict, r.data->>'take' as take, r.position
    from log.of_stream(newsletter.stream_of(p.tool)) r
    where r.type in ('PanelReviewPublished', 'PanelReviewRevised')
      and r.data->>'persona' = p.persona and r.position <= $2
      and r.position not in (select (d.data->>'position')::bigint from log.of_stream($6) d)
    order by r.version desc limit 1
) e
where p.listed and lower(p.persona) collate "C" = $1
  and ($3::text is null or p.category = $3) and ($4::bigint is null or e.position < $4)
order by e.position desc
limit $5
""")


async def verdicts_at(
    pool: Reads, lower: str, position: int, category: str | None, before: int | None, limit: int
) -> list[PersonaVerdict]:
    """Return up to `limit` of a persona's verdicts as of a position, last changed first, changed before another position."""
    rows = await pool.fetch(VERDICTS_THEN, lower, position, category, before, limit, quarantine.stream(VIEW))
    return [PersonaVerdict(**row) for row in rows]
