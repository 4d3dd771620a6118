"""A year's log made in SQL: a catalog, Zipf-distributed votes, changes, retractions, bookmarks, reviews and voids."""

import re
from itertools import pairwise
from pathlib import Path

import asyncpg

from events.catalog import ComparisonAnnounced, PanelReviewPublished, ToolAdded
from events.log.command import Command, Decision
from events.log.event import Event
from events.log.ids import stream_of
from services.clock import fresh_id
from tests.support.log import patient

BLOCK = 100
AT_ONCE = 2_000
PERSONAS = ("Builder", "Founder", "Skeptic")

_SQL = Path(__file__).with_suffix(".sql").read_text()
FUNCTIONS, FILL = (block.partition("\n")[2] for block in re.split(r"^-- (?=functions:|fill:)", _SQL, flags=re.MULTILINE)[1:])


class AddCatalog(Command[None], frozen=True):
    """Add tools named tool-0, tool-1, … with three reviews each, and a hundred announced pairs."""

    tools: int

    def decide(self, seen: object) -> Decision[None]:
        """Decide."""
        events: list[tuple[object, Event]] = []
        ids = [fresh_id() for _ in range(self.tools)]
        for n, tool in enumerate(ids):
            added = ToolAdded(
                tool=tool, slug=f"tool-{n}", name=f"Tool {n}", tagline="Does it", description="A tool of the benchmark. " * 20,
                category=f"Category {n % 10}", pricing_tier="free", pricing_label="Free", best_for="Measuring",
            )  # fmt: skip
            reviews = [
                PanelReviewPublished(tool=tool, persona=p, score=80, verdict="ship", take="Good " * 20) for p in PERSONAS
            ]
            events += [(stream_of(tool), event) for event in (added, *reviews)]
        pairs = pairwise(ids[:101])
        events += [(stream_of(left), ComparisonAnnounced(left=left, right=right)) for left, right in pairs]
        return Decision(events=events, value=None)  # type: ignore[arg-type]


async def fill_year(dsn: str, events: int, tools: int = 5_000) -> int:
    """Make a year's log of so many events, the catalog's beside them, in an empty one; give the head's position."""
    async with patient(dsn) as committer:
        await committer.submit(AddCatalog(tools))
    connection = await asyncpg.connect(dsn, server_settings={"synchronous_commit": "off"})
    await connection.execute("alter table log.events disable trigger events_append_only")
    await connection.execute("update log.events set recorded_at = now() - interval '365 days'")
    await connection.execute("alter table log.events enable trigger events_append_only")
    await connection.execute(FUNCTIONS)
    head: int = await connection.fetchval("select position from log.head")
    await connection.execute("select log.make_room($1)", head + events)
    step = 364 * 86_400 * 1_000_000 / events
    for start in range(0, events, AT_ONCE * BLOCK):
        end = min(events, start + AT_ONCE * BLOCK)
        await connection.execute(FILL, start, end, head, step, float(tools), timeout=600)
    await connection.execute(
        "update log.head set position = $1, recorded_at = (select max(recorded_at) from log.events)", head + events
    )
    await connection.execute("drop schema bench cascade")
    await connection.execute("vacuum (analyze) log.events", timeout=3600)
    await connection.close()
    return head + events
