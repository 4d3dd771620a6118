"""Seeded worlds for the detector of bought votes: six weeks of honest votes, and a week with brigades and with honest crowds.

Honest traffic has days and weeks, popular and forgotten tools, groups of colleagues, visitors who come back, and pairs that are
compared. Crowds are honest and look bad: a forum's front page, a maker's mail to friends, a blog that embeds a tool, a digest.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Random = np.random.Generator

BEGIN = 1_767_571_200
"""A Monday, 2026-01-05."""
DAY = 86_400
HISTORY_DAYS = 43
TOOLS = 5_000
VOTES_A_DAY = 100_000
NETWORKS = 30_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A brigade, or an honest crowd: `votes` of one aim, over `seconds`."""

    kind: Literal["attack", "forum", "mail", "embed"]
    tool: int
    choice: int
    begin: float
    seconds: float
    votes: int
    networks: int = 0
    aged: bool = False
    camouflage: float = 0.0
    spacing: Literal["script", "chance"] = "chance"
    clever: bool = False
    mimic: bool = False


class Votes(NamedTuple):
    """Votes in order of time: seconds since 1970, tool, choice (0 ship), voter, and the plan that each is of, -1 for none."""

    time: Floats
    tool: Ints
    choice: Ints
    voter: Ints
    plan: Ints


class World(NamedTuple):
    """A world's votes; of each voter when it was made, its network's mark, and whether it voted before the world began."""

    votes: Votes
    made: Floats
    mark: Ints
    before: NDArray[np.bool_]
    tools: int
    explained: Sequence[tuple[int, float, float]]
    plans: Sequence[Plan]


class Draft:
    """A world being drawn."""

    def __init__(self, random: Random, tools: int, votes_a_day: int, days: int) -> None:
        self.random, self.tools, self.days = random, tools, days
        rank = random.permutation(tools)
        self.weight = 1.0 / (1 + rank)
        self.weight /= self.weight.sum()
        self.share = random.beta(5.6, 2.4, tools)
        self.partner = random.integers(0, tools, tools)
        self.sessions_a_day = votes_a_day / 1.6
        self.parts: list[tuple[Any, ...]] = []
        self.voters = 0
        self.made: list[Floats] = []
        self.network: list[Ints] = []
        self.before: list[NDArray[np.bool_]] = []

    def tools_of(self, number: int, noise: float = 0.12) -> Ints:
        """Draw tools by popularity, which differs a little each time."""
        weight = np.cumsum(self.weight * self.random.lognormal(0, noise, self.tools))
        return np.searchsorted(weight, self.random.random(number) * weight[-1]).clip(0, self.tools - 1)

    def networks_of(self, number: int) -> Ints:
        """Draw networks: some carriers have many voters."""
        return (NETWORKS * self.random.random(number) ** 2.5).astype(np.int64)

    def new_voters(self, made: Floats, network: Ints, before: NDArray[np.bool_]) -> Ints:
        """Add voters."""
        ids = np.arange(self.voters, self.voters + len(made))
        self.voters += len(made)
        self.made.append(made)
        self.network.append(network)
        self.before.append(before)
        return ids

    def people(self, time: Floats, new: float) -> Ints:
        """Add people who come at these times, a part of them for the first time."""
        number = len(time)
        is_new = self.random.random(number) < new
        away = self.random.exponential(12 * DAY, number) + 1800
        made = np.where(is_new, time - self.random.uniform(0.1, 2, number), time - away)
        before = ~is_new & (self.random.random(number) < 0.85)
        return self.new_voters(made, self.networks_of(number), before)

    def visit(self, time: Floats, tool: Ints, choice: Ints, voter: Ints, plan: int, more: float) -> None:
        """Let each visitor vote, and a part of them vote for what they compare it with, and some for yet another tool."""
        self.parts.append((time, tool, choice, voter, np.full(len(time), plan)))
        again = self.random.random(len(time)) < more
        paired = self.random.random(again.sum()) < 0.6
        other = np.where(paired, self.partner[tool[again]], self.tools_of(int(again.sum())))
        later = time[again] + self.random.exponential(90, again.sum()) + 3
        self._vote(later, other, voter[again])
        third = self.random.random(len(later)) < 0.35
        self._vote(
            later[third] + self.random.exponential(200, third.sum()) + 3, self.tools_of(int(third.sum())), voter[again][third]
        )

    def _vote(self, time: Floats, tool: Ints, voter: Ints) -> None:
        choice = (self.random.random(len(tool)) >= self.share[tool]).astype(np.int64)
        self.parts.append((time, tool, choice, voter, np.full(len(time), -1)))

    def honest_day(self, day: int, lift: float) -> None:
        """Draw a day of single visitors, and of groups that vote together."""
        week = (1.0, 1.05, 1.05, 1.0, 0.95, 0.7, 0.7)[day % 7]
        number = self.random.poisson(self.sessions_a_day * week * lift * self.random.lognormal(0, 0.05))
        alone = int(number * 0.9)
        time = BEGIN + day * DAY + self._hours(alone)
        tool = self.tools_of(alone)
        choice = (self.random.random(alone) >= self.share[tool]).astype(np.int64)
        self.visit(time, tool, choice, self.people(time, 0.72), -1, 0.45)
        self._groups(day, number - alone)

    def _hours(self, number: int) -> Floats:
        grid = np.linspace(0, DAY, 289)
        density = np.cumsum(1 + 0.7 * np.sin(2 * np.pi * (grid / DAY - 0.35)))
        return np.interp(self.random.random(number) * density[-1], density, grid).clip(0, DAY - 1)

    def _groups(self, day: int, number: int) -> None:
        """Draw groups of two on average: colleagues or a chat, a third of them behind one network, of a mind of their own."""
        sizes = self.random.geometric(1 / 2, number // 2)
        group = np.repeat(np.arange(len(sizes)), sizes)
        time = BEGIN + day * DAY + self._hours(len(sizes))[group] + self.random.exponential(1200, len(group))
        tool = self.tools_of(len(sizes))[group]
        odds = np.log(self.share / (1 - self.share))[tool] + self.random.normal(0, 1, len(sizes))[group]
        choice = (self.random.random(len(group)) >= 1 / (1 + np.exp(-odds))).astype(np.int64)
        voter = self.people(time, 0.72)
        shared = (self.random.random(len(sizes)) < 0.33)[group]
        self.network[-1] = np.where(shared, self.networks_of(len(sizes))[group], self.network[-1])
        self.visit(time, tool, choice, voter, -1, 0.4)

    def crowd(self, number: int, plan: Plan) -> None:
        """Draw an honest crowd: quick to come, slow to go, of a mind of its own."""
        random, count = self.random, plan.votes
        spread = {"forum": 0.25, "mail": 0.3, "embed": 0.5}[plan.kind]
        late = random.gamma(1.3, spread * plan.seconds / 1.3, count)
        time = plan.begin + late[late < plan.seconds]
        count = len(time)
        usual = 0.88 if plan.kind == "mail" else self.share[plan.tool]
        share = 1 / (1 + np.exp(random.normal(0, 0.6) - np.log(usual / (1 - usual))))
        tool = np.full(count, plan.tool)
        choice = (random.random(count) >= share).astype(np.int64)
        new, more = {"forum": (0.88, 0.3), "mail": (0.8, 0.2), "embed": (0.9, 0.15)}[plan.kind]
        more *= random.uniform(0.6, 1.4)
        self.visit(time, tool, choice, self.people(time, random.beta(12 * new, 12 * (1 - new))), number, more)

    def attack(self, number: int, plan: Plan) -> None:
        """Draw a brigade."""
        if plan.mimic:
            return self._mimic(number, plan)
        random, count = self.random, plan.votes
        even = (np.arange(count) + random.uniform(-0.2, 0.2, count) + 0.5) / count
        time = plan.begin + plan.seconds * np.sort(even if plan.spacing == "script" else random.random(count))
        fresh = time - random.uniform(0.1, 3, count)
        batch = time - random.uniform(1, 30) * DAY - random.uniform(0, 7200, count)
        spread = time - random.uniform(1, 30, count) * DAY
        made = fresh if not plan.aged else spread if plan.clever else batch
        networks = random.choice(NETWORKS, plan.networks)[np.arange(count) % plan.networks]
        voter = self.new_voters(made, networks, np.full(count, plan.clever and plan.aged))
        self.parts.append((time, np.full(count, plan.tool), np.full(count, plan.choice), voter, np.full(count, number)))
        hidden = random.permutation(count)[: int(count * plan.camouflage / (1 - plan.camouflage))]
        self._vote(time[hidden] + random.uniform(-300, 300, len(hidden)), self.tools_of(len(hidden)), voter[hidden])

    def _mimic(self, number: int, plan: Plan) -> None:
        """Draw a brigade that does all that it can to look like a crowd, but for its choice: old and new, as a crowd comes."""
        random, count = self.random, plan.votes
        time = plan.begin + np.minimum(random.gamma(1.3, 0.25 * plan.seconds / 1.3, count), 0.99 * plan.seconds)
        tool, choice = np.full(count, plan.tool), np.full(count, plan.choice)
        self.visit(time, tool, choice, self.people(time, random.uniform(0.7, 0.9)), number, random.uniform(0.15, 0.4))

    def finished(self, plans: Sequence[Plan], explained: Sequence[tuple[int, float, float]]) -> World:
        """Return the world, its votes in order of time; of two votes of one voter on a tool, the first counts."""
        time, tool, choice, voter, plan = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        order = np.argsort(time, kind="stable")
        _, first = np.unique(voter[order] * self.tools + tool[order], return_index=True)
        kept = order[np.sort(first)]
        mark = np.random.default_rng(7).integers(0, 65_536, NETWORKS)[np.concatenate(self.network)]
        votes = Votes(np.round(time[kept], 3), tool[kept], choice[kept], voter[kept], plan[kept])
        return World(
            votes,
            np.floor(np.concatenate(self.made) * 1000) / 1000,
            mark,
            np.concatenate(self.before),
            self.tools,
            explained,
            plans,
        )


def world(
    seed: int,
    plans: int = 60,
    crowds: int = 30,
    mimics: int = 10,
    tools: int = 5_000,
    votes_a_day: int = 100_000,
    history: int = HISTORY_DAYS,
) -> World:
    """Draw a world: days of history, and a week with brigades and crowds, these each on a tool of its own."""
    random = np.random.default_rng(seed)
    draft = Draft(random, tools, votes_a_day, history + 7)
    week = BEGIN + history * DAY
    digests = [day for day in range(draft.days) if day % 7 == 0]
    for day in range(draft.days):
        draft.honest_day(day, 1.25 if day in digests else 1.0)
    explained = [one for day in digests for one in _digest(draft, day)]
    targets = random.permutation(tools)
    popular = draft.tools_of(plans)
    others = targets[plans : plans + crowds + mimics]
    aims = [int(popular[n] if n % 10 < 3 and popular[n] not in others else targets[n]) for n in range(plans)]
    drawn = [_attack(random, aim, week) for aim in aims]
    drawn += [_crowd(random, int(others[n]), week) for n in range(crowds)]
    drawn += [_mimic(random, int(others[crowds + n]), week) for n in range(mimics)]
    for number, plan in enumerate(drawn):
        (draft.attack if plan.kind == "attack" else draft.crowd)(number, plan)
    return draft.finished(drawn, explained)


def _digest(draft: Draft, day: int) -> list[tuple[int, float, float]]:
    """Draw what readers of a digest vote, and give what it explains: the tools that it names, for two days."""
    named = draft.random.choice(draft.tools, max(1, draft.tools // 250), replace=False)
    begin = BEGIN + day * DAY + 9 * 3600.0
    for tool in named:
        count = draft.random.integers(40, 160)
        time = begin + draft.random.gamma(1.2, 3 * 3600, count)
        choice = (draft.random.random(count) >= draft.share[tool]).astype(np.int64)
        draft.visit(time, np.full(count, tool), choice, draft.people(time, 0.4), -1, 0.4)
    return [(int(tool), begin, begin + 2 * DAY) for tool in named]


MINUTE, HOUR = 60.0, 3600.0
SIZES = (4, 10, 20, 50, 100, 200, 500)
DURATIONS = (MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR, 168 * HOUR)


def _attack(random: Random, tool: int, week: int) -> Plan:
    votes, seconds = int(random.choice(SIZES)), float(random.choice(DURATIONS))
    clever = bool(random.random() < 0.25)
    begin = week + random.random() * max(0.0, 6.8 * DAY - seconds)
    networks = [1, max(1, votes // 10), votes][int(random.integers(0, 3))]
    return Plan(
        kind="attack", tool=tool, choice=int(random.random() < 0.3), begin=begin, seconds=seconds, votes=votes,
        networks=votes if clever else networks, aged=clever or bool(random.random() < 0.3),
        camouflage=0.5 if clever else float(random.choice([0.0, 0.2, 0.5])),
        spacing="chance" if clever or random.random() < 0.5 else "script", clever=clever,
    )  # fmt: skip


def _mimic(random: Random, tool: int, week: int) -> Plan:
    votes, seconds = int(random.choice(SIZES[2:])), float(random.choice(DURATIONS[2:6]))
    begin = week + random.random() * (6.8 * DAY - seconds)
    choice = int(random.random() < 0.3)
    return Plan(kind="attack", tool=tool, choice=choice, begin=begin, seconds=seconds, votes=votes, networks=votes, mimic=True)


def _crowd(random: Random, tool: int, week: int) -> Plan:
    kind: Any = ("forum", "mail", "embed")[int(random.choice(3, p=[0.45, 0.35, 0.2]))]
    median, hours = {"forum": (200, 16), "mail": (120, 30), "embed": (100, 72)}[kind]
    votes = int(np.clip(median * random.lognormal(0, 0.8), 30, 3000))
    begin = week + random.random() * (7 - hours / 24) * DAY
    return Plan(kind=kind, tool=tool, choice=0, begin=begin, seconds=hours * HOUR, votes=votes)
