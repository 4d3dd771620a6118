"""An SMTP server that keeps what it takes, a line a mail, on disk before it answers. As a process it can be killed.

python -m tests.newsletter.sink PORT FILE
"""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

Answer = Callable[[str], str]


def says_250(_recipient: str) -> str:
    return "250 ok"


class Sink:
    """Keeps mails as (recipient, message); `mail` answers each sender, `rcpt` each recipient, `data` each message."""

    def __init__(self, keep: Path | None = None, rcpt: Answer = says_250, data: Answer = says_250) -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.tried: list[str] = []
        self.mail = "250 ok"
        self.rcpt = rcpt
        self.data = data
        self.seconds = 0.0
        self.open_connections = 0
        self._keep = keep
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; give the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=2**22)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    def to(self, address: str) -> list[bytes]:
        """Give the mails to an address."""
        return [message for recipient, message in self.mails if recipient == address]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            writer.write(b"220 sink ESMTP\r\n")
            recipients: list[str] = []
            while line := await reader.readline():
                reply = await self._reply(line, recipients, reader, writer)
                if reply == "lost":
                    break
                writer.write(reply.encode() + b"\r\n")
                if reply.startswith("221"):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    async def _reply(
        self, line: bytes, recipients: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> str:
        match line[:4].upper():
            case b"EHLO":
                return "250-sink\r\n250 PIPELINING"
            case b"MAIL" | b"RSET":
                recipients.clear()
                return self.mail if line[:4].upper() == b"MAIL" else "250 ok"
            case b"RCPT":
                found = re.search(rb"<([^>]*)>", line)
                assert found is not None
                self.tried.append(found[1].decode())
                reply = self.rcpt(found[1].decode())
                if reply.startswith("250"):
                    recipients.append(found[1].decode())
                return reply
            case b"DATA":
                writer.write(b"354 go on\r\n")
                message = await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self.seconds)
                return self._take(recipients, message)
            case b"QUIT":
                return "221 bye"
        return "250 ok"

    def _take(self, recipients: list[str], message: bytes) -> str:
        reply = self.data(recipients[0])
        if reply.startswith("250") or reply == "lost":
            message = message.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
            self.mails += [(recipient, message) for recipient in recipients]
            if self._keep is not None:
                self._write(recipients, message)
        return reply

    def _write(self, recipients: list[str], message: bytes) -> None:
        assert self._keep is not None
        found = re.search(rb"(?im)^message-id: (\S+)", message)
        assert found is not None
        lines = "".join(f"{recipient} {found[1].decode()}\n" for recipient in recipients)
        descriptor = os.open(self._keep, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, lines.encode())
        os.close(descriptor)


async def _main(port: int, file: Path) -> None:
    sink = Sink(file)
    sink.seconds = 0.005  # a relay takes its time, and a kill finds mails under way
    await sink.start(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2])))
