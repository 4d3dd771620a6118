"""Fold the changes of tallies by hour in plain Python, and what is trending."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from events import ballots
from events.ballots import VoteCast, VoteRetracted
from events.catalog import ToolAdded, ToolDescribed, ToolListed, ToolRenamed, ToolUnlisted, Verdict
from events.log.event import Event
from events.voters import VoterDisqualified, VoterReinstated
from tests.oracle.entries import Entry, Key, Row, Tables

Change = tuple[Key, int, int]

NEVER = datetime.min  # noqa: DTZ901 - it has no time zone there
"""How the driver reads a time before all others."""


class Hours:
    """Changes of tallies by hour: as counted then, and corrected, without the votes of voters disqualified at the end.

    And the trend of each tool: its net votes since 7 days before the hour of the last event that changed a tally, its tally of
    then, and its last hour. A tool that was never added is no tool, but has votes all the same.
    """

    concerns: tuple[type[Event], ...] = (
        ToolAdded, ToolDescribed, ToolRenamed, ToolListed, ToolUnlisted, *ballots.EVENTS, VoterDisqualified, VoterReinstated
    )  # fmt: skip

    def __init__(self) -> None:
        self._hours: dict[Key, Row] = {}
        self._disqualified: dict[Key, Row] = {}
        self._votes: dict[str, list[Change]] = {}
        self._changes: dict[Change, Change] = {}
        self._tools: dict[str, Row] = {}
        self._last: datetime | None = None

    def take(self, entry: Entry) -> None:
        """Fold the next event in."""
        event = entry.event
        hour = entry.recorded_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        if isinstance(event, VoteCast | VoteRetracted | VoterDisqualified | VoterReinstated):
            self._last = hour
        match event:
            case ToolAdded():
                self._tools[event.tool] = {"tool": event.tool, "slug": event.slug, "category": event.category, "listed": True}
            case ToolDescribed():
                self._tools.get(event.tool, {})["category"] = event.category
            case ToolRenamed():
                self._tools.get(event.tool, {})["slug"] = event.slug
            case ToolListed() | ToolUnlisted():
                self._tools.get(event.tool, {})["listed"] = isinstance(event, ToolListed)
            case VoteCast():
                self._vote(event.voter, (event.tool, hour), entry.position, event.choice, event.previous)
            case VoteRetracted():
                self._vote(event.voter, (event.tool, hour), entry.position, None, event.previous)
            case VoterDisqualified():
                self._disqualified[event.voter,] = {"voter": event.voter}
                for tool, choice in event.ballots:
                    self._count((tool, hour), entry.position, None, choice)
            case VoterReinstated():
                self._disqualified.pop((event.voter,), None)
                for tool, choice in event.ballots:
                    self._count((tool, hour), entry.position, choice, None)

    def tables(self) -> Tables:
        """Return the rows."""
        corrected = dict.fromkeys(self._hours, (0, 0))
        for voter, changes in self._votes.items():
            if (voter,) not in self._disqualified:
                for key, ship, skip in changes:
                    corrected[key] = (corrected[key][0] + ship, corrected[key][1] + skip)
        begin = {} if self._last is None else {(True,): {"only_row": True, "hour": self._begin, "last_hour": self._last}}
        unknown = {tool: {"tool": tool, "slug": "", "category": "", "listed": False} for tool, _ in self._hours}
        trends = {
            (tool,): {**row, "net": self._net(tool), **self._before(tool), **self._last_hour(tool, corrected)}
            for tool, row in (unknown | self._tools).items()
        }
        days = self._days(corrected)
        return {"days": days, "disqualified": self._disqualified, "trends": trends, "trends_begin": begin}

    @property
    def _begin(self) -> datetime | None:
        return self._last and self._last - timedelta(days=7)

    def _last_hour(self, tool: str, corrected: Mapping[Key, tuple[int, int]]) -> Row:
        """Return the last hour of a tool."""
        hour = max((hour for of, hour in self._hours if of == tool), default=NEVER)
        row = self._hours.get((tool, hour), {"ship": 0, "skip": 0, "first_position": 0, "last_position": 0})
        counts = corrected.get((tool, hour), (0, 0))
        return {
            "last_hour": hour,
            "first_position": row["first_position"],
            "last_position": row["last_position"],
            "last_ship": row["ship"],
            "last_skip": row["skip"],
            "void_ship": row["ship"] - counts[0],
            "void_skip": row["skip"] - counts[1],
        }

    def _days(self, corrected: Mapping[Key, tuple[int, int]]) -> dict[Key, Row]:
        """Return a row a tool and day, with its hours that are over in order."""
        days: dict[Key, Row] = {}
        for (tool, hour), row in sorted(self._hours.items()):
            if hour == self._last:
                continue
            first = row["first_position"]
            no_hours: Row = {"ship": 0, "skip": 0, "first_position": first, "hours": [], "voided": None}
            day = days.setdefault((tool, hour.date()), {"tool": tool, "day": hour.date(), **no_hours})
            begins = day["first_position"]
            day["ship"] += row["ship"]
            day["skip"] += row["skip"]
            day["hours"].append([hour.hour, row["ship"], row["skip"], first - begins, row["last_position"] - begins])
            voided = [row["ship"] - corrected[tool, hour][0], row["skip"] - corrected[tool, hour][1]]
            if voided != [0, 0]:
                day["voided"] = [*(day["voided"] or ()), [hour.hour, *voided]]
        return days

    def _before(self, tool: str) -> Row:
        rows = [row for (of, hour), row in self._hours.items() if of == tool and self._begin and hour < self._begin]
        return {f"before_{choice}": sum(row[choice] for row in rows) for choice in ("ship", "skip")}

    def _net(self, tool: str) -> int:
        rows = [row for (of, hour), row in self._hours.items() if of == tool and self._begin and hour >= self._begin]
        return sum(row["ship"] - row["skip"] for row in rows)

    def _vote(self, voter: str, key: Key, at: int, plus: Verdict | None, minus: Verdict | None) -> None:
        change = self._count(key, at, plus, minus)
        # A log has few different changes and many votes: one tuple for all that are alike.
        self._votes.setdefault(voter, []).append(self._changes.setdefault(change, change))

    def _count(self, key: Key, at: int, plus: Verdict | None, minus: Verdict | None) -> Change:
        row = self._hours.setdefault(key, {"tool": key[0], "hour": key[1], "ship": 0, "skip": 0, "first_position": at})
        row["last_position"] = at
        ship, skip = ((plus == choice) - (minus == choice) for choice in ("ship", "skip"))
        row["ship"] += ship
        row["skip"] += skip
        return key, ship, skip
