"""The curves of the detector: how much is found, by the number of votes and the time that they were spread over."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import msgspec

from services.integrity.accuracy import NAMES
from tests.support.integrity_worlds import DURATIONS, SIZES, Plan

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "curves", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}

# Okabe and Ito's colours, which the colour-blind tell apart, from light to dark.
COLOURS = ("#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#0072B2", "#000000")


class Outcome(msgspec.Struct, frozen=True):
    """What became of a plan: whether anybody would see its removal, whether it was found, and how much of that was bought."""

    plan: Plan
    matters: bool
    found: bool
    purity: float

    @property
    def is_aim(self) -> bool:
        """Return whether the goal speaks of it."""
        return self.is_attack and not self.plan.mimic and self.plan.votes >= 20 and self.plan.seconds <= DURATIONS[4]

    @property
    def is_attack(self) -> bool:
        """Return whether it is a brigade with an effect."""
        return self.plan.kind == "attack" and self.matters


def draw(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Draw the curves of all brigades, and of those that know the rules."""
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    attacks = [one for one in outcomes if one.is_attack]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for (seconds, name), colour in zip(NAMES.items(), COLOURS, strict=True):
        shares = _shares(attacks, lambda one, seconds=seconds: not one.plan.mimic and one.plan.seconds == seconds)
        left.plot(range(len(SIZES)), shares, color=colour, label=name, marker="o", markersize=3)
    for name, chosen, colour in _KINDS:
        right.plot(range(len(SIZES)), _shares(attacks, chosen), color=colour, label=name, marker="o", markersize=3)
    for axes, title in ((left, "by time, over"), (right, "within a day, by kind")):
        axes.set(title=title, xticks=range(len(SIZES)), xticklabels=SIZES, xlabel="bought votes", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    left.set_ylabel("found")
    figure.savefig(folder / "recall.svg", metadata={"Date": None})
    pyplot.close(figure)


def _is_told(one: Outcome) -> bool:
    return not one.plan.mimic and one.plan.seconds <= DURATIONS[4]


_KINDS: tuple[tuple[str, Callable[[Outcome], bool], str], ...] = (
    ("fresh visitors", lambda one: _is_told(one) and not one.plan.aged, COLOURS[1]),
    ("aged visitors", lambda one: _is_told(one) and one.plan.aged and not one.plan.clever, COLOURS[2]),
    ("who know the rules", lambda one: _is_told(one) and one.plan.clever, COLOURS[4]),
    ("like a crowd", lambda one: one.plan.mimic and one.plan.seconds <= DURATIONS[4], COLOURS[3]),
)


def _shares(outcomes: Sequence[Outcome], chosen: Callable[[Outcome], bool]) -> list[float]:
    """Return the share found of each size; nothing is drawn where there is no brigade."""
    same = [[one.found for one in outcomes if one.plan.votes == size and chosen(one)] for size in SIZES]
    return [sum(found) / len(found) if found else float("nan") for found in same]
