"""The command to have votes on a tool ask for a solved puzzle for a while, or no more: no event, since no vote changes."""

from datetime import UTC, datetime
from typing import Final

from events.catalog import Listing
from events.log.command import Command, Decision, Effect, Reads, Receipt, Seen

SWITCH_ON: Final = """
with switched as (
    insert into integrity.puzzles as p (tool, until, switched_by) values ($1, $2, $3)
    on conflict (tool) do update set until = excluded.until, switched_by = excluded.switched_by
)
select operators.note($3, 'switched-puzzle-on', $1, $4)
"""
SWITCH_OFF: Final = """
with gone as (delete from integrity.puzzles where tool = $1 returning tool)
select operators.note($2, 'switched-puzzle-off', g.tool, $3) from gone g
"""


class SwitchPuzzle(Command[datetime | None], frozen=True):
    """Have votes on a listed tool ask for a solved puzzle until a time, or (with no time) no more."""

    slug: str
    until: datetime | None
    operator: str

    receipt_type = Receipt[datetime | None]

    def reads(self, listing: Listing) -> Reads:
        """Name nothing to read. Raises ToolNotListed."""
        listing.listed(self.slug)
        return Reads()

    def decide(self, seen: Seen) -> Decision[datetime | None]:
        """Switch the puzzle on or off, and note it."""
        tool: str = seen.listing.listed(self.slug)
        if self.until is None:
            return Decision(events=[], value=None, effects=[Effect(SWITCH_OFF, (tool, self.operator, self.slug))])
        about = f"{self.slug} until {self.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        switched = Effect(SWITCH_ON, (tool, self.until, self.operator, about))
        return Decision(events=[], value=self.until, effects=[switched])
