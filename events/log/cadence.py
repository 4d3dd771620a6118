"""When a batch begins and how many commands it takes, by what the last ones took.

A batch costs as much as dozens of votes, so under load commands gather before one begins. Where two batches save more than the
second costs, a crowd goes by halves: this process works for one half while the server works for the other.
"""

from time import monotonic, thread_time
from typing import Final

FEW: Final = 16
"""The fewest commands that are worth being half of a crowd."""

SERVER_EACH: Final = 0.000005
"""Seconds that a statement takes longer for each command in it, roughly."""

NEWEST: Final = 0.1
"""How much the newest batch counts in what is remembered of all."""


class Cadence:
    """What a process remembers of its last batches: how long a statement takes by itself, and how much work a command is.

    Before a batch, commands gather for `rest_each` seconds for each command of the last batch but the first, at most for
    `rest`, and not at all once `enough` wait.
    """

    def __init__(self, *, rest: float = 0.003, rest_each: float = 0.0005, enough: int = 32) -> None:
        self._rest = rest
        self._rest_each = rest_each
        self._enough = enough
        self._began = 0.0
        self._size = 0
        self._answered = 0.0
        self._worked: float | None = None
        self._statement = 0.0
        self._command = 0.0

    def begin(self, size: int) -> None:
        """Note that a batch of so many commands begins."""
        self._began, self._size = monotonic(), size

    def rest(self, waiting: int) -> float:
        """Return for how many seconds more commands should gather while so many wait. A lone caller never waits."""
        if waiting >= self._enough:
            return 0.0
        return self._began + min(self._rest, self._rest_each * (self._size - 1)) - monotonic()

    def answered(self, sent: float, size: int) -> None:
        """Note that a statement of so many commands is answered; `sent` is when it was sent, by `monotonic`."""
        now, worked = monotonic(), thread_time()
        begun = max(sent, self._answered)  # until the other lane's statement was answered, this one waited
        statement = max(0.0, now - begun - SERVER_EACH * size)
        if self._worked is not None:
            self._statement += NEWEST * (statement - self._statement)
            self._command += NEWEST * ((worked - self._worked) / size - self._command)
        self._answered, self._worked = now, worked

    def goes_by_halves(self, commands: int) -> bool:
        """Return whether two batches pay: this process works longer for so many commands than a statement takes."""
        return commands >= 2 * FEW and self._statement < commands * self._command
