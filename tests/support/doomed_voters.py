"""A crowd of voters in a process of its own, to be killed: `python -m tests.support.doomed_voters DSN`.

Its crowd goes by halves whatever that costs. A line is printed for each vote that was answered: voter and position.
"""

import asyncio
import sys

from events.commands.ballots import CastVote
from events.log.cadence import Cadence
from tests.support.catalogs import new_id
from tests.support.log import patient

CALLERS = 40


class ByHalves(Cadence):
    """A cadence that finds two commands enough for two batches."""

    def goes_by_halves(self, commands: int) -> bool:
        """Return whether these are two at least."""
        return commands >= 2


async def main(dsn: str) -> None:
    """Vote until killed, each time as a new voter."""
    async with patient(dsn, cadence=ByHalves()) as committer:

        async def caller() -> None:
            while True:
                voter = new_id()
                receipt = await committer.submit(CastVote(voter, "a", "ship"))
                print(voter, receipt.position, flush=True)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
