"""A server that is away is named, with the setting that leads to it."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import pytest
import rich_click as click

from events.log import postgres
from services import valkey
from services.cli import COMMANDS
from services.cli.database import asynchronous
from services.cli.errors import sentence
from tests.support.shell import Ran, run_inside

POSTGRES, VALKEY = "PostgreSQL (DATABASE_URL)", "Valkey (REDIS_URL)"


async def connect(address: str) -> None:
    """Connect to PostgreSQL."""
    await postgres.connect(f"postgresql://nobody@{address}/none", "test")


async def ping(address: str) -> None:
    """Ask Valkey."""
    async with valkey.client(f"redis://{address}/0", socket_timeout=0.2) as client:
        await client.ping()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address at which nobody ever answers."""
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def said(ask: Callable[[str], Awaitable[None]], address: str) -> str | None:
    """Return the sentence for what asking there raises."""
    with pytest.raises(Exception) as failed:
        asyncio.run(ask(address))  # type: ignore[arg-type]
    return sentence(failed.value)


def test_a_server_that_is_down_is_named() -> None:
    """Refused connections, and sockets that aren't there."""
    assert (said(connect, "127.0.0.1:1") or "").startswith(f"{POSTGRES} cannot be reached: ")
    assert (said(connect, "%2Fnonexistent") or "").startswith(f"{POSTGRES} cannot be reached: No such file")
    assert (said(ping, "127.0.0.1:1") or "").startswith("Valkey cannot be used: ")


def test_a_server_that_hangs_is_named(silent: str) -> None:
    """Nothing comes in time."""
    assert said(connect, silent) == f"{POSTGRES} did not answer in time"
    assert (said(ping, silent) or "").startswith("Valkey cannot be used: Timeout")


def test_a_host_that_is_not_known_is_named() -> None:
    """A name that leads nowhere."""
    assert (said(connect, "nowhere.invalid") or "").startswith(f"The host of {POSTGRES} is not known: ")


def test_a_server_without_a_free_connection_says_which_setting_raises_that() -> None:
    """It is neither down nor slow."""
    full = asyncpg.TooManyConnectionsError("sorry, too many clients already")
    assert "`max_connections`" in (sentence(full) or "")


def test_what_came_from_nowhere_we_know_is_no_servers() -> None:
    """An error of something else isn't blamed on either."""
    assert sentence(ConnectionResetError("gone")) == "A server cannot be reached: gone"


@click.command()
@asynchronous
async def cut() -> None:
    """Leave a server by a session whose pipe is broken."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    with socket.socket(fileno=os.dup(connection._transport.get_extra_info("socket").fileno())) as same:
        same.shutdown(socket.SHUT_WR)
    await connection.close()


async def test_a_pipe_to_a_server_that_breaks_is_no_silence(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told like any other server that is away, and not taken for a reader of the output that has left."""
    monkeypatch.setitem(COMMANDS, "cut", f"{__name__}:cut")
    ran = Ran(run_inside(("cut",), b"", {"DATABASE_URL": dsn}))
    ran.failed(f"{POSTGRES} cannot be reached: ", "Broken pipe")
