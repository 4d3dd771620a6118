"""What can be read from: one connection, a pool of them, or what chooses between servers."""

from typing import Any, Protocol


class Reads(Protocol):
    """Reads by a statement at a time, each in a snapshot of its own."""

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """Return the rows of a statement."""

    async def fetchrow(self, query: str, /, *args: Any) -> Any:
        """Return the first row of a statement; None if there is none."""

    async def fetchval(self, query: str, /, *args: Any) -> Any:
        """Return the first value of a statement's first row; None if there is none."""
