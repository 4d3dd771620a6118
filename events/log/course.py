"""The course of a committer: how its batches fared, for health checks and metrics."""

from time import monotonic
from typing import Final

HELD_SECONDS: Final = 1.0
"""A batch under way for longer is held up; most take milliseconds."""
REMEMBERED_SECONDS: Final = 60.0
"""A failure says nothing of the present when nobody has tried for so long."""


class Course:
    """What became of the batches of one committer."""

    def __init__(self) -> None:
        self.committed = 0
        self.failed = 0
        self.error: Exception | None = None
        self._good_at = self._tried_at = monotonic()
        self._under_way: set[object] = set()

    def begin(self, lane: object) -> None:
        """Note that a batch is under way in a lane."""
        self._tried_at = monotonic()
        self._under_way.add(lane)

    def succeed(self, lane: object) -> None:
        """Note that the batch of a lane was committed."""
        self.committed += 1
        self._good_at, self.error = monotonic(), None
        self._under_way.discard(lane)

    def fail(self, lane: object, error: Exception) -> None:
        """Note that the batch of a lane failed, for a reason that is not the commands'."""
        self.failed += 1
        self.error = error
        self._under_way.discard(lane)

    @property
    def since_good(self) -> float:
        """Seconds since the last batch that was committed, or since the start."""
        return monotonic() - self._good_at

    @property
    def stuck_seconds(self) -> float:
        """Seconds since the last good batch while those after it fail or are held up; 0 while all is well."""
        tried = monotonic() - self._tried_at
        is_stuck = tried > HELD_SECONDS if self._under_way else self.error is not None and tried < REMEMBERED_SECONDS
        return self.since_good if is_stuck else 0.0
