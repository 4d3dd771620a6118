"""Where the suite keeps what ends with it: in memory, if there is room; a test's database is cloned ten times as fast there."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - the folders in it have names of their own
ENOUGH = 4 << 30
"""Bytes that must be free in memory: several times what the suite was seen to need at once."""


def folder() -> Path:
    """Return the folder for temporary files. Its path is short, because a Unix socket's path has at most 107 bytes."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
        return MEMORY
    return Path("/tmp")  # noqa: S108


def use() -> None:
    """Keep this process's temporary files, and those of all it starts, in that folder."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder())
