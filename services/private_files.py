"""Files for their owner alone: written with mode 0600, and never through a name or with a content that others may have left.

Standard library only, because the guard of `up` must start fast and stay small.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class NotOurs(Exception):
    """A file or folder belongs to somebody else, or others may write it; the message is one sentence."""


def must_be_ours(path: Path, *, is_folder: bool = False) -> None:
    """Check that a path that exists is a plain file (or a folder) of ours or root's that nobody else may write.

    Raises NotOurs.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    kind, right = ("folder", stat.S_ISDIR) if is_folder else ("plain file", stat.S_ISREG)
    if not right(found.st_mode):
        raise NotOurs(f"{path} is no {kind}: remove it, or name another home by --home")
    if found.st_uid not in (0, os.geteuid()):
        raise NotOurs(f"{path} belongs to another user: run this as its owner, or name another home by --home")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NotOurs(f"Others may write {path}: if all in it is yours, run chmod go-w {path}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file of mode 0600 to write. It gets its name when it is whole and on disk; a failure leaves no trace."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step; after a crash it is whole or absent."""
    with replacing(path) as file:
        file.write(text.encode())
