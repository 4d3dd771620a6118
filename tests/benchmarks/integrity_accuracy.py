"""Keep what was measured of the detector where the page and the docs read it."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

import msgspec

from services.integrity.accuracy import NAMES, Accuracy, CurvePoint, Part
from tests.benchmarks.integrity_curves import Outcome
from tests.support.integrity_worlds import DURATIONS, SIZES, TOOLS, VOTES_A_DAY

ROOT = Path(__file__).parents[2]
DATA = ROOT / "services" / "integrity" / "accuracy.json"
DOCS = ROOT / "docs" / "integrity"
TEMPLATE = Template(Path(__file__).with_suffix(".md").read_text())


def accuracy(outcomes: Sequence[Outcome], alarms: int, seeds: range) -> Accuracy:
    """Return the accuracy by the outcomes of some worlds."""
    attacks = [one for one in outcomes if one.is_attack]
    told = [one for one in attacks if not one.plan.mimic]

    points = [
        CurvePoint(votes, int(seconds), same.found, same.of)
        for votes in SIZES
        for seconds in DURATIONS
        for same in [_part([one for one in told if (one.plan.votes, one.plan.seconds) == (votes, seconds)])]
    ]
    return Accuracy(
        weeks=len(seeds), first_seed=seeds.start, tools=TOOLS, votes_a_day=VOTES_A_DAY,
        brigades=_part([one for one in outcomes if one.is_aim]),
        knowing=_part([one for one in outcomes if one.is_aim and one.plan.clever]),
        mimics=_part([one for one in attacks if one.plan.mimic]),
        crowds=_part([one for one in outcomes if one.plan.kind != "attack"]),
        false_alarms=alarms, curve=points,
    )  # fmt: skip


def _part(some: Sequence[Outcome]) -> Part:
    return Part(sum(one.found for one in some), len(some))


def keep(measured: Accuracy) -> None:
    """Write the accuracy into the package, and its page into the docs."""
    DATA.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "README.md").write_text(page(measured))


def page(measured: Accuracy) -> str:
    """Return the docs' page about the accuracy."""
    table = [f"| {votes} | " + " | ".join(_cell(measured.at(votes, seconds)) for seconds in NAMES) + " |" for votes in SIZES]
    last = measured.first_seed + measured.weeks - 1
    return TEMPLATE.substitute(
        weeks=measured.weeks, first=f"{measured.first_seed:,}", last=f"{last:,}", tools=f"{measured.tools:,}",
        votes_a_day=f"{measured.votes_a_day:,}", brigades=_said(measured.brigades), knowing=_said(measured.knowing),
        mimics=_said(measured.mimics), crowds=_said(measured.crowds), false_alarms=measured.false_alarms,
        names=" | ".join(NAMES.values()), line="---|" * len(NAMES), table="\n".join(table),
    )  # fmt: skip


def _said(part: Part) -> str:
    return f"{100 * part.found / max(part.of, 1):.1f} %: {part.found:,} of {part.of:,}"


def _cell(part: Part | None) -> str:
    return "" if part is None else f"{part.found}/{part.of}"
