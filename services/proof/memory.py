"""The signer's second memory: the last checkpoint in a file, outside the database, so that a restored backup shows.

It is on the disk before anybody is served the checkpoint. Several hosts share it where they share its folder.
"""

import os
from pathlib import Path
from typing import Final

from services.private_files import replacing
from services.proof.checkpoint import Checkpoint, read_text
from services.proof.note import NoteRefused, read_note

SECTOR: Final = 512
"""Bytes."""


class MemoryUnusable(Exception):
    """The file can't be read or written; the message is one sentence that says what to do."""


class Memory:
    """The file of the last checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Checkpoint | None:
        """Return the checkpoint in the file, None without a file. Raises MemoryUnusable."""
        try:
            return read_text(read_note(self.path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MemoryUnusable(
                f"{self.path} can't be read ({error.strerror}): mend that, or name another file in BALLOTPRESS_CHECKPOINT_FILE"
            ) from None
        except NoteRefused as error:
            raise MemoryUnusable(
                f"{self.path} holds no checkpoint ({error}): put the last published one into it, or remove it"
            ) from None

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; it is on the disk when this returns. Raises MemoryUnusable.

        One as long as the last takes its place without a new file: the file system's journal, which commits of votes share,
        has nothing to write then.
        """
        note = checkpoint.note.encode()
        try:
            if _overwritten(self.path, note):
                return
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self.path) as file:
                file.write(note)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise MemoryUnusable(
                f"{self.path} can't be written ({error.strerror}): name another file in BALLOTPRESS_CHECKPOINT_FILE"
            ) from None


def _overwritten(path: Path, note: bytes) -> bool:
    """Write a note over one of the same length, if it fits into a sector, which a disk writes whole; return whether it did."""
    if len(note) > SECTOR:
        return False
    try:
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(file).st_size != len(note):
            return False
        os.pwrite(file, note, 0)
        os.fdatasync(file)
    finally:
        os.close(file)
    return True
