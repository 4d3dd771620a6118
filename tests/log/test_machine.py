"""A state machine of what voters and operators do, beside a plain model: whatever happens in whichever order, both agree.

BALLOTPRESS_EXAMPLES says how many runs there are (default 6).
"""

import asyncio
import os
from collections import Counter
from typing import Any

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from events import ballots
from events.ballots import Choice
from events.commands.ballots import CastVote
from events.commands.erasure import EraseVisitor
from events.commands.voters import CorrectVoters
from events.log import store
from events.registry import REGISTRY
from events.voters import VoterIsDisqualified, VoterUnknown
from projections import cards
from projections.registry import PROJECTIONS
from tests.oracle.compare import differences
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.log import add_tools, patient
from tests.support.runners import catch_up

DENSE = """
select count(*) = max(position) and max(position) = (select position from log.head) from log.events
"""
SLUGS = ("one", "two", "three")


class Voting(RuleBasedStateMachine):
    """Votes, changes, retractions, disqualifications, reinstatements, erasures and restarts."""

    server: servers.Postgres
    template: str
    numbers: int = 0

    voters = Bundle("voters")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        Voting.numbers += 1
        self.name = f"machine_{Voting.numbers}"
        self.choices: dict[tuple[str, str], Choice] = {}
        self.active: set[str] = set()
        self.disqualified: set[str] = set()

    def do(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        """Begin with three tools and nobody's vote."""
        self.do(self._create())
        self.do(self._open())
        self.reader: asyncpg.Connection[Any] = self.do(asyncpg.connect(self.server.dsn(self.name)))
        self.tools: dict[str, str] = self.do(add_tools(self.committer, *SLUGS))

    async def _create(self) -> None:
        await servers.execute(self.server.dsn(), f"create database {self.name} template {self.template}")

    async def _open(self) -> None:
        dsn = self.server.dsn(self.name)
        self.committer = await patient(dsn).__aenter__()

    @rule(target=voters)
    def arrive(self) -> str:
        """A visitor comes."""
        return new_id()

    @rule(voter=voters, slug=st.sampled_from(SLUGS), choice=st.sampled_from(["ship", "skip", None]))
    def vote(self, voter: str, slug: str, choice: Choice | None) -> None:
        """A vote, a change or a retraction does what the model says, and is refused to the disqualified."""
        try:
            receipt = self.do(self._submit(CastVote(voter, slug, choice)))
        except VoterIsDisqualified:
            assert voter in self.disqualified
            return
        assert voter not in self.disqualified
        assert receipt.value.previous == self.choices.get((voter, slug))
        assert receipt.appended == (receipt.value.previous != choice)
        if receipt.appended:
            self.active.add(voter)
        self.choices.pop((voter, slug), None)
        if choice is not None:
            self.choices[voter, slug] = choice

    @rule(cohort=st.lists(voters, min_size=1, max_size=3, unique=True), reinstate=st.booleans())
    def correct(self, cohort: list[str], reinstate: bool) -> None:
        """A cohort is disqualified or reinstated; one without events is refused whole."""
        command = CorrectVoters(new_id(), cohort, "because", cards.tallies_at_head, reinstate=reinstate, operator="model")
        try:
            receipt = self.do(self._submit(command))
        except VoterUnknown:
            assert not set(cohort) <= self.active
            return
        assert set(cohort) <= self.active
        changed = {v for v in cohort if (v in self.disqualified) == reinstate}
        assert (receipt.value.voters if receipt.value else 0) == len(changed)
        self.disqualified = self.disqualified - changed if reinstate else self.disqualified | changed

    @rule(voter=voters)
    def erase(self, voter: str) -> None:
        """Erasure leaves the tallies as they are."""
        self.do(self._submit(EraseVisitor(voter)))

    @rule()
    def restart(self) -> None:
        """A new process knows all that the old one did."""
        self.do(self.committer.__aexit__())
        self.do(self._open())

    @rule(largest=st.sampled_from([1, 3, 1000]))
    def project(self, largest: int) -> None:
        """The views show the model's tallies once they have caught up, whatever the windows."""
        self.do(self._project(largest))

    async def _submit(self, command: Any) -> Any:
        return await self.committer.submit(command)

    def tally(self) -> dict[str, tuple[int, int]]:
        """Count as the model does."""
        counts = Counter((slug, choice) for (voter, slug), choice in self.choices.items() if voter not in self.disqualified)
        return {slug: (counts[slug, "ship"], counts[slug, "skip"]) for slug in SLUGS}

    async def _project(self, largest: int) -> None:
        for projection in PROJECTIONS:
            await catch_up(self.server.dsn(self.name), projection, [largest])
            assert await differences(self.reader, projection, REGISTRY) == []
        assert await self._seen() == self.tally()

    async def _seen(self) -> dict[str, tuple[int, int]]:
        rows = await self.reader.fetch("select tool, ship, skip from cards_4.tallies where position > 0")
        found = {row["tool"]: (row["ship"], row["skip"]) for row in rows}
        return {slug: found.get(self.tools[slug], (0, 0)) for slug in SLUGS}

    @invariant()
    def ballots_agree(self) -> None:
        """Each ballot's last event is the model's choice, and positions are dense."""
        if hasattr(self, "tools"):
            self.do(self._ballots_agree())

    async def _ballots_agree(self) -> None:
        rows = await self.reader.fetch(store.READ_WHOLES, [ballots.stream(v, self.tools[s]) for v, s in self.choices])
        lasts: dict[Any, Any] = {row["stream"]: store.decode(REGISTRY, row).event for row in rows}
        for (voter, slug), choice in self.choices.items():
            assert ballots.evolve(None, lasts[ballots.stream(voter, self.tools[slug])]) == choice
        dense = await self.reader.fetchval(DENSE)
        assert dense is True

    def teardown(self) -> None:
        """Leave nothing behind."""
        if hasattr(self, "tools"):
            self.do(self.committer.__aexit__())
            self.do(self.reader.close())
            self.do(self._drop())
        self.loop.close()

    async def _drop(self) -> None:
        await servers.execute(self.server.dsn(), f"drop database {self.name} with (force)")


def test_a_plain_model_agrees(postgres: servers.Postgres, template: str) -> None:
    """Whatever is done in whichever order, log and views say what a plain model says."""
    Voting.server, Voting.template = postgres, template
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Voting,
        settings=settings(
            max_examples=int(os.environ.get("BALLOTPRESS_EXAMPLES", "6")),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
