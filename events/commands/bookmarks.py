"""The command to bookmark a tool, or to remove the bookmark."""

from events import bookmarks, voters
from events.catalog import Listing
from events.erasure import must_not_be_erased, person_stream
from events.log import ids
from events.log.command import Command, Decision, Reads, Seen


class SetBookmark(Command[None], frozen=True):
    """Bookmark a listed tool, or remove its bookmark."""

    visitor: str
    slug: str
    keep: bool

    def reads(self, listing: Listing) -> Reads:
        """Name the bookmark, the voter and its erasures. Raises ToolNotListed."""
        own = bookmarks.stream(self.visitor, listing.listed(self.slug))
        return Reads((own, ids.stream_of(self.visitor), person_stream(self.visitor)))

    def decide(self, seen: Seen) -> Decision[None]:
        """Decide by the rule; an erased visitor may remove. Raises VisitorIsErased, VoterIsDisqualified."""
        bookmark, voter, erasure = seen.lasts
        if self.keep and erasure is not None:
            must_not_be_erased(erasure.event)
        if voter is not None:
            voters.must_be_allowed(voter.event)
        kept = bookmark is not None and bookmarks.evolve(False, bookmark.event)
        events = bookmarks.set_bookmark(kept, self.visitor, seen.listing.listed(self.slug), self.keep)
        return Decision(
            events=[(seen.reads.lasts[0], event) for event in events],
            value=None,
            position=bookmark.position if bookmark is not None else None,
        )
