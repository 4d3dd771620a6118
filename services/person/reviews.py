"""What is kept of a visitor's reviews."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from events.catalog import Verdict
from events.log.event import Event
from events.log.vault import Key, Vault
from events.reviews import (
    Ground,
    Review,
    ReviewApproved,
    ReviewCleared,
    ReviewEdited,
    ReviewKept,
    ReviewPlaced,
    ReviewRejected,
    ReviewSubmitted,
    Status,
    Ties,
    evolve,
    stream,
)
from services.person.kept import Kept
from services.person.own import UNKNOWN, Database, Told, ToolName, read_streams

KEPT: Final = (
    Kept(
        name="Texts of reviews",
        what="Every version of your text and of the name above it, sealed under a key of the review's own.",
        about="reviewers",
        when="review",
        ground="asked",
        until="until you withdraw the review",
        found="the visitor's number",
        fate="key",
        remains="What an issue of the newsletter quoted of it is in the mails that had gone out.",
        copies="log",
        events=("ReviewSubmitted", "ReviewEdited", "ReviewWithdrawn"),
        tables={"vault.keys": "owner wrapped wrapped_under made_at", "{reviews}.reviews": ""},
    ),
    Kept(
        name="Decisions on reviews",
        what="When a moderator read your review, what was decided, and the ground and reason that you were told.",
        about="reviewers",
        when="review",
        ground="interest",
        until="as long as the site exists",
        found="the number of the review, which is found by the visitor's",
        fate="stays",
        remains="Verdict, score, ties and decisions, under the number of a review whose text is gone.",
        copies="log",
        events=("ReviewApproved", "ReviewRejected", "ReviewKept", "ReviewPlaced", "ReviewCleared"),
    ),
)


class ReviewStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened to a review. Fields that have nothing to say are left out, texts that are destroyed too."""

    position: int
    at: datetime
    what: str
    revision: int | None = None
    verdict: Verdict | None = None
    score: int | None = None
    ties: Ties | None = None
    text: str | None = None
    display_name: str | None = None
    ground: Ground | None = None
    reason: str | None = None


class ReviewCopy(msgspec.Struct, frozen=True):
    """A visitor's review of a tool, with all that happened to it."""

    review: str
    tool: str | None
    name: str | None
    status: Status
    history: list[ReviewStep]


async def reviews_of(database: Database, vault: Vault, told: Sequence[Told], tools: Mapping[str, ToolName]) -> list[ReviewCopy]:
    """Return all reviews that a visitor ever wrote, withdrawn ones too, the first first."""
    histories: dict[str, list[Told]] = {}
    for one in told:
        if isinstance(one.event, ReviewPlaced | ReviewCleared):
            histories.setdefault(one.event.review, []).append(one)
    of_stream = {stream(review): review for review in histories}
    for one in await read_streams(database, of_stream):
        histories[of_stream[one.stream]].append(one)
    keys = await vault.keys_of(database, histories)
    return [_review(review, history, keys.get(review), tools) for review, history in histories.items()]


def _review(review: str, history: list[Told], key: Key | None, tools: Mapping[str, ToolName]) -> ReviewCopy:
    history.sort(key=lambda one: one.position)
    state: Review | None = None
    for one in history:
        state = evolve(state, one.event)
    steps = [ReviewStep(one.position, one.at, **_said(one.event, key)) for one in history]
    if state is None:
        return ReviewCopy(review, None, None, "withdrawn", steps)
    return ReviewCopy(review, *tools.get(state.tool, UNKNOWN), state.status, steps)


def _said(event: Event, key: Key | None) -> dict[str, Any]:
    """Return the fields of a step for an event."""
    match event:
        case ReviewSubmitted() | ReviewEdited():
            return {
                "what": "written",
                "revision": getattr(event, "revision", 1),
                "verdict": event.verdict,
                "score": event.score,
                "ties": event.ties,
                "text": None if key is None else key.open("text", event.text),
                "display_name": None if key is None or event.name is None else key.open("name", event.name),
            }
        case ReviewApproved():
            return {"what": "approved", "revision": event.revision}
        case ReviewRejected():
            what = "taken down" if event.shown else "rejected"
            return {"what": what, "revision": event.revision, "ground": event.ground, "reason": event.reason}
        case ReviewKept():
            return {"what": "read again after reports, and left up", "revision": event.revision}
        case ReviewPlaced():
            return {"what": "the place for your one review of this tool was taken"}
        case ReviewCleared():
            return {"what": "the place for your one review of this tool is free again"}
    return {"what": "withdrawn, and its texts destroyed"}
