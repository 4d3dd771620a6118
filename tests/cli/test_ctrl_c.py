"""Ctrl-C ends each command of the shell."""

import asyncio
import os
import signal
import threading

import pytest

from services.cli.database import asynchronous

LOST = 3
"""So many cancellations are lost in the test; asyncpg loses one at a time."""


def test_it_ends_a_command_whose_cancellation_is_lost() -> None:
    """Python 3.11's asyncpg can lose a cancellation; a command that goes on regardless is told again until it ends."""
    lost = []

    @asynchronous
    async def command() -> None:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        while len(lost) < LOST:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(True)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        command()
    assert len(lost) == LOST


def test_what_a_command_returns_and_raises_is_passed_on() -> None:
    """A command's result and its failure are the caller's."""

    @asynchronous
    async def command(divisor: int) -> int:
        return 6 // divisor

    assert command(2) == 3
    with pytest.raises(ZeroDivisionError):
        command(0)
