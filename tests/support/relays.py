"""Relays that misbehave as they are told to."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

MAIL = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"
SENDER, RECIPIENT = "bounces@example.com", "ana@example.com"

Reply = bytes | Sequence[bytes] | None
"""What to say in a line, or in pieces that come one after the other with nothing added; None hangs up."""

PLAIN_REPLIES = {
    "CONNECT": b"220 relay.example.com ESMTP",
    "EHLO": b"250-relay.example.com\r\n250-8BITMIME\r\n250 SIZE 1000000",
    "DATA": b"354 go ahead",
    "DOT": b"250 2.0.0 kept",
    "QUIT": b"221 bye",
}


class ScriptedRelay:
    """Answers each verb by the script (CONNECT, EHLO, MAIL, RCPT, DATA, BODY, DOT, RSET, QUIT), else as a good relay does.

    A script's function gets the verb and the line and returns what to say, None to hang up, or "usual". BODY is asked when the
    first line of the mail has come.
    """

    def __init__(self, script: Callable[[str, bytes], Reply | str]) -> None:
        self._script = script
        self.mails: list[bytes] = []
        self.recipients: list[bytes] = []
        self.verbs: list[str] = []
        self.connections = 0
        self.most_at_once = 0
        self._now = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with one client."""
        self.connections += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self._open.add(writer)
        with contextlib.suppress(OSError, RuntimeError, asyncio.IncompleteReadError):  # uvloop raises RuntimeError
            await self._converse(reader, writer)
        self._now -= 1
        self._open.discard(writer)
        writer.close()

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in list(self._open):
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "CONNECT", b""):
            return
        while line := await reader.readline():
            verb = line[:4].decode("latin-1").strip().upper()
            if verb == "RCPT":
                self.recipients.append(line[8:].strip())
            if not await self._say(writer, verb, line) or verb == "QUIT":
                return
            if verb == "DATA" and self._last.startswith(b"354") and not await self._take(reader, writer):
                return

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line.removeprefix(b".") if line.startswith(b".") else line)
            if len(lines) == 1 and self._script("BODY", line) is None:
                return False
        self.mails.append(b"".join(lines))
        return await self._say(writer, "DOT", b"")

    async def _say(self, writer: asyncio.StreamWriter, verb: str, line: bytes) -> bool:
        self.verbs.append(verb)
        reply = self._script(verb, line)
        if reply is None:
            return False
        if isinstance(reply, str):
            reply = PLAIN_REPLIES.get(verb, b"250 ok")
        pieces = [reply + b"\r\n"] if isinstance(reply, bytes) and reply else [] if isinstance(reply, bytes) else reply
        self._last = b"".join(pieces)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.001)
        return True


@asynccontextmanager
async def relay(
    script: Callable[[str, bytes], Reply | str] = lambda verb, line: "usual", tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedRelay]:
    """Run a relay on a free port of loopback."""
    scripted = ScriptedRelay(script)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        scripted.hang_up()
        server.close()
        await server.wait_closed()


def saying(**replies: Reply) -> Callable[[str, bytes], Reply | str]:
    """Return a script with these replies."""
    return lambda verb, line: replies.get(verb, "usual")
