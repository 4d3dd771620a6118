"""Votes that race: what each of them was answered, and that the log is one history of them all."""

from typing import Any

from events.ballots import Choice, VoteCast
from events.commands.ballots import CastVote, Vote
from events.log.committer import Committer
from events.registry import REGISTRY

READ_LOG = "select position, stream, version, type, data from log.events order by position"


class Race:
    """The answers of votes, by the positions of their events."""

    def __init__(self) -> None:
        self._cast: dict[int, Vote] = {}

    async def vote(self, process: Committer, voter: str, choice: Choice | None) -> None:
        """Vote on tool `a`; no position is given out twice."""
        receipt = await process.submit(CastVote(voter, "a", choice))
        if receipt.appended:
            assert receipt.position is not None and receipt.position not in self._cast
            self._cast[receipt.position] = receipt.value

    async def must_be_one_history(self, connection: Any, begun: int) -> None:
        """Check that the log is dense, and after its first events holds these votes alone, each naming the one before it."""
        rows = await connection.fetch(READ_LOG)
        assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
        cast, before = dict(self._cast), dict[Any, tuple[int, Choice | None]]()
        for row in rows[begun:]:
            event = REGISTRY.decode(row["type"], 1, row["data"])
            version, choice = before.get(row["stream"], (0, None))
            assert (row["version"], cast.pop(row["position"]).previous) == (version + 1, choice)
            before[row["stream"]] = (row["version"], event.choice if isinstance(event, VoteCast) else None)
        assert not cast
