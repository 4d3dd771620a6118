"""What the detector of bought votes finds, and what it wrongly suspects: on worlds that its thresholds were never fixed on.

`BALLOTPRESS_BENCH_WORLDS` says how many are drawn. The curves are kept in docs/integrity, the numbers in services/integrity.
Each brigade is judged as if it were the only one: others in the same ten minutes would let more pass.
"""

import os
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from projections.tally import Tally
from services.integrity.detector import Find
from services.integrity.detector_counts import CHOICES
from services.integrity.effect import effect, places_of, without
from services.integrity.ticks import TICK_SECONDS
from tests.benchmarks import integrity_accuracy, integrity_curves
from tests.benchmarks.integrity_curves import Outcome
from tests.benchmarks.integrity_speed import speeds
from tests.benchmarks.integrity_void import held
from tests.benchmarks.table import Row
from tests.support.integrity_run import Weighed, cohorts, weighed
from tests.support.integrity_worlds import BEGIN, HISTORY_DAYS, Plan, World, world

FIXED_ON = range(1, 13)
"""The worlds that the thresholds were fixed on."""
REPORTED = 2_000
"""The first of the worlds that are reported on."""
BEGINS = (BEGIN + HISTORY_DAYS * 86_400) // TICK_SECONDS
ENDS = BEGINS + 7 * 144


def measure() -> list[Row]:
    """Measure what is found and what is wrongly suspected, and how fast the view is."""
    number = int(os.environ.get("BALLOTPRESS_BENCH_WORLDS", "20"))
    seeds = range(REPORTED, REPORTED + number)
    outcomes, alarms = outcomes_of(seeds)
    integrity_accuracy.keep(integrity_accuracy.accuracy(outcomes, alarms, seeds))
    integrity_curves.draw(outcomes, integrity_accuracy.DOCS)
    return [*_rows(outcomes, alarms, number), *speeds(), held()]


def outcomes_of(seeds: Iterable[int]) -> tuple[list[Outcome], int]:
    """Return what became of each plan of some worlds, and the number of false alarms."""
    outcomes: list[Outcome] = []
    alarms = 0
    for seed in seeds:
        drawn = world(seed)
        cells, tests = weighed(drawn, BEGINS, ENDS)
        found, wrong = _judged(drawn, cells)
        outcomes += found
        alarms += wrong
        print(f"world {seed}: {tests:,} cells, {len(cells):,} weighed, {wrong} false alarms", file=sys.stderr, flush=True)
    return outcomes, alarms


def _rows(outcomes: Sequence[Outcome], alarms: int, weeks: int) -> list[Row]:
    aimed = [one for one in outcomes if one.is_aim]
    crowds = [one for one in outcomes if one.plan.kind != "attack"]
    clever = [one for one in aimed if one.plan.clever]
    mimics = [one for one in outcomes if one.is_attack and one.plan.mimic]
    flagged = sum(one.found for one in crowds)
    pure = np.mean([one.purity for one in aimed if one.found])
    return [
        Row("bought votes found: 20 or more within a day", 0.9, _share(aimed),
            f"of {len(aimed)}; of {len(clever)} that know the rules {_share(clever):.2f}; of {len(mimics)} like a crowd "
            f"{_share(mimics):.2f}; {pure:.0%} of a cohort is bought",
            "of all"),
        Row("false alarms in a week of 5,000 tools and 100,000 votes a day", 1, alarms / weeks, f"{alarms} in {weeks}", "",
            at_least=False),
        Row("honest crowds taken for brigades", 1, 100 * flagged / len(crowds), f"{flagged} of {len(crowds)}", "in 100",
            at_least=False),
    ]  # fmt: skip


def _share(outcomes: Sequence[Outcome]) -> float:
    return sum(one.found for one in outcomes) / max(len(outcomes), 1)


def _judged(drawn: World, cells: Sequence[Weighed]) -> tuple[list[Outcome], int]:
    planned = {plan.tool for plan in drawn.plans}
    by_tool: dict[int, list[Weighed]] = {}
    for cell in cells:
        by_tool.setdefault(int(cell.find.tool), []).append(cell)
    outcomes = [_outcome(drawn, number, plan, by_tool.get(plan.tool, [])) for number, plan in enumerate(drawn.plans)]
    honest = cohorts(cell for tool, same in by_tool.items() if tool not in planned for cell in same)
    return outcomes, sum(_matters(drawn, find) for find in honest)


def _outcome(drawn: World, number: int, plan: Plan, cells: Sequence[Weighed]) -> Outcome:
    finds = [find for find in cohorts(cells) if _is_of(plan, find) and _matters(drawn, find)]
    own = drawn.votes.time[drawn.votes.plan == number]
    matters = plan.kind == "attack" and _changes(drawn, plan.tool, CHOICES[plan.choice], plan.votes, float(own.max()) + 600)
    purity = max((_purity(drawn, number, find) for find in finds), default=0.0)
    return Outcome(plan, matters, bool(finds), purity)


def _is_of(plan: Plan, find: Find) -> bool:
    """Check whether a find is of a plan: of a crowd, any on its tool is."""
    ends = plan.begin + plan.seconds
    over = find.begin * TICK_SECONDS < ends and plan.begin < find.end * TICK_SECONDS
    return over and (plan.kind != "attack" or find.choice == CHOICES[plan.choice])


def _purity(drawn: World, number: int, find: Find) -> float:
    votes = drawn.votes
    inside = (votes.time >= find.begin * TICK_SECONDS) & (votes.time < find.end * TICK_SECONDS)
    same = inside & (votes.tool == int(find.tool)) & (votes.choice == CHOICES.index(find.choice))
    return float((votes.plan[same] == number).mean())


def _matters(drawn: World, find: Find) -> bool:
    return _changes(drawn, int(find.tool), find.choice, find.votes, find.end * TICK_SECONDS)


def _changes(drawn: World, tool: int, choice: str, votes: int, at: float) -> bool:
    """Check whether the removal of votes changes what anybody sees."""
    until = np.searchsorted(drawn.votes.time, at)
    keys = np.bincount(drawn.votes.tool[:until] * 2 + drawn.votes.choice[:until], minlength=2 * drawn.tools).reshape(-1, 2)
    tallies: list[Tally] = [(int(ship), int(skip)) for ship, skip in keys]
    return effect(tallies[tool], without(tallies[tool], choice, votes), places_of(tallies)) is not None
