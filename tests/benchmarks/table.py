"""The table that `make bench` prints: a measure, its goal, what was measured, and whether it holds."""

import platform
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One measure. `value` is a ratio or an absolute in `unit`; `at_least` tells which side of the goal is good."""

    measure: str
    goal: float
    value: float
    detail: str
    unit: str = "×"
    at_least: bool = True

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def pairs(ours: Callable[[], float], theirs: Callable[[], float], runs: int) -> tuple[float, str]:
    """Measure two rates in turn, A B A B …; give the median of the ratios, and the medians and the spread in words."""
    a, b = [], []
    for _ in range(runs):
        a.append(ours())
        b.append(theirs())
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    return median(ratios), f"{median(a):,.0f}/s against {median(b):,.0f}/s; ratios {spread} in {runs} pairs"


def render(rows: list[Row]) -> str:
    """Write the rows as a Markdown table."""
    lines = ["| measure | goal | measured | | |", "|---|---|---|---|---|"]
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        shown = f"{row.value:.2f}" if row.value < 100 else f"{row.value:,.0f}"
        goal = f"{row.goal:g}" if row.goal < 100 else f"{row.goal:,.0f}"
        verdict = "holds" if row.holds else "**missed**"
        lines.append(f"| {row.measure} | {sign} {goal} {row.unit} | {shown} {row.unit} | {verdict} | {row.detail} |")
    return "\n".join(lines)


def machine() -> str:
    """Say what machine this is: cores, processor, memory, kernel, Python."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory = next((int(line.split()[1]) >> 20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return f"{cores} cores of {model}, {memory} GiB, Linux {platform.release()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
