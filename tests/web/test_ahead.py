"""What a vote's answer counts before any view does: all that its own process has committed, each change once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from events.ballots import Choice, VoteCast, cast_vote, retract_vote
from events.log import store
from events.log.event import Event, Recorded
from events.registry import REGISTRY
from events.voters import VoterDisqualified, VoterReinstated
from projections.tally import Tally, changes
from services.settings import OperatorToken
from services.web import ahead
from services.web.ahead import Ahead
from tests.support.catalogs import tool
from tests.support.log import go_back, take_views_back
from tests.support.runners import CARDS, Connection, catch_up_all, rebuild, until
from tests.support.settings import settings
from tests.support.sites import client

STREAM = UUID(int=0)
TOOLS = ("left", "right")
ALL = OperatorToken(name="ops", scopes=frozenset({"read", "catalog", "voters"}), token="operator-token-of-tests")
AS_OPERATOR = {"Authorization": f"Bearer {ALL.token}"}


def total(events: Iterable[Event], tool: str) -> Tally:
    """Add up a tool's changes by these events."""
    moved = [change for event in events for change in changes(event) if change[0] == tool]
    return sum(ship for _, ship, _ in moved), sum(skip for _, _, skip in moved)


class World:
    """A log that two processes append to, one of them this one, and a view of it that this one follows."""

    def __init__(self) -> None:
        self.ahead = Ahead()
        self.log: list[tuple[Event, bool]] = []
        self.ballots: dict[tuple[str, str], Choice] = {}
        self.out: dict[str, list[tuple[str, Choice]]] = {}
        self.view = 0
        self.outgrown = False

    def append(self, events: Sequence[Event], *, here: bool) -> None:
        """Commit some events."""
        begun = len(self.log)
        self.log += [(event, here) for event in events]
        if here:
            self.ahead.take([Recorded(STREAM, 1, begun + n, event) for n, event in enumerate(events, 1)])

    def vote(self, voter: str, tool: str, choice: Choice | None, *, here: bool) -> None:
        """Vote or take a vote back, if the voter may."""
        if voter in self.out:
            return
        before = self.ballots.pop((voter, tool), None)
        if choice is not None:
            self.ballots[voter, tool] = choice
            self.append(cast_vote(before, voter, tool, choice), here=here)
        else:
            self.append(retract_vote(before, voter, tool), here=here)

    def correct(self, voter: str, *, here: bool) -> None:
        """Disqualify a voter, or reinstate one that is disqualified."""
        if (given := self.out.pop(voter, None)) is not None:
            self.append([VoterReinstated(voter=voter, ballots=given, correction="c")], here=here)
            return
        taken = self.out[voter] = [(t, choice) for (v, t), choice in self.ballots.items() if v == voter]
        self.append([VoterDisqualified(voter=voter, ballots=taken, correction="c")], here=here)

    def answers(self, voter: str, tool: str, card: int) -> tuple[Tally, Tally, Tally]:
        """Return what is answered beside a card of a position, what should be, and what may be if too much was forgotten."""
        later = [(at, event, here) for at, (event, here) in enumerate(self.log, 1) if at > card]
        own = [(at, event, event.voter == voter) for at, event, _ in later]  # type: ignore[attr-defined]
        said = self.ahead.since(tool, card, [(at, changes(event)) for at, event, is_own in own if is_own])
        due = total((event for _, event, here in later if here or event.voter == voter), tool)  # type: ignore[attr-defined]
        return said, due, total((event for _, event, is_own in own if is_own), tool)


voters = st.sampled_from(["a", "b", "c"])
places = st.booleans()
acts = st.one_of(
    st.tuples(st.just("vote"), voters, st.sampled_from(TOOLS), st.sampled_from(["ship", "skip", None]), places),
    st.tuples(st.just("correct"), voters, places),
    st.tuples(st.just("view"), st.integers(1, 4), places),
)


def play(acts: Sequence[tuple[Any, ...]], *, exactly: bool) -> None:
    """Let some acts happen, and ask each time for everybody what would be answered."""
    world = World()
    for act in acts:
        match act:
            case ("vote", voter, tool, choice, here):
                world.vote(voter, tool, choice, here=here)
            case ("correct", voter, here):
                world.correct(voter, here=here)
            case ("view", by, told):
                world.view = min(len(world.log), world.view + by)
                if told:
                    world.ahead.reach(world.view)
        for voter in ("a", "b", "c"):
            for tool in TOOLS:
                said, due, least = world.answers(voter, tool, world.view)
                assert said == due or (not exactly and said == least)


@tries(max_examples=50)
@given(st.lists(acts, max_size=30))
def test_an_answer_is_the_card_and_all_that_was_committed_here_since(acts: list[tuple[Any, ...]]) -> None:
    """Votes, changes, retractions and corrections of any process: those of this one count, and the voter's own, each once."""
    play(acts, exactly=True)


@tries(max_examples=50)
@given(st.lists(acts, max_size=30))
def test_of_very_many_the_oldest_are_forgotten_and_nothing_counts_by_halves(acts: list[tuple[Any, ...]]) -> None:
    """Beyond its bound a process answers either with all that it committed since the card, or with the voter's own alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "MOST_CHANGES", 3)
        play(acts, exactly=False)


def test_memory_is_bounded_and_all_is_exact_again_once_the_view_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eleven votes ten are kept; an answer counts them as soon as the view has the first."""
    monkeypatch.setattr(ahead, "MOST_CHANGES", 10)
    one = Ahead()
    casts = [Recorded(STREAM, 1, at, VoteCast(voter=str(at), tool="left", choice="ship")) for at in range(1, 12)]
    one.take(casts)
    own = [(11, changes(casts[-1].event))]
    assert one.since("left", 0, own) == (1, 0)
    assert one.since("left", 1, own) == (10, 0)
    one.reach(11)
    assert one.since("left", 11, own) == (0, 0)


@pytest.mark.parametrize("told", [[5, 6], [3, 4, 5]])
def test_positions_that_do_not_rise_begin_anew(told: list[int]) -> None:
    """Of the time that a log lost nothing counts, and what came since counts once the view is past all of it."""
    one = Ahead()

    def take(positions: Iterable[int]) -> None:
        one.take([Recorded(STREAM, 1, at, VoteCast(voter="v", tool="left", choice="ship")) for at in positions])

    take([4, 5, 6])
    take(told)
    assert one.since("left", 4, []) == (0, 0)
    take([7, 8])
    assert one.since("left", 6, []) == (2, 0)
    assert one.since("left", 7, []) == (1, 0)


async def visitors(site: httpx.AsyncClient, count: int) -> list[dict[str, str]]:
    """Make visitors; return their headers."""
    made = []
    for _ in range(count):
        made.append({"Authorization": f"Bearer {(await site.post('/v1/visitors')).json()['token']}"})
        site.cookies.clear()
    return made


async def vote(site: httpx.AsyncClient, who: dict[str, str], choice: str | None) -> tuple[int, int]:
    """Vote on the tool; return the answer's ship and skip."""
    path = "/v1/tools/left/vote"
    answer = await (site.delete(path, headers=who) if choice is None else site.put(path, json={"choice": choice}, headers=who))
    assert answer.status_code == 200, answer.text
    community = answer.json()["community"]
    return community["ship"], community["skip"]


async def correct(site: httpx.AsyncClient, who: dict[str, str], method: str) -> None:
    """Disqualify or reinstate a visitor."""
    visitor = (await site.post("/v1/visitors", headers=who)).json()["visitor"]
    body = {"json": {"reason": "why"}} if method == "POST" else {}
    path = f"/v1/ops/voters/{visitor}/disqualification"
    assert (await site.request(method, path, headers=AS_OPERATOR, **body)).status_code == 200  # type: ignore[arg-type]


async def begin(site: httpx.AsyncClient, dsn: str) -> None:
    """List a tool, and let the views know it."""
    answer = await site.post("/v1/ops/catalog", json={"tools": [tool(slug="left")]}, headers=AS_OPERATOR)
    assert answer.status_code == 200, answer.text
    await catch_up_all(dsn)


async def follow(dsn: str, connection: Connection, *sites: httpx.AsyncClient) -> None:
    """Take the views to the head in small windows, and let each process hear of it."""
    await catch_up_all(dsn, [1, 2])
    head = await connection.fetchval("select position from log.head")
    for site in sites:
        assert (await site.get(f"/v1/tools/left?after={head}")).status_code == 200


async def test_with_no_projector_each_vote_counts_all_that_its_process_has_taken(
    dsn: str, connection: Connection, valkey_url: str
) -> None:
    """Others' votes, changes, retractions and corrections; another process's once the view has them; then nothing twice."""
    given = settings(dsn, valkey_url, operator_tokens=(ALL,))
    async with client(given) as here, client(given) as there:
        await begin(here, dsn)
        a, b, c, d, e = await visitors(here, 5)
        assert [await vote(here, who, "ship") for who in (a, b, c)] == [(1, 0), (2, 0), (3, 0)]
        assert await vote(there, d, "skip") == (0, 1)
        assert await vote(here, a, "skip") == (2, 1)
        assert await vote(here, b, None) == (1, 1)
        await correct(here, c, "POST")
        assert await vote(here, e, "ship") == (1, 1)
        await follow(dsn, connection, here, there)
        assert await vote(here, b, "ship") == (2, 2)
        await correct(here, c, "DELETE")
        assert await vote(there, d, "ship") == (2, 1)
        assert await vote(here, d, "skip") == (3, 2)
        await follow(dsn, connection, here, there)
        assert await vote(here, a, "skip") == (3, 2)
        assert await vote(there, a, "skip") == (3, 2)
        await must_agree(connection)


async def must_agree(connection: Connection) -> None:
    """Assert that Python and SQL say the same of every event's change of a tally."""
    rows = await connection.fetch("select stream, version, position, type, schema_version, data from log.recorded_events")
    by_python: Counter[tuple[int, str, str]] = Counter()
    for row in rows:
        for name, ship, skip in changes(store.decode(REGISTRY, row).event):
            by_python[row["position"], name, "ship"] += ship
            by_python[row["position"], name, "skip"] += skip
    by_sql: Counter[tuple[int, str, str]] = Counter()
    for position, name, plus, minus in await connection.fetch("select position, tool, plus, minus from log.tally_changes"):
        by_sql[position, name, plus or ""] += 1
        by_sql[position, name, minus or ""] -= 1
    assert {k: n for k, n in by_python.items() if n} == {k: n for k, n in by_sql.items() if n and k[2]}


async def test_a_rebuilt_view_and_a_log_that_went_back_count_nothing_twice(
    dsn: str, connection: Connection, valkey_url: str
) -> None:
    """After a switch to a rebuilt view the votes are all there once; of a lost time none is, and new ones are."""
    async with client(settings(dsn, valkey_url, operator_tokens=(ALL,))) as here:
        await begin(here, dsn)
        made = await visitors(here, 6)
        assert [await vote(here, who, "ship") for who in made[:3]] == [(1, 0), (2, 0), (3, 0)]
        kept = await connection.fetchval("select position from log.head")
        rebuilt = await rebuild(connection, dsn, CARDS)
        await connection.execute(f"drop schema {CARDS.schema} cascade; alter schema {rebuilt} rename to {CARDS.schema}")
        assert await vote(here, made[3], "ship") == (4, 0)
        await go_back(connection, kept)
        await take_views_back(connection)
        await catch_up_all(dsn)

        async def went_back() -> bool:
            return bool((await here.get("/v1/tools/left")).json()["community"]["total"] == 3)

        await until(went_back)
        assert await vote(here, made[4], "skip") == (3, 1)
        await follow(dsn, connection, here)
        assert await vote(here, made[5], "skip") == (3, 2)
