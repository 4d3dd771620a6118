"""How the log is traced, where somebody traces it: what its owner hands to a committer and to the runners of views.

The log tells it counts and positions, and never a stream or what an event says.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class BatchTrace(Protocol):
    """The trace of one batch of commands."""

    def committing(self) -> None:
        """Note that the commands are decided, and the transaction is about to be committed."""

    def ended(self, outcomes: Sequence[Any]) -> None:
        """Note that the batch has ended: with a receipt or an exception for each command."""


class CommandsTrace(Protocol):
    """Traces the way of commands into the log."""

    def asked(self) -> Any | None:
        """Return what a command that is submitted now belongs to; None if that is not traced."""

    def batch(self, asked: Sequence[Any | None]) -> BatchTrace | None:
        """Return the trace of a batch of commands that begins now; None if none of them is traced."""


class WindowsTrace(Protocol):
    """Traces the windows of views."""

    def folded(self, view: str, start: int, end: int, began: int) -> None:
        """Note that a view took in the window `(start, end]`, begun at a time in nanoseconds since 1970."""
