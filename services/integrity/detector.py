"""Find cohorts of votes that look bought: a pure function of counts and votes up to a moment of the log.

Each ten minutes of the log is judged once, as it stood ten minutes later: the cells that end there are screened by their
counts, what is left is weighed by its voters, and what chance and honest crowds don't explain is found. Of overlapping finds,
the one that stands out most is the cohort; it keeps the name of the first, so that it stays itself while it grows.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from events.log.ids import from_bytes
from services.integrity.detector_chance import discoveries
from services.integrity.detector_counts import CHOICES, SPANS, Screened
from services.integrity.detector_crowd import Sides
from services.integrity.detector_evidence import Cell, Weight
from services.integrity.ticks import DAY, TICK_SECONDS

FALSE_ALARMS: Final = 0.01


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """Votes of a tool and a choice from tick `begin` to before `end` that look bought.

    `id` names the cohort that they are of, which was first seen before tick `seen`.
    """

    id: str
    tool: str
    choice: str
    span: str
    begin: int
    end: int
    seen: int
    votes: int
    scores: Mapping[str, float]
    p: float

    @property
    def total(self) -> float:
        """Return how far the votes stand out, in nats."""
        return sum(self.scores.values())


def name_of(tool: str, choice: str, begin: int, end: int) -> str:
    """Return the name of the cohort that was first seen in a cell."""
    return from_bytes(_digest(tool, choice, begin, end))


def cell_of(screened: Screened, row: int, tool: str) -> Cell:
    """Return a screened cell by itself; what is drawn for it depends on the cell alone."""
    named = (CHOICES[screened.choice[row]], int(screened.begin[row]), int(screened.end[row]))
    return Cell(
        votes=int(screened.votes[row]),
        other=int(screened.other[row]),
        expected=float(screened.expected[row]),
        size=float(screened.size[row]),
        other_expected=float(screened.other_expected[row]),
        other_size=float(screened.other_size[row]),
        day=Sides(
            int(screened.day_votes[row]),
            int(screened.day_other[row]),
            float(screened.day_expected[row]),
            float(screened.day_other_expected[row]),
            float(screened.day_other_size[row]),
        ),
        share=float(screened.share[row]),
        burst=float(screened.burst[row]),
        begins=float(named[1] * TICK_SECONDS),
        ends=float(named[2] * TICK_SECONDS),
        seed=int.from_bytes(_digest(tool, *named)[:8], "big"),
    )


def _digest(*words: object) -> bytes:
    return blake2b("\0".join(map(str, words)).encode(), digest_size=16, person=b"cohort").digest()


def found(weights: Sequence[Weight], tests: int, false_alarms: float = FALSE_ALARMS) -> list[int]:
    """Return which of a tick's weighed cells are finds, among so many cells of the tick.

    The rate of false alarms is that of a day, so each tick has its part of it.
    """
    ps = np.array([weight.p for weight in weights])
    most = discoveries(ps, tests, false_alarms / DAY)
    return [row for row, p in enumerate(ps) if p <= most]


def find_of(screened: Screened, row: int, tool: str, weight: Weight) -> Find:
    """Return a find."""
    choice, begin, end = CHOICES[screened.choice[row]], int(screened.begin[row]), int(screened.end[row])
    return Find(
        id=name_of(tool, choice, begin, end),
        tool=tool,
        choice=choice,
        span=list(SPANS)[screened.span[row]],
        begin=begin,
        end=end,
        seen=end,
        votes=int(screened.votes[row]),
        scores={name: round(score, 3) for name, score in weight.scores.items()},
        p=weight.p,
    )


class Merged(msgspec.Struct):
    """Cohorts by name, those that changed, and those that became part of another."""

    cohorts: dict[str, Find]
    changed: set[str] = set()
    absorbed: set[str] = set()


def merge(merged: Merged, finds: Iterable[Find]) -> None:
    """Take finds in, in the order of their ends. Of a cohort's overlapping finds, the one that stands out most is kept."""
    for find in sorted(finds, key=lambda one: (one.end, -one.total, one.id)):
        same = [one for one in merged.cohorts.values() if (one.tool, one.choice) == (find.tool, find.choice)]
        over = sorted((one for one in same if one.begin < find.end and find.begin < one.end), key=lambda one: (one.end, one.id))
        if over and find.total <= max(one.total for one in over):
            continue
        name, seen = (over[0].id, over[0].seen) if over else (find.id, find.end)
        merged.absorbed |= {one.id for one in over[1:]}
        for one in over[1:]:
            del merged.cohorts[one.id]
        merged.cohorts[name] = replace(find, id=name, seen=seen)
        merged.changed.add(name)
    merged.changed -= merged.absorbed
