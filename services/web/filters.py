"""The words of the pages: what tallies, verdicts and times are called. The script that counts live says the same."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from projections.tally import Community

_VERDICTS: Final = {"ship": "Ship", "skip": "Skip", "mixed": "Mixed"}


def count(number: int, one: str, many: str | None = None) -> str:
    """Say how many there are: `1 vote`, `1,200 votes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def verdict(word: str | None, none: str = "Too early to call") -> str:
    """Name a verdict."""
    return none if word is None else _VERDICTS[word]


def interval(tally: Community) -> str:
    """Say how sure a tally is: Wilson's 95 % interval."""
    if tally.interval is None:
        return "No interval without votes"
    low, high = tally.interval
    return f"95% interval {low:.1f}–{high:.1f}% ship"


def flips(tally: Community) -> str:
    """Say how many voters would turn a tally."""
    if tally.flips_to_change is None:
        return "The first vote decides"
    voters = "1 voter" if tally.flips_to_change == 1 else f"{tally.flips_to_change:,} voters"
    return f"{voters} changing sides would flip it"


def score(value: int | None, word: str) -> str:
    """Write a judgement in the panel's way: `88/100 · ship`, or the word alone without a score."""
    return word if value is None else f"{value}/100 · {word}"


def day(time: datetime) -> str:
    """Write a day: 22 November 2026."""
    return f"{time.day} {time:%B %Y}"


def moment(time: datetime) -> str:
    """Write a time for machines (HTML's datetime attribute)."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def clock(time: datetime) -> str:
    """Write a time for people, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "count": count,
    "verdict": verdict,
    "interval": interval,
    "flips": flips,
    "score": score,
    "day": day,
    "moment": moment,
    "clock": clock,
}
