"""How well bought votes are found: as `make bench ARGS=integrity` last measured it, the one place that page and docs read."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import msgspec

NAMES: Final = {60: "a minute", 600: "ten minutes", 3600: "an hour", 21600: "six hours", 86400: "a day", 259200: "three days",
                604800: "a week"}  # fmt: skip
"""What durations are called, by their seconds."""


class Part(msgspec.Struct, frozen=True):
    """How many were found, of how many."""

    found: int
    of: int

    @property
    def percent(self) -> int:
        """Return the share in whole percent, rounded down: nothing is promised that was not seen."""
        return 100 * self.found // max(self.of, 1)


class CurvePoint(msgspec.Struct, frozen=True):
    """A point of the curve: brigades of so many votes over so many seconds."""

    votes: int
    seconds: int
    found: int
    of: int


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in made-up weeks of a site, and what was wrongly suspected.

    `brigades` are those of 20 votes and more within a day; `knowing` those of them that know the rules; `mimics` are others,
    that do all they can to look like an honest crowd. Of honest `crowds`, those found were taken for brigades.
    """

    weeks: int
    first_seed: int
    tools: int
    votes_a_day: int
    brigades: Part
    knowing: Part
    mimics: Part
    crowds: Part
    false_alarms: int
    curve: Sequence[CurvePoint]

    def at(self, votes: int, seconds: int) -> Part | None:
        """Return what was found of brigades of so many votes over so many seconds; None where there were none."""
        return next((Part(p.found, p.of) for p in self.curve if (p.votes, p.seconds) == (votes, seconds) and p.of), None)


MEASURED: Final = msgspec.json.decode(files("services.integrity").joinpath("accuracy.json").read_bytes(), type=Accuracy)
