"""Say whom a refusal blames: the one table for answers to SMTP commands, delivery notices, notices in words, and webhooks.

`gone` is said of this address alone: no mail to it will ever arrive. `passing` is a trouble of its mailbox or of the way there.
`ours` blames the sender, the mail, or nobody that can be told: the reader is kept, and an operator should know. In doubt a
refusal is `ours`, because a mail can be sent again, but nobody misses a reader who was dropped.

Codes are those of RFC 3463 with the registry of RFC 5248, and Microsoft's list of non-delivery codes.
"""

import re
from typing import Final, Literal

import msgspec

from emails import refusal_words as words_of

Verdict = Literal["gone", "passing", "ours", "arrived"]

GONE: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.4.4", "5.4.310"})
"""Codes that say by themselves: no such mailbox, or no such domain. Microsoft says 5.1.10 and 5.4.310."""
MAYBE_GONE: Final = frozenset({"5.1.0", "5.1.4", "5.2.1", "5.4.1"})
"""Codes that are used for other things too: the words decide, and the code alone where there are none."""
PASSING: Final = frozenset({"5.2.0", "5.2.2", "5.3.1", "5.4.0", "5.4.3", "5.4.7", "5.4.316"})
"""A full or locked mailbox, a full system, and a delivery that was given up after many tries."""
LOGIN: Final = frozenset({503, 530, 534, 535, 538})
"""Replies of a relay that wants a login, or another order of commands."""
LONGEST: Final = 4000
"""Characters that are read of a refusal's words."""

_STATUS: Final = re.compile(r"(?<![\d.])([245])\.([0-7])\.(\d{1,3})(?!\.?\d)")
_REPLY: Final = re.compile(r"(?<![\d.])([45][0-5]\d)(?=[ :-]|$)")
_TAKEN: Final = re.compile(r"2[0-5]\d(?=[ -]|$)")
_NO_WORDS: Final = " -#();:.,[]<>"


class Judgement(msgspec.Struct, frozen=True):
    """Whom a refusal blames, and the code that says so: the remote server's own in place of one that only says "failed"."""

    verdict: Verdict
    status: str | None = None


def judge(words: str = "", status: str | None = None, code: int | None = None) -> Judgement:
    """Judge a refusal by its words, its status code (RFC 3463) and its reply code (RFC 5321), as far as they are known."""
    said = " ".join(words[:LONGEST].replace("_", " ").split())
    if code is None and (reply := _TAKEN.match(said) or _REPLY.search(said)):
        code = int(reply[0])
    telling = _telling(said, status, code)
    return Judgement(_verdict(said, telling, code), telling)


def throttles(words: str, code: int | None = None) -> bool:
    """Return whether a reply that puts mail off speaks of our rate or reputation at the reader's provider."""
    return words_of.RATE.search(words[:LONGEST]) is not None or (code == 421 and _first_status(words).startswith("4.7."))


def puts_off_mailbox(words: str) -> bool:
    """Return whether a reply that puts mail off is about its mailbox alone, by its code."""
    return _first_status(words).startswith(("4.1.", "4.2."))


def _first_status(words: str) -> str:
    found = _STATUS.search(words[:LONGEST])
    return found[0] if found else ""


def judge_reported(words: str = "", status: str | None = None) -> Verdict:
    """Judge a bounce that a provider calls permanent: the provider is believed where neither words nor code say more."""
    judged = judge(words, status)
    return "gone" if _is_bare(words) and judged.status in (None, "5.0.0") else judged.verdict


def _telling(said: str, status: str | None, code: int | None) -> str | None:
    """Return the most telling status code: one of the words if it is specific, then the given one, then the reply's."""
    found = [found[0] for found in _STATUS.finditer(said) if found[1] != "2"]  # 2.0.12 may be a version
    if status and _STATUS.fullmatch(status):
        found.append(status)
    if specific := next((one for one in found if not one.endswith(".0.0")), None):
        return specific
    if code == 552:
        return "5.2.2"  # RFC 5321: exceeded storage allocation
    return next(iter(found), None if code is None else f"{code // 100}.0.0")


def _verdict(said: str, status: str | None, code: int | None) -> Verdict:
    match status and status[0]:
        case "2":
            return "arrived"
        case "4":
            return "passing"
    if code in LOGIN or (_blames_policy(status) and not words_of.UNKNOWN.search(said)):
        return "ours"
    says_gone, says_ours, says_passing = (
        table.search(said) is not None for table in (words_of.GONE, words_of.OURS, words_of.PASSING)
    )
    if _is_gone(said, status, says_gone, says_ours or says_passing):
        return "gone"
    return "passing" if not says_ours and (says_passing or status in PASSING) else "ours"


def _is_gone(said: str, status: str | None, says_gone: bool, says_other: bool) -> bool:
    """Return whether an address is dead: by code and words, or by one of them where the other says nothing else."""
    if status in GONE:
        return (says_gone and not words_of.RETRY.search(said)) or not says_other
    if status in MAYBE_GONE:
        return says_gone or _is_bare(said)
    return says_gone and not says_other and (status is None or status.endswith(".0") or _blames_policy(status))


def _blames_policy(status: str | None) -> bool:
    return status is not None and status.startswith("5.7.")


def _is_bare(said: str) -> bool:
    """Return whether there is nothing but codes."""
    return not _STATUS.sub("", _REPLY.sub("", said)).strip(_NO_WORDS)
