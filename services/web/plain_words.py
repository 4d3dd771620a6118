"""What people are told when something is refused: sentences, and no names of fields, headers or calls.

Programs get the problem's own words and pointers instead.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.web.comparisons import PairNotFound
from services.web.http.bodies import NAME_MOST, PROSE_LEAST, PROSE_MOST, REASON_MOST, WORDS_MOST
from services.web.http.problems import BadInput, Kind, words_of

_BAD_ADDRESS: Final = "The address of this page has a part that can't be read. It may have been cut off or mistyped."
_BAD_FORM: Final = "Something in the form can't be taken. Go back, correct it, and send it again."

_WORDS: Final = {
    "tool-not-listed": "There is no tool of this name here.",
    "not-found": "There is no page at this address.",
    "method-not-allowed": "This address can't be used in this way.",
    "wrong-media-type": "What was sent is not a form of this site.",
    "body-broken": "The form did not arrive whole. Go back and send it again.",
    "body-too-slow": "The form took too long to arrive. Go back and send it again.",
    "body-too-large": "That was too much at once. Go back and make the text shorter.",
    "head-too-large": "Your browser sent more than this site reads. Delete this site's cookies and try again.",
    "log-unavailable": "This took too long. Go back and try again: whatever was done already isn't done twice.",
    "views-behind": "This page isn't up to date yet. Load it again in a moment.",
    "disqualified": "This browser's votes and reviews were taken out, so it can't add any.",
}
"""A sentence for each kind of problem whose own words are for programs."""


TITLES: Final = {"bad-input": "That didn't work", "not-found": "Not here", "tool-not-listed": "Not here"}
"""A page's title for each kind of problem whose own is for programs."""


class _Field(NamedTuple):
    """A field of a form: how a sentence about it begins, and what it takes."""

    subject: str
    takes: str


_FIELDS: Final = {
    "verdict": _Field("The verdict", "Choose a verdict: Ship or Skip."),
    "body": _Field("The review", f"A review has {PROSE_LEAST} to {PROSE_MOST:,} characters."),
    "score": _Field("The score", "The score is a whole number from 0 to 100, or left empty."),
    "display_name": _Field("The name", f"The name to show is one line of up to {NAME_MOST} characters, or left empty."),
    "ties": _Field("The answer about ties", "Choose one of the answers about ties to the tool, or none."),
    "ground": _Field("The choice", "Choose what is wrong with the review."),
    "words": _Field("The words", f"Say it in up to {WORDS_MOST:,} characters, or leave it empty."),
    "choice": _Field("The vote", "Press one of the buttons: Ship, Skip or Take back."),
    "keep": _Field("The bookmark", "Press the button Bookmark."),
    "back": _Field("The form", "The form doesn't say which page it belongs to. Load that page again."),
    "tool": _Field("The form", "The form doesn't say which page it belongs to. Load that page again."),
    "reason": _Field("The reason", f"The reason is one line of up to {REASON_MOST} characters."),
    "hours": _Field("The time", "Give a whole number of hours, from 1 to 168."),
    "voters": _Field("The list of voters", "Give up to 1,000 visitors' ids, and nothing else."),
    "action": _Field("The choice", "Choose whether to disqualify or to reinstate."),
    "decision": _Field("The decision", "Press one of the buttons below the review."),
    "token": _Field("The token", "Give a token of up to 400 characters."),
    "email": _Field("The address", "Give one email address."),
    "position": _Field("The position", "The position is that of an event that a view has halted at."),
    "as_of": _Field("The time", "Give a day and a time that are past."),
}


def detail_for(error: Exception, kind: Kind, *, is_form: bool) -> str:
    """Return the sentence that a page of a refusal begins with."""
    if isinstance(error, BadInput) and error.errors:
        return _BAD_FORM if is_form else _BAD_ADDRESS
    own = words_of(error, kind)
    return own if isinstance(error, PairNotFound) else _WORDS.get(kind.name) or own


def faults_for(error: Exception, *, is_form: bool) -> Sequence[str]:
    """Return a sentence for each field of a form that can't be taken; fields that no form shows are left out."""
    if not is_form:
        return ()
    found = (_fault(fault.pointer.lstrip("/"), fault.detail) for fault in getattr(error, "errors", ()))
    return list(dict.fromkeys(filter(None, found)))


def _fault(name: str, detail: str) -> str | None:
    """Return what is wrong with a field. Details that we wrote go on from its name; others are for programs."""
    field = _FIELDS.get(name)
    if field is None:
        return None
    return f"{field.subject} {detail}." if detail[:1].islower() else field.takes
