"""Run the detector over a world's arrays: what the scan reads from the view and the log is read from them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from services.integrity import detector
from services.integrity.detector import Find, Merged
from services.integrity.detector_counts import Counts, Days, Screen, Screened, Site
from services.integrity.detector_evidence import MOST_VOTES, UNMARKED, Pool, Votes, Weight, pairs, weigh
from services.integrity.ticks import DAY, TICK_SECONDS
from tests.support.integrity_worlds import World

POOL = 400
EARLIER = 100
NEAR = 600.0
_KEY = 1 << 32


class Weighed(NamedTuple):
    """A weighed cell, with the number of cells of its tick."""

    tick: int
    tests: int
    find: Find
    weight: Weight


def counts_of(world: World) -> tuple[Counts, Site, Days]:
    """Return what the view would hold of a world."""
    votes = world.votes
    tick = (votes.time // TICK_SECONDS).astype(np.int64)
    young = (votes.time - world.made[votes.voter] < 600).astype(np.int64)
    keys, cell = np.unique(votes.tool * _KEY + tick, return_inverse=True)
    by_choice = [np.bincount(cell, (votes.choice == choice) * weight, len(keys)) for weight in (1, young) for choice in (0, 1)]
    columns = np.stack(by_choice, 1).astype(np.int64)
    first = int(tick[0])
    site = [np.bincount(tick - first, weight).astype(np.int64) for weight in (None, young)]
    day = tick // DAY
    days = np.zeros((world.tools, int(day[-1] - day[0]) + 1, 2), np.int64)
    np.add.at(days, (votes.tool, day - day[0], votes.choice), 1)
    return Counts(keys // _KEY, keys % _KEY, columns[:, :2], columns[:, 2:]), Site(first, *site), Days(int(day[0]), days)


class Source:
    """Reads votes of cells from a world."""

    def __init__(self, world: World, marked: bool) -> None:
        votes = world.votes
        self._world, self._marked = world, marked
        self._by_tool = np.lexsort((votes.time, votes.tool))
        self._tool_keys = votes.tool[self._by_tool] * float(_KEY) + votes.time[self._by_tool]
        self._by_voter = np.lexsort((votes.time, votes.voter))
        self._place = np.empty(len(votes.time), np.int64)
        self._place[self._by_voter] = np.arange(len(votes.time))
        self._alone = self._alone_flags()
        self._more = self._more_flags()

    def _alone_flags(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        votes, order = self._world.votes, self._by_voter
        voter, time = votes.voter[order], votes.time[order]
        first = np.r_[True, voter[1:] != voter[:-1]]
        soon = np.r_[(voter[1:] == voter[:-1]) & (time[1:] <= time[:-1] + NEAR), False]
        alone = np.empty(len(order), bool)
        alone[order] = first & ~soon & ~self._world.before[voter]
        return alone

    def _more_flags(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Return which votes have others of their voter beside them."""
        voter = self._world.votes.voter[self._by_voter]
        more = np.empty(len(voter), bool)
        more[self._by_voter] = (np.roll(voter, 1) == voter) | (np.roll(voter, -1) == voter)
        return more

    def votes(self, tool: int, choice: int, begin: int, end: int) -> Votes:
        """Return the last votes of a cell."""
        found = self._between(tool, begin, end)
        found = found[self._world.votes.choice[found] == choice][-MOST_VOTES:]
        voter, time = self._world.votes.voter[found], self._world.votes.time[found]
        marks = self._world.mark[voter] if self._marked else np.full(len(found), UNMARKED)
        return Votes(time, time - self._world.made[voter], self._alone[found], marks, [self._shared(int(one)) for one in found])

    def earlier(self, tool: int, begin: int) -> Mapping[str, float]:
        """Return the share of the tool's earlier voters that voted for each two other tools within minutes."""
        found = self._between(tool, begin - 28 * DAY, begin)[-EARLIER:]
        counts = Counter(pair for one in found for pair in pairs(self._shared(int(one))))
        return {pair: (count + 1) / (len(found) + 10) for pair, count in counts.items()}

    def _between(self, tool: int, begin: int, end: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        low, high = np.searchsorted(self._tool_keys, [tool * float(_KEY) + tick * TICK_SECONDS for tick in (begin, end)])
        return self._by_tool[low:high]

    @lru_cache(1_000_000)  # noqa: B019 - as long as the source
    def _shared(self, vote: int) -> list[str]:
        if not self._more[vote]:
            return []
        votes, place = self._world.votes, int(self._place[vote])
        near = self._by_voter[max(0, place - 2) : place + 3]
        same = near[(votes.voter[near] == votes.voter[vote]) & (np.abs(votes.time[near] - votes.time[vote]) <= NEAR)]
        return [str(tool) for tool in votes.tool[same] if tool != votes.tool[vote]]

    @lru_cache(400)  # noqa: B019 - as long as the source
    def pool(self, hour: int) -> Pool:
        """Return votes of the site, evenly picked from the day up to an hour."""
        end = hour * 6 * TICK_SECONDS
        low, high = np.searchsorted(self._world.votes.time, [end - 86_400, end])
        picked = np.unique((low + (np.arange(POOL) + 0.5) * (high - low) / POOL).astype(np.int64))
        voter = self._world.votes.voter[picked]
        young = self._world.votes.time[picked] - self._world.made[voter] < 600
        marks = self._world.mark[voter] if self._marked else np.full(len(picked), UNMARKED)
        return Pool(young, self._alone[picked], marks)


def weighed(world: World, begin: int, end: int, *, marked: bool = True, names: Sequence[str] = ()) -> tuple[list[Weighed], int]:
    """Return every cell of some ticks that its counts made suspicious, weighed; and how many cells there were.

    The tools are named by their numbers, or by `names`.
    """
    names = names or [str(tool) for tool in range(world.tools)]
    counts, site, days = counts_of(world)
    explained = np.array([(t, b // TICK_SECONDS, e // TICK_SECONDS) for t, b, e in world.explained], np.int64).reshape(-1, 3)
    screen = Screen(counts, site, days, begin, end)
    tests, screened, source = screen.tests(), screen.screened(explained), Source(world, marked)
    found = []
    for row in range(len(screened.tool)):
        tool = names[screened.tool[row]]
        weight = _weight(screened, row, source, tool)
        tick = int(screened.end[row]) - 1
        found.append(Weighed(tick, int(tests[tick - begin]), detector.find_of(screened, row, tool, weight), weight))
    return found, int(tests.sum())


def _weight(screened: Screened, row: int, source: Source, name: str) -> Weight:
    tool, choice, begin, end = (int(column[row]) for column in screened[:4])
    votes = source.votes(tool, choice, begin, end)
    usually = source.earlier(tool, begin) if votes.is_shared else {}
    return weigh(detector.cell_of(screened, row, name), votes, source.pool(end // 6), usually)


def cohorts(cells: Iterable[Weighed]) -> list[Find]:
    """Return the cohorts among weighed cells."""
    by_tick: dict[int, list[Weighed]] = defaultdict(list)
    for cell in cells:
        by_tick[cell.tick].append(cell)
    merged = Merged({})
    for tick in sorted(by_tick):
        same = by_tick[tick]
        rows = detector.found([cell.weight for cell in same], same[0].tests)
        detector.merge(merged, [same[row].find for row in rows])
    return list(merged.cohorts.values())
