"""Deeds: in plain words what an operator did by an event or an act, of which kind that is, and which scope opens it.

The words begin with a verb, so that they follow the operator's name. What is sealed in an event is never among them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args

import msgspec

Named = Literal[
    "reviews", "votes", "catalog", "readers", "erasures", "quarantine", "proof", "sessions", "mail", "webhooks", "upkeep"
]
"""The kinds that a type has, and that can be asked for."""
Kind = Literal[Named, "others"]
NAMED: Final[tuple[Named, ...]] = get_args(Named)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SCOPES: Final[Mapping[Kind, str]] = {
    "reviews": "moderate", "votes": "voters", "catalog": "catalog", "readers": "digest", "sessions": "operators",
    "mail": "digest", "webhooks": "webhooks", "upkeep": "read",
}  # fmt: skip
"""The scope that opens a kind, beside `read`, which opens all that stands in the log; whose isn't named, `read` alone opens."""

Data = Mapping[str, Any]


class Deed(msgspec.Struct, frozen=True):
    """How a type of event is told: its kind, its words (`tool` is the name of the tool concerned), and its reason."""

    kind: Kind
    words: Callable[[Data, str], str]
    reason: Callable[[Data], str | None] = lambda d: d.get("reason")


def _count(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _often(data: Data) -> str:
    """Return how often an act was repeated, and until when; nothing if it wasn't."""
    return f", {data['times']:,} times until {data['last_at']:%H:%M} UTC" if data["times"] > 1 else ""


BEGUN: Final = "begun"
"""What is said about an act that was noted before it is done."""


def _in_two(begins: str, done: str) -> Deed:
    """Return how an act is told that is noted before it is done: what was begun, and what was done."""
    begun = f"began to {begins}: how it ended isn't known"
    return Deed("upkeep", lambda d, tool: (begun if d["about"] == BEGUN else done).format(**d))


def _why(data: Data) -> str | None:
    return ", ".join(data[field] for field in ("ground", "reason") if data.get(field)) or None


def _decided(data: Data, tool: str) -> str:
    votes = f"{_count(data['votes'], data['choice'] + ' vote')} on {tool}"
    return {
        "void": f"voided {votes}",
        "dismiss": f"let {votes} stand",
        "watch": f"let {votes} stand until more come",
        "undo": f"took the decision on {votes} back",
    }[data["decision"]]


# fmt: off
DEEDS: Final[Mapping[str, Deed]] = {
    "ReviewApproved": Deed("reviews", lambda d, tool: f"approved the review of {tool}"),
    "ReviewRejected": Deed(
        "reviews", lambda d, tool: f"{'took down' if d.get('shown') else 'rejected'} the review of {tool}", _why,
    ),
    "ReviewKept": Deed("reviews", lambda d, tool: f"kept the reported review of {tool}"),
    "VoterDisqualified": Deed("votes", lambda d, tool: f"disqualified a voter with {_count(len(d['ballots']), 'ballot')}"),
    "VoterReinstated": Deed("votes", lambda d, tool: f"reinstated a voter with {_count(len(d['ballots']), 'ballot')}"),
    "BallotsVoided": Deed("votes", lambda d, tool: f"took {_count(len(d['ballots']), 'ballot')} out"),
    "BallotsRestored": Deed("votes", lambda d, tool: f"gave {_count(len(d['ballots']), 'ballot')} back"),
    "CorrectionRecorded": Deed(
        "votes", lambda d, tool: f"{d['action']} {_count(d['voters'], 'voter')} with {_count(d['votes'], 'vote')}"
    ),
    "VoidProposed": Deed("votes", lambda d, tool: f"proposed to void {_count(d['votes'], 'vote')} on {tool}"),
    "VoidWithdrawn": Deed("votes", lambda d, tool: f"took back the proposal to void {_count(d['votes'], 'vote')} on {tool}"),
    "CohortDecided": Deed("votes", _decided),
    "CohortCorrected": Deed(
        "votes", lambda d, tool: f"had all votes {'taken out' if d['decision'] == 'void' else 'given back'} on {tool}"
    ),
    "ToolAdded": Deed("catalog", lambda d, tool: f"added {tool}"),
    "ToolDescribed": Deed("catalog", lambda d, tool: f"changed the description of {tool}"),
    "ToolRenamed": Deed("catalog", lambda d, tool: f"gave {tool} the slug {d['slug']}"),
    "FormerSlugAdded": Deed("catalog", lambda d, tool: f"let the former slug {d['slug']} lead to {tool}"),
    "ToolListed": Deed("catalog", lambda d, tool: f"put {tool} back on the site"),
    "ToolUnlisted": Deed("catalog", lambda d, tool: f"took {tool} off the site"),
    "PanelReviewPublished": Deed("catalog", lambda d, tool: f"published what {d['persona']} says of {tool}"),
    "PanelReviewRevised": Deed("catalog", lambda d, tool: f"changed what {d['persona']} says of {tool}"),
    "PersonaDescribed": Deed("catalog", lambda d, tool: f"described {d['persona']}"),
    "ComparisonAnnounced": Deed("catalog", lambda d, tool: "announced a comparison"),
    "SubscriberImported": Deed("readers", lambda d, tool: "imported a subscriber"),
    "SubscriberReinstated": Deed("readers", lambda d, tool: "took the suppression of an address back"),
    "PersonErased": Deed("erasures", lambda d, tool: "erased a person"),
    "DataRequested": Deed("erasures", lambda d, tool: f"noted that somebody asked for {d['kind']}"),
    "ReviewWithdrawn": Deed("erasures", lambda d, tool: f"destroyed the review of {tool}"),
    "ReviewCleared": Deed("erasures", lambda d, tool: f"cleared a reader's place for a review of {tool}"),
    "BookmarkRemoved": Deed("erasures", lambda d, tool: "removed a bookmark"),
    "ReportWithdrawn": Deed("erasures", lambda d, tool: "took a report away"),
    "EventDropped": Deed("quarantine", lambda d, tool: f"let {d['projection']} skip position {d['position']}"),
    "LogKeyAdded": Deed("proof", lambda d, tool: "had the log signed with one more key"),
    "LogRestarted": Deed("proof", lambda d, tool: f"began the log anew after {_count(d['common'], 'event')} of {d['former']}"),
    "signed-in": Deed(
        "sessions", lambda d, tool: f"signed in by {'a token' if d['about'] == 'token' else 'the provider'}{_often(d)}"
    ),
    "signed-out": Deed("sessions", lambda d, tool: f"signed out, or ended a session of their own{_often(d)}"),
    "ended-session": Deed("sessions", lambda d, tool: f"ended a session of {d['about']}"),
    "resumed-hold": Deed("mail", lambda d, tool: f"let the held mails of {d['subject']} go on"),
    "waived-mail-check": Deed("mail", lambda d, tool: "let the first issue go though lines are red"),
    "took-waiver-back": Deed("mail", lambda d, tool: "let the first issue wait for the mail check again"),
    "paused-digests": Deed("mail", lambda d, tool: "paused the newsletter"),
    "resumed-digests": Deed("mail", lambda d, tool: "let the newsletter go on"),
    "sent-issue": Deed("mail", lambda d, tool: f"had {d['subject']} sent"),
    "cancelled-issue": Deed(
        "mail", lambda d, tool: f"cancelled {d['subject']}, of which {_count(int(d['about']), 'mail')} had not gone"
    ),
    "retried-mails": Deed("mail", lambda d, tool: f"had {d['about']} of {d['subject']} sent again that had been refused"),
    "resent-mails": Deed("mail", lambda d, tool: f"had {d['about']} of {d['subject']} sent again that had been uncertain"),
    "dropped-mails": Deed("mail", lambda d, tool: f"dropped {d['about']} of {d['subject']} that had been uncertain"),
    "settled-by-record": Deed(
        "mail", lambda d, tool: f"settled the mails of {d['subject']} by the relay's record: {d['about']}"
    ),
    "gave-marks-up": Deed("mail", lambda d, tool: "gave the send marks up for lost"),
    "switched-puzzle-on": Deed("votes", lambda d, tool: f"asked work of each vote on {d['about']}"),
    "switched-puzzle-off": Deed("votes", lambda d, tool: f"asked no more work of votes on {d['about']}"),
    "added-webhook": Deed("webhooks", lambda d, tool: f"had {d['about']} told of what happens"),
    "turned-webhook-off": Deed("webhooks", lambda d, tool: f"turned the webhook to {d['about']} off"),
    "turned-webhook-on": Deed("webhooks", lambda d, tool: f"turned the webhook to {d['about']} on"),
    "replayed-webhook": Deed("webhooks", lambda d, tool: f"had messages sent again to {d['about']}"),
    "rotated-secret": Deed("webhooks", lambda d, tool: f"gave the webhook to {d['about']} a new secret"),
    "removed-webhook": Deed("webhooks", lambda d, tool: f"removed the webhook to {d['about']}"),
    "added-witness": Deed("proof", lambda d, tool: f"had {d['subject']} asked to witness the log"),
    "removed-witness": Deed("proof", lambda d, tool: f"had {d['subject']} asked no more to witness the log"),
    "resumed-signing": Deed("proof", lambda d, tool: f"had {d['subject']} signed on from {d['about']} entries"),
    "rebuilt-view": _in_two("rebuild the view {subject}", "rebuilt the view {subject}: {about}"),
    "rolled-view-back": _in_two(
        "bring the view {subject} back that was kept from before", "brought the view {subject} back that was kept from before"
    ),
    "archived-part": _in_two("archive {subject} of the log", "archived {subject} of the log in {about}"),
    "unarchived-part": _in_two("bring {subject} of the log back", "brought {subject} of the log back from {about}"),
    "imported-log": _in_two("import a log", "imported a log of {about}"),
    "rewraps-keys": Deed("upkeep", lambda d, tool: "had all personal keys wrapped under the newest vault key"),
}
# fmt: on

TYPES: Final[Mapping[Kind, tuple[str, ...]]] = {
    kind: tuple(type_ for type_, deed in DEEDS.items() if deed.kind == kind and type_[0].isupper()) for kind in KINDS
}
"""The types of events of each kind. Others of an operator's are `others`, and have the type's own name for words."""

LOGGED: Final = frozenset(kind for kind in KINDS if TYPES[kind] or kind == "others")
"""The kinds of events. The others are of acts alone, which are no events."""

ACTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    kind: tuple(type_ for type_, deed in DEEDS.items() if deed.kind == kind and type_[0].islower()) for kind in KINDS
}
"""The acts of each kind."""


def opened(scopes: frozenset[str]) -> frozenset[Kind]:
    """Return the kinds that scopes open."""
    return (LOGGED if "read" in scopes else frozenset()) | {kind for kind, scope in SCOPES.items() if scope in scopes}


def tell(type_: str, data: Data, tool: str | None) -> tuple[Kind, str, str | None]:
    """Return the kind, the words and the reason of an event or act; of an unknown type or shape, the type."""
    deed = DEEDS.get(type_)
    if deed is None:
        return "others", f"caused {type_}", None
    try:
        return deed.kind, deed.words(data, tool or "a tool"), deed.reason(data)
    except (KeyError, TypeError):
        return deed.kind, f"caused {type_}", None
