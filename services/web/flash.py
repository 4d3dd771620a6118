"""The queries of pages, and the message that confirms what a form just did."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from services.web.http.queries import ListQuery, Query

Flash = Literal[
    "voted",
    "retracted",
    "kept",
    "removed",
    "reviewed",
    "edited",
    "withdrawn",
    "reviewed-before",
    "unchanged",
    "reported",
    "erased",
]
Back = Annotated[str, Meta(max_length=400)]
"""The page of this site that a form returns to."""

ABOUT_REVIEWS: Final = frozenset({"reviewed", "edited", "withdrawn", "reviewed-before", "unchanged"})
"""What is said beside the reader's own review, where its form leads to."""

FLASHES: Final[dict[Flash | None, str]] = {
    "voted": "Your vote is counted. You can change it or take it back at any time.",
    "retracted": "Your vote is taken back.",
    "kept": "Saved to your bookmarks.",
    "removed": "Removed from your bookmarks.",
    "reviewed": "Thank you. A moderator reads your review before it is shown.",
    "edited": "Your edit waits for a moderator; what was approved before stays up until then.",
    "withdrawn": "Your review is withdrawn and its text destroyed.",
    "reviewed-before": "You have reviewed this tool already: here is your review, to edit or withdraw.",
    "unchanged": "Nothing was changed.",
    "reported": "Thank you. A moderator will look at that review.",
    "erased": "What you wrote is destroyed, and your bookmarks are removed.",
}


class PageQuery(Query, frozen=True, kw_only=True):
    """The query of a page; `said` names the message to show."""

    said: Flash | None = None


class ListPageQuery(ListQuery, frozen=True, kw_only=True):
    """The query of a page with a list; `said` names the message to show."""

    said: Flash | None = None
