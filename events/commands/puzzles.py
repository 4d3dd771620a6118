"""The command to have votes on a tool ask for a solved puzzle for a while, or no more: no event, since no vote changes."""

from datetime import datetime
from typing import Final

from events.catalog import Listing
from events.log.command import Command, Decision, Effect, Reads, Receipt, Seen

SWITCH_ON: Final = """
insert into integrity.puzzles as p (tool, until, switched_by) values ($1, $2, $3)
on conflict (tool) do update set until = excluded.until, switched_by = excluded.switched_by
"""
SWITCH_OFF: Final = "delete from integrity.puzzles where tool = $1"


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
        """Switch the puzzle on or off."""
        tool: str = seen.listing.listed(self.slug)
        on = Effect(SWITCH_ON, (tool, self.until, self.operator))
        return Decision(events=[], value=self.until, effects=[on if self.until else Effect(SWITCH_OFF, (tool,))])
