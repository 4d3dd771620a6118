"""The arithmetic of tallies: changes, percent, Wilson interval, verdict, votes to change it, rank, what is settled."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt

import msgspec

from events.ballots import VoteCast, VoteRetracted
from events.catalog import Verdict
from events.log.event import Event
from events.voters import VoterDisqualified, VoterReinstated
from projections.settled import CommunityVerdict, Interval, settled, settled_interval

# The 97.5 % point of the normal distribution: two-sided 95 %.
Z = 1.959963984540054

_REMEMBERED = 8192

Tally = tuple[int, int]
"""(ship, skip)"""


TallyChange = tuple[str, int, int]
"""(tool, ship, skip): how many votes of each kind a tool gains."""


class Community(msgspec.Struct, frozen=True):
    """The community's tally of one tool. Percentages are 0–100; `interval` is Wilson's at 95 % with one decimal.

    `settled` and `settled_interval` hold however often they are looked at; the others are for a single look.
    """

    ship: int
    skip: int
    total: int
    ship_percent: int | None
    verdict: CommunityVerdict | None
    interval: Interval | None
    provisional: bool
    flips_to_change: int | None
    settled: CommunityVerdict | None
    settled_interval: Interval | None


def percent(part: int, total: int) -> int | None:
    """Return a whole percentage, halves rounded up; None if `total` is 0."""
    return (200 * part + total) // (2 * total) if total else None


def wilson(ship: int, total: int) -> tuple[float, float]:
    """Return the bounds, in percent, of the score interval at 95 % (E. B. Wilson, JASA 22, 1927); total must be positive."""
    p, zz = ship / total, Z * Z
    centre = (p + zz / (2 * total)) / (1 + zz / total)
    margin = Z / (1 + zz / total) * sqrt(p * (1 - p) / total + zz / (4 * total * total))
    return 100 * max(0.0, centre - margin), 100 * min(1.0, centre + margin)


def verdict_of_a_look(ship: int, skip: int) -> CommunityVerdict | None:
    """Return the verdict of a tally by Wilson's interval; None is "too early to call"."""
    return _verdict(*wilson(ship, ship + skip)) if ship + skip else None


def _verdict(low: float, high: float) -> CommunityVerdict | None:
    if low > 50:
        return "ship"
    if high < 50:
        return "skip"
    return "mixed" if low >= 40 and high <= 60 else None


@lru_cache(_REMEMBERED)
def community(ship: int, skip: int) -> Community:
    """Return a tally with its verdicts, which go by the unrounded bounds; a count below zero has none."""
    total = ship + skip
    if min(ship, skip) < 0 or not total:
        return Community(ship, skip, total, None, None, None, True, None, None, None)
    low, high = wilson(ship, total)
    verdict = _verdict(low, high)
    return Community(
        ship=ship,
        skip=skip,
        total=total,
        ship_percent=percent(ship, total),
        verdict=verdict,
        interval=(round(low, 1), round(high, 1)),
        provisional=verdict is None,
        flips_to_change=abs(ship - skip) // 2 + 1,
        settled=settled(ship, skip),
        settled_interval=settled_interval(ship, skip),
    )


def changes(event: Event) -> Sequence[TallyChange]:
    """Return how an event changes tallies: `log.tally_changes` of the database, for one event."""
    match event:
        case VoteCast():
            return [change(event.tool, event.choice, event.previous)]
        case VoteRetracted():
            return [change(event.tool, None, event.previous)]
        case VoterDisqualified():
            return [change(tool, None, choice) for tool, choice in event.ballots]
        case VoterReinstated():
            return [change(tool, choice, None) for tool, choice in event.ballots]
    return ()


def change(tool: str, plus: Verdict | None, minus: Verdict | None) -> TallyChange:
    """Return the change of a tally that gains one choice and loses another."""
    return tool, (plus == "ship") - (minus == "ship"), (plus == "skip") - (minus == "skip")


def ranks(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Rank tools, from 1: by the lower Wilson bound, tools without votes last, ties by slug."""
    return {slug: rank for rank, slug in enumerate(sorted(tallies, key=lambda slug: (place(tallies[slug]), slug)), 1)}


def place(tally: Tally) -> float:
    """Return the place by the community's votes, which rises: `log.community_place` of the database, operation by operation.

    A count below zero, which an event that was let pass can leave, is placed as no votes are.
    """
    ship, skip = tally
    if min(ship, skip) < 0 or ship + skip == 0:
        return 1.0
    zz = Z * Z
    return -(2 * ship + zz - Z * sqrt(zz + 4 * ship * skip / (ship + skip))) / (2 * (ship + skip + zz))
