"""What runs of `archive` that were killed left in folders: the next run there takes it away."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OLD_SECONDS: Final = 86_400.0
"""Nothing younger is taken away: its run may still be writing."""
SPOOL: Final = "ballotpress-archive-"
"""How a folder begins in which a file is made."""


def clear(folder: Path, pattern: str) -> None:
    """Remove what this user's killed runs left under such names in a folder; what can't be removed stays."""
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            if _is_left(path):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Return whether all of it is ours, and nothing of it was written for a day."""
    found = [one.lstat() for one in _all_of(path)]
    return all(one.st_uid == os.getuid() and time.time() - one.st_mtime > OLD_SECONDS for one in found)


def _all_of(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.iterdir()
