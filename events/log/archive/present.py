"""Have the archived parts of a range of the log at hand while somebody reads all of it: a rebuild, a comparison."""

from types import TracebackType
from typing import Self


class Present:
    """What is at hand for as long as the block goes on."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> Self:
        """Begin with nothing."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back all that was loaded."""

    async def ensure(self, low: int, high: int) -> None:
        """Let the log hold every event of `(low, high]`; give back the parts below."""
