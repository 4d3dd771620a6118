"""Send mails to a relay over a few connections that are kept, one recipient a mail, and return the outcome of each.

A connection lost before the final dot left no mail behind; one lost after it may have. Replies are kept as
codes alone, because their texts hold addresses; `refusals` judges the texts before that.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable
from types import TracebackType
from typing import Literal, Self, cast

import aiosmtplib
import msgspec
from aiosmtplib.protocol import SMTPProtocol

from emails.refusals import Verdict, judge, puts_off_mailbox, throttles
from emails.relay_url import RelayUrl, parse_relay_url

Kind = Literal["accepted", "rejected", "deferred", "not_sent", "uncertain"]
Stage = Literal["connect", "sender", "recipient", "data"]

SLOW_DOWN = frozenset({421, 450, 451, 452, 454})
MAILS_PER_CONNECTION = 100
IDLE_SECONDS = 30.0
"""Seconds for which an unused connection is taken to be open."""
UNREACHABLE_SECONDS = 1.0
"""Seconds after a failed attempt during which no other is made."""

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
_LOST = (OSError, aiosmtplib.SMTPException, EOFError, UnicodeError)  # time-outs are OSErrors

logger = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a mail.

    `rejected`: refused for good, at RCPT or after DATA. `deferred`: refused for now, or the relay refuses us whatever the mail.
    `not_sent`: the connection failed while nothing could have been accepted. `uncertain`: it failed after the final dot.
    """

    kind: Kind
    code: int | None = None
    slow_down: bool = False
    stage: Stage = "data"
    status: str | None = None
    """The reply's enhanced status code (RFC 3463), such as 5.1.1."""

    verdict: Verdict | None = None
    """Whom the relay blames, if it refused the mail for good."""

    throttled: bool = False
    """Whether the reader's provider, whose answer the relay passes on, wants less mail from us."""

    @property
    def whole_relay(self) -> bool:
        """Return whether the next mail, to any reader, would most likely fare the same."""
        return self.stage in ("connect", "sender") or self.code == 454 or (self.code == 421 and not self.throttled)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds for each phase; after the final dot RFC 5321 4.5.3.2 asks for patience, as giving up there leaves a doubt."""

    connect: float = 15
    command: float = 60
    body: float = 180
    final: float = 600


class Relay:
    """A relay and at most `connections` connections to it; closed by leaving it as a context or by `close`."""

    def __init__(
        self,
        url: str,
        connections: int,
        *,
        hello: str | None = None,
        timeouts: Timeouts | None = None,
        mails_per_connection: int = MAILS_PER_CONNECTION,
    ) -> None:
        self._url = parse_relay_url(url)
        self._hello = hello
        self._timeouts = timeouts or Timeouts()
        self._mails_per_connection = mails_per_connection
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._unreachable: tuple[float, Outcome] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, sender: str, recipient: str, message: bytes) -> Outcome:
        """Send one mail and return its outcome. Raises ValueError, before anything is sent, unless it is 7-bit with CRLF."""
        body = _stuffed(message)
        async with self._free:
            while True:
                connection = self._reuse()
                fresh = connection is None
                if connection is None:
                    connected = await self._connect()
                    if isinstance(connected, Outcome):
                        return connected
                    connection = connected
                outcome = await self._deliver(connection, sender.encode("ascii"), recipient.encode("ascii"), body)
                if fresh or outcome.kind != "not_sent" or outcome.stage != "sender":
                    return outcome

    async def close(self) -> None:
        """Send QUIT on every idle connection and close it."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.quit() for connection in idle))

    def _reuse(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.drop()
        return None

    async def _connect(self) -> "_Connection | Outcome":
        now = asyncio.get_running_loop().time()
        if self._unreachable is not None and now < self._unreachable[0]:
            return self._unreachable[1]
        try:
            connection = await _connected(self._url, self._hello, self._timeouts)
        except _LOST as error:
            code = error.code if isinstance(error, aiosmtplib.SMTPResponseException) and error.code // 100 in (4, 5) else None
            logger.warning("no connection to the relay %s: %s, code %s", self._url.host, type(error).__name__, code)
            verdict: Verdict | None = "ours" if code is not None and code >= 500 else None
            kind: Kind = "not_sent" if code is None else "deferred"
            outcome = Outcome(kind, code, slow_down=code is not None, stage="connect", verdict=verdict)
            self._unreachable = (asyncio.get_running_loop().time() + UNREACHABLE_SECONDS, outcome)
            return outcome
        self._unreachable = None
        return connection

    async def _deliver(self, connection: "_Connection", sender: bytes, recipient: bytes, body: bytes) -> Outcome:
        try:
            outcome = await connection.deliver(sender, recipient, body)
        except BaseException:  # cancelled midway: the relay's next reply would answer another command
            connection.drop()
            raise
        if connection.is_usable() and connection.sent < self._mails_per_connection:
            self._idle.append(connection)
        elif connection.is_usable():
            await connection.quit()
        else:
            connection.drop()
        return outcome


async def _connected(url: RelayUrl, hello: str | None, timeouts: Timeouts) -> "_Connection":
    client = aiosmtplib.SMTP(
        hostname=url.host,
        port=url.port,
        username=url.username,
        password=url.password,
        local_hostname=hello,
        timeout=timeouts.connect,
        use_tls=url.security == "tls",
        start_tls=True if url.security == "starttls" else None,
        validate_certs=url.verified,
    )
    await client.connect()
    if client.is_ehlo_or_helo_needed:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError:
            await client.helo()
    return _Connection(client, timeouts)


class UnexpectedReply(aiosmtplib.SMTPException):
    """The relay sent a reply out of sequence; the connection can't be reused."""


class _Connection:
    """One connection, greeted and logged in."""

    def __init__(self, client: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        if client.protocol is None or client.protocol.transport is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        self.sent = 0
        self._client = client
        self._protocol: SMTPProtocol = client.protocol
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        # Next to no buffer, so that the writer knows when all of it has been sent; under TLS, 0 would mean never.
        transport = cast(asyncio.WriteTransport, client.protocol.transport)
        transport.set_write_buffer_limits(high=1, low=0)
        self._writer = asyncio.StreamWriter(transport, client.protocol, None, self._loop)

    def is_usable(self) -> bool:
        """Return whether the connection is open and was used lately."""
        return self._protocol.is_connected and self._loop.time() - self._used < IDLE_SECONDS

    def drop(self) -> None:
        """Close the connection without QUIT."""
        self._client.close()

    async def quit(self) -> None:
        """Send QUIT and close the connection, whatever the relay answers."""
        try:
            await self._protocol.execute_command(b"QUIT", timeout=2)
        except _LOST:
            pass
        finally:
            self.drop()

    async def deliver(self, sender: bytes, recipient: bytes, body: bytes) -> Outcome:
        """Send a mail; the connection is closed if it can't be used again."""
        self.sent += 1
        stage: Stage = "sender"
        try:
            code, outcome = await self._command(b"MAIL FROM:<%s>" % sender, stage)
            if outcome is None:
                stage = "recipient"
                code, outcome = await self._command(b"RCPT TO:<%s>" % recipient, stage)
            if outcome is None:
                stage = "data"
                code, outcome = await self._command(b"DATA", stage, expected=3)
            if outcome is not None:
                await self._begin_anew(code)
                return outcome
            await self._write(body)
        except _LOST:
            self.drop()
            return Outcome("not_sent", stage=stage)
        return await self._finish()

    async def _command(self, command: bytes, stage: Stage, expected: int = 2) -> tuple[int, Outcome | None]:
        """Send a command; return the reply's code, and the mail's outcome if it was refused."""
        if self._protocol._buffer:  # said unasked, such as 421 before a hang-up
            raise UnexpectedReply("a reply before the command")
        code, text = await self._reply(self._protocol.execute_command(command, timeout=self._timeouts.command))
        return code, _refusal(code, text, stage, expected)

    async def _reply(self, reply: Awaitable[aiosmtplib.SMTPResponse]) -> aiosmtplib.SMTPResponse:
        response = await reply
        if self._protocol._buffer:  # a second reply would be taken for the answer to the next command
            raise UnexpectedReply("more than one reply")
        self._used = self._loop.time()
        return response

    async def _write(self, body: bytes) -> None:
        """Send everything except the final dot, and check that it was sent while the connection was open."""
        self._protocol.write(body)
        async with asyncio.timeout(self._timeouts.body):
            await self._writer.drain()
        await asyncio.sleep(0)  # lets a hang-up that has arrived be noticed
        if not self._protocol.is_connected:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")

    async def _finish(self) -> Outcome:
        """Send the final dot. From here on the mail may have been accepted, even if the connection fails."""
        try:
            self._protocol.write(b".\r\n")
            code, text = await self._reply(self._protocol.read_response(timeout=self._timeouts.final))
            outcome = _refusal(code, text, "data", expected=2)
        except _LOST:
            self.drop()
            return Outcome("uncertain")
        if code == 421:
            self.drop()
        return outcome or Outcome("accepted", code, status=_status(text))

    async def _begin_anew(self, code: int) -> None:
        if code == 421:
            return self.drop()
        try:
            reset, _ = await self._reply(self._protocol.execute_command(b"RSET", timeout=self._timeouts.command))
        except _LOST:
            reset = 0
        if reset // 100 != 2:
            self.drop()


def _refusal(code: int, text: str, stage: Stage, expected: int) -> Outcome | None:
    """Return a mail's outcome after this reply, None if it goes on. Raises UnexpectedReply."""
    kind = code // 100
    if kind == expected:
        return None
    if kind == 4:
        throttled = stage in ("recipient", "data") and code != 454 and throttles(text, code)
        slow_down = throttled or (code in SLOW_DOWN and not puts_off_mailbox(text))
        return Outcome("deferred", code, slow_down, stage, _status(text), throttled=throttled)
    if kind == 5 and stage == "sender":  # every mail has this sender, so the reader is not refused
        return Outcome("deferred", code, True, stage, _status(text), "ours")
    if kind == 5:
        return Outcome("rejected", code, False, stage, _status(text), judge(text, code=code).verdict)
    raise UnexpectedReply("an unexpected reply")


def _status(text: str) -> str | None:
    found = _STATUS.match(text)
    return found and found[0]


def _stuffed(message: bytes) -> bytes:
    """Return the mail as it is sent, without the final dot (RFC 5321 4.5.2)."""
    ends = message.count(b"\r\n")
    if not message.isascii() or message.count(b"\n") != ends or message.count(b"\r") != ends or not message.endswith(b"\r\n"):
        raise ValueError("a mail is 7-bit, in lines that end in CRLF")
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed
