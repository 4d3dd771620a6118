"""A way to PostgreSQL that breaks when told to: before a statement reaches it, under way, or before its answer is back."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias

Moment: TypeAlias = Literal["before the server", "under way", "before the caller"]

SOCKET = ".s.PGSQL.5432"


class Way:
    """A socket that leads to a server's, and breaks once at `breaks`."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self._server = server
        self.breaks: Moment | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection's bytes both ways until an end, or the break."""
        answers, statements = await asyncio.open_unix_connection(self._server / SOCKET)
        back = asyncio.create_task(self._carry(answers, writer, is_back=True))
        await self._carry(reader, statements, is_back=False)
        statements.close()
        await back

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_back: bool) -> None:
        while sent := await reader.read(2**16):
            if self.breaks == ("before the caller" if is_back else "before the server"):
                break
            writer.write(sent)
            if not is_back and self.breaks == "under way":
                break
        else:
            writer.close()
            return
        self.breaks = None
        if is_back:
            writer.transport.abort()
        else:
            writer.close()
            reader._transport.abort()  # type: ignore[attr-defined]


@asynccontextmanager
async def way_to(dsn: str, server: Path) -> AsyncIterator[tuple[Way, str]]:
    """Open a way to a server, and give it with a DSN that takes it."""
    with tempfile.TemporaryDirectory(prefix="bp-way-") as name:
        way = Way(Path(name), server)
        async with await asyncio.start_unix_server(way.serve, way.folder / SOCKET):
            yield way, dsn.replace(str(server), name)
