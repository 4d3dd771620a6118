"""A replay of every view by ranges of a few thousand events, to be killed: `python -m tests.support.doomed_replay DSN JOBS`.

It switches nothing. A line is printed for each range and window.
"""

import asyncio
import sys

from events.registry import REGISTRY
from projections.engine.folding import Jobs, Pace, Progress
from projections.engine.ranges import side_by_side
from projections.engine.rebuild import Rebuild
from projections.registry import PROJECTIONS

WINDOW = 4_096


def told(progress: Progress) -> None:
    """Print how far a view is."""
    print(progress.projection, progress.position, flush=True)


async def main(dsn: str, jobs: Jobs) -> None:
    """Build every view beside the live one."""

    async def one(rebuild: Rebuild) -> None:
        await rebuild.prepare()
        await rebuild.catch_up()

    pace = Pace(pause=0.01, window=WINDOW)
    await side_by_side(*(one(Rebuild(dsn, p, REGISTRY, pace=pace, report=told, jobs=jobs)) for p in PROJECTIONS))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Jobs(int(sys.argv[2]))))
