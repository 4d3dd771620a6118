"""A small file system with a tablespace of a PostgreSQL on it, to be filled; only root can mount one."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.support import servers

SETTINGS = ("default_tablespace", "temp_tablespaces")
"""The settings of a database that name the tablespace of what it makes from now on."""
_SMALLEST = 8_192


class Disk:
    """A mounted folder, and the tablespace in it."""

    space = "small"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self) -> None:
        """Leave no page of room."""
        with (self._folder / "ballast").open("ab") as file:
            while (free := os.statvfs(self._folder)).f_bavail * free.f_frsize >= _SMALLEST:
                file.write(bytes(_SMALLEST // 2))
                file.flush()

    def empty(self) -> None:
        """Give the room back."""
        (self._folder / "ballast").unlink()


@asynccontextmanager
async def small_disk(postgres: servers.Postgres, megabytes: int) -> AsyncIterator[Disk]:
    """Mount a small disk for a while, with a tablespace of this server. Skips the test where that isn't allowed."""
    with mounted(megabytes) as folder:
        space, owner = folder / "space", postgres.folder.stat()
        space.mkdir()
        os.chown(space, owner.st_uid, owner.st_gid)
        await servers.execute(postgres.dsn(), f"create tablespace {Disk.space} location '{space}'")
        yield Disk(folder)
        await servers.execute(postgres.dsn(), f"drop tablespace {Disk.space}")


@contextmanager
def mounted(megabytes: int) -> Iterator[Path]:
    """Mount a small disk for a while; give its folder. Skips the test where that isn't allowed."""
    folder = Path(tempfile.mkdtemp(prefix="bp-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("only root can mount a small file system to fill")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()
