"""The signer's second memory: the last checkpoint in a file, outside the database, so that a restored backup shows.

It is on the disk before anybody is served the checkpoint. Several hosts share it where they share its folder.
"""

import os
from pathlib import Path

from services.private_files import replacing
from services.proof.checkpoint import Checkpoint, read_text
from services.proof.note import NoteRefused, read_note


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
        """Write a checkpoint; it is on the disk when this returns. Raises MemoryUnusable."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self.path) as file:
                file.write(checkpoint.note.encode())
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise MemoryUnusable(
                f"{self.path} can't be written ({error.strerror}): name another file in BALLOTPRESS_CHECKPOINT_FILE"
            ) from None
