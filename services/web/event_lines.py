"""Events as lines, for operators: each says in words what happened. Sealed fields stay sealed."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from events.log.store import RecordedRow
from services.web.filters import count

Data = Mapping[str, Any]


class EventLine(msgspec.Struct, frozen=True):
    """An event, the line that says what happened, and all its fields as text."""

    row: RecordedRow
    line: str
    fields: list[tuple[str, str]]


_LINES: Final[dict[str, Callable[[Data], str]]] = {
    "ToolAdded": lambda d: f"{d['name']} was added as {d['slug']}",
    "ToolDescribed": lambda d: f"{d['name']} has a new description",
    "ToolRenamed": lambda d: f"The tool took the slug {d['slug']}",
    "FormerSlugAdded": lambda d: f"The former slug {d['slug']} leads to the tool",
    "PersonaDescribed": lambda d: f"{d['persona']} was described",
    "ToolListed": lambda d: "The tool was listed on the site",
    "ToolUnlisted": lambda d: "The tool was removed from the site",
    "PanelReviewPublished": lambda d: f"{d['persona']} says {d['verdict']}{_score(d)}",
    "PanelReviewRevised": lambda d: f"{d['persona']} now says {d['verdict']}{_score(d)}",
    "ComparisonAnnounced": lambda d: "A comparison was announced",
    "VoteCast": lambda d: f"Voted {d['choice']}" + (f", before {d['previous']}" if d.get("previous") else ""),
    "VoteRetracted": lambda d: f"Took back a vote, {d['previous']}",
    "ToolBookmarked": lambda d: "Bookmarked a tool",
    "BookmarkRemoved": lambda d: "Removed a bookmark",
    "ReviewSubmitted": lambda d: f"A review was submitted: {d['verdict']}{_score(d)}{_ties(d)}",
    "ReviewEdited": lambda d: f"Revision {d['revision']} was submitted: {d['verdict']}{_score(d)}{_ties(d)}",
    "ReviewApproved": lambda d: f"Revision {d['revision']} was approved",
    "ReviewRejected": lambda d: f"Revision {d['revision']} was {'taken down' if d.get('shown') else 'rejected'}{_why(d)}",
    "ReviewKept": lambda d: f"Revision {d['revision']} was kept: the reports up to position {d['through']} were read",
    "ReviewReported": lambda d: f"The review was reported: {d['ground']}",
    "ReportWithdrawn": lambda d: "The report went with the person who wrote it",
    "ReviewWithdrawn": lambda d: "The author withdrew the review; its text was destroyed",
    "ReviewPlaced": lambda d: "The reader's place for a review of this tool was taken",
    "ReviewCleared": lambda d: "The reader's place for a review of this tool is free again",
    "VoterDisqualified": lambda d: f"The voter was disqualified with {count(len(d['ballots']), 'ballot')}",
    "VoterReinstated": lambda d: f"The voter was reinstated with {count(len(d['ballots']), 'ballot')}",
    "CorrectionRecorded": lambda d: f"{count(d['voters'], 'voter')} {d['action']}, {count(d['votes'], 'vote')}: {d['reason']}",
    "BallotsVoided": lambda d: f"{count(len(d['ballots']), 'ballot')} of the correction's voters no longer count",
    "BallotsRestored": lambda d: f"{count(len(d['ballots']), 'ballot')} of the correction's voters count again",
    "VoidProposed": lambda d: f"{d['by']} proposed to void {count(d['votes'], 'vote')}: {d['reason']}",
    "VoidWithdrawn": lambda d: f"{d['by']} took the proposal back: {d['reason']}",
    "CohortDecided": lambda d: f"{d['by']} decided on {count(d['votes'], 'vote')}, {d['decision']}: {d['reason']}",
    "CohortCorrected": lambda d: (
        f"All voters were {'disqualified' if d['decision'] == 'void' else 'reinstated'}: {d['reason']}"
    ),
    "PersonErased": lambda d: "The person was erased",
    "DataRequested": lambda d: (
        f"An operator was asked for {'a copy' if d['kind'] == 'copy' else 'the erasure'} of a {d['of']}'s data"
    ),
    "SubscriptionRequested": lambda d: "A subscription was requested",
    "SubscriptionConfirmed": lambda d: "The subscription was confirmed",
    "SubscriberImported": lambda d: "A subscriber was imported, with proof of consent",
    "BookmarksJoined": lambda d: "A visitor's bookmarks were joined to the subscriber",
    "PreferencesSet": lambda d: f"Preferences were set: {d['frequency']}",
    "Unsubscribed": lambda d: "Unsubscribed",
    "UnsubscribeUndone": lambda d: f"The withdrawal was taken back, by form {d['form']}",
    "TimeZoneSet": lambda d: "Chose a time zone" if d.get("zone") else "Took the time zone back",
    "SubscriberSuppressed": lambda d: f"The address was suppressed: {d['reason']}",
    "SubscriberReinstated": lambda d: f"The suppression was taken back: {d['reason']}",
    "IssueSent": lambda d: f"Issue {d['issue']} ({d['edition']}) has gone out: {d['accepted']} of {d['planned']} were taken",
    "LogKeyAdded": lambda d: f"The log is signed with one more key: {d['vkey']}",
    "LogRestarted": lambda d: f"The log began anew after {d['common']} of {d['size']} events of {d['former']}: {d['reason']}",
    "EventDropped": lambda d: f"{d['projection']} skips position {d['position']}: {d['reason']}",
}
_SEALED: Final = {"text", "name", "words", "address"}
_SEALED_TYPES: Final = {"ReviewSubmitted", "ReviewEdited", "ReviewReported", "SubscriptionRequested", "SubscriberImported"}


def event_line(row: RecordedRow) -> EventLine:
    """Return an event's line: its type, if the type has no line of its own or the event an unknown shape."""
    data: dict[str, Any] = msgspec.json.decode(row.data)
    line = row.type
    if row.type in _LINES:
        try:
            line = _LINES[row.type](data)
        except (KeyError, TypeError):
            line = row.type
    is_sealed = row.type in _SEALED_TYPES
    fields = [(name, "sealed" if is_sealed and name in _SEALED and value else _text(value)) for name, value in data.items()]
    meta = msgspec.json.decode(row.meta)
    return EventLine(row, line, [*fields, *((f"meta: {name}", _text(value)) for name, value in (meta or {}).items())])


def _score(data: Data) -> str:
    return "" if data.get("score") is None else f", {data['score']}/100"


def _ties(data: Data) -> str:
    return f", ties: {data['ties']}" if data.get("ties") else ""


def _why(data: Data) -> str:
    why = ", ".join(data[field] for field in ("ground", "reason") if data.get(field))
    return f": {why}" if why else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
