"""Mails a second to a sink in C: filled for each reader and sent by us, against bare aiosmtplib sending bytes made before."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import aiosmtplib
import uvloop

from emails.message import Reader, prepare
from emails.rendering import render_own, render_shared
from emails.smtp import Relay
from tests.benchmarks.table import Row, pairs
from tests.support.mails import BOOKMARKED, BOOKMARKS, CONTENT, LIST_ID, MANAGE, READER, SENDER, UNSUBSCRIBE, WHEN

CONNECTIONS = 8


@contextmanager
def sink() -> Iterator[int]:
    """Run Postfix's smtp-sink on a free port; it answers and throws away."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    if program is None:
        raise RuntimeError("smtp-sink is missing: it comes with Debian's package postfix")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{port}", "100"]) as process:
        try:
            _wait(port)
            yield port
        finally:
            process.terminate()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 5
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


async def rate(port: int, seconds: float, connections: int = CONNECTIONS) -> float:
    """Fill and send digests, all different, as a worker does but without its ledger; return mails a second."""
    prepared = prepare(render_shared(CONTENT), SENDER, LIST_ID)
    end = time.perf_counter() + seconds

    async def lane(relay: Relay, name: int) -> int:
        count = 0
        while time.perf_counter() < end:
            reader = Reader(
                f"reader-{name}-{count}@example.com",
                f"<12.{name}.{count}@example.com>",
                WHEN,
                UNSUBSCRIBE,
                MANAGE,
                render_own(BOOKMARKED, BOOKMARKS),
            )
            outcome = await relay.send("bounces@example.com", reader.address, prepared.fill(reader))
            if outcome.kind != "accepted":
                raise RuntimeError(f"the sink didn't take a mail: {outcome}")
            count += 1
        return count

    async with Relay(f"smtp://127.0.0.1:{port}", connections) as relay:
        return await _timed(lane(relay, name) for name in range(connections))


async def bare_rate(port: int, seconds: float, connections: int = CONNECTIONS, message: bytes | None = None) -> float:
    """Send one mail (of the sample's size, if none is given) again and again by bare aiosmtplib; return mails a second."""
    if message is None:
        message = prepare(render_shared(CONTENT), SENDER, LIST_ID).fill(READER._replace(own=render_own(BOOKMARKED, BOOKMARKS)))
    end = time.perf_counter() + seconds

    async def lane() -> int:
        count = 0
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as client:
            while time.perf_counter() < end:
                await client.sendmail("bounces@example.com", [READER.address], message)
                count += 1
        return count

    return await _timed(lane() for _ in range(connections))


async def _timed(lanes: Iterable[Coroutine[Any, Any, int]]) -> float:
    begun = time.perf_counter()
    counts = await asyncio.gather(*lanes)
    return sum(counts) / (time.perf_counter() - begun)


def measure(seconds: float = 4, runs: int = 5) -> list[Row]:
    """Measure in pairs."""
    with sink() as port:
        ratio, detail = pairs(_running(rate, port, seconds), _running(bare_rate, port, seconds), runs)
    return [Row("mails filled and sent, without the ledger, against bare aiosmtplib", 0.6, ratio, detail)]


def _running(rated: Callable[[int, float], Coroutine[Any, Any, float]], port: int, seconds: float) -> Callable[[], float]:
    return lambda: uvloop.run(rated(port, seconds))
