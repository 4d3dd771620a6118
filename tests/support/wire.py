"""Hostile requests as bytes, and a caller that sends many of them at once over plain sockets and notes what comes back."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

LINES: Final = (
    b"GET / HTTP/1.1",
    b"POST /v1/visitors HTTP/1.1",
    b"PUT /v1/tools/a/vote HTTP/1.1",
    b"GET /v1/tools?limit=2 HTTP/1.1",
)
HOST: Final = b"Host: site.test\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"

BROKEN_FRAMES: Final = (
    b"zz\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcX\r\n0\r\n\r\n",
    b"-1\r\nabc\r\n",
    b"ffffffffffffffffff\r\nabc\r\n",
    b"3;" + b"x" * 20_000 + b"\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX" + b"y" * 20_000 + b"\r\n\r\n",
)
ODD_HEADS: Final = (
    b"",
    HOST + HOST,
    HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n",
    HOST + b"Content-Length: 5\r\n" + CHUNKED,
    HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    HOST + b"Transfer-Encoding: identity\r\n",
    HOST + b"Content-Length: 18446744073709551616\r\n",
    HOST + b"Cookie: " + b";" * 300_000 + b"\r\n",
    HOST + b"X: " + b"a" * 40_000 + b"\r\n",
    HOST + b"X: a\r\n" * 200,
    HOST + b"X\x00: a\r\n",
    HOST + b" folded: a\r\n",
    HOST + b"Expect: 100-continue\r\nContent-Length: 4\r\n",
    HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n",
)


class Attack(NamedTuple):
    """The bytes of one connection, sent at once or in pieces, each a moment after the one before; then silence."""

    kind: str
    pieces: Sequence[bytes]


def draw(random_: random.Random) -> Attack:
    """Draw one hostile connection."""
    kind = random_.choice(["silent body", "slow body", "broken frame", "odd head", "junk", "half a head", "large body"])
    line = random_.choice(LINES) + b"\r\n"
    match kind:
        case "silent body":
            return Attack(kind, [line + HOST + b"Content-Length: %d\r\n\r\n" % random_.choice([1, 5_000, 65_000, 99_999_999])])
        case "slow body":
            return Attack(kind, [line + HOST + b"Content-Length: 60000\r\n\r\n", *[b"x"] * 100])
        case "broken frame":
            return Attack(kind, [line + HOST + CHUNKED + b"\r\n" + random_.choice(BROKEN_FRAMES)])
        case "odd head":
            return Attack(kind, [line + random_.choice(ODD_HEADS) + b"\r\n"])
        case "junk":
            return Attack(kind, [random_.randbytes(random_.randrange(1, 4000)) + b"\r\n\r\n"])
        case "half a head":
            return Attack(kind, [line + HOST[: random_.randrange(len(HOST))]])
    return Attack(kind, [line + HOST + b"Content-Length: 3000000\r\n\r\n" + b"x" * 200_000])


class Result(NamedTuple):
    """What came back: the status of the first answer, 0 for a connection closed without one, and the seconds it took."""

    kind: str
    status: int
    seconds: float


async def attack(port: int, number: int, seed: int, at_once: int = 400) -> list[Result]:
    """Make so many hostile connections, some at once; each waits until the other side closes or its first answer is over."""
    random_ = random.Random(seed)
    attacks = iter([draw(random_) for _ in range(number)])
    found: list[Result] = []

    async def go_on() -> None:
        for one in attacks:
            found.append(await _send(port, one))

    await asyncio.gather(*(go_on() for _ in range(min(at_once, number))))
    return found


def is_read(connection: socket.socket) -> bool:
    """Return whether a server of this machine has accepted a connection, and read all that was sent to it."""
    ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_, inode = line.split()[:10]
        if (int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)) == (theirs, ours):
            return inode != "0" and int(queues.partition(":")[2], 16) == 0
    return False


async def _send(port: int, one: Attack) -> Result:
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = loop.time()
    sending = asyncio.create_task(_write(writer, one.pieces))
    try:
        answer = await reader.read(4096)
        while answer.startswith(b"HTTP/1.1 100"):
            answer = answer.partition(b"\r\n\r\n")[2] or await reader.read(4096)
    except ConnectionError:
        answer = b""
    took = loop.time() - began
    sending.cancel()
    writer.transport.abort()
    return Result(one.kind, int(answer[9:12]) if answer.startswith(b"HTTP/1.") else 0, took)


async def _write(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.2)
    except ConnectionError:
        return


def told(found: Sequence[Result]) -> str:
    """Say what came back, by kind."""
    lines = [
        f"{kind} {status}: {number}" for (kind, status), number in sorted(Counter((r.kind, r.status) for r in found).items())
    ]
    return "\n".join([*lines, f"longest {max(result.seconds for result in found):.1f} s"])
