"""A folder of backups: each a folder named by its time, whole if it has that name, with a manifest of hashes; and the WAL.

Beside them stand `wal-…`, a folder for each time that archiving began anew, and the keys of the encryption, if it is on.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

MANIFEST: Final = "manifest.json"
BASE: Final = "base.tar.gz"
SECRETS: Final = "secrets"
TOKEN: Final = "operator.token"  # noqa: S105 - a file's name
SEALED: Final = ".age"
PREFIX: Final = "backup-"
WAL: Final = "wal-"
PART: Final = ".part"
BLOCK: Final = 2**20


class BackupUnusable(Exception):
    """A backup can't be made, read or restored; the message is one sentence that says what to do."""


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a backup: its bytes and their SHA-256, as they lie on the disk."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: the log at least up to `position`, and no more than up to `end_position`.

    `start_segment` is the first file of WAL that it needs. It holds the keys of whoever was erased after `position`.
    """

    format: int
    release: str
    began_at: datetime
    finished_at: datetime
    position: int
    end_position: int
    migration: int
    start_segment: str
    encrypted: bool
    files: Mapping[str, StoredFile]


class Backup(msgspec.Struct, frozen=True):
    """A whole backup in its folder."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Its name, which tells when it was begun."""
        return self.path.name

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(file.bytes for file in self.manifest.files.values())

    def file(self, name: str) -> Path | None:
        """Return the path of a file, sealed or not; None if the backup has none of that name."""
        return next((self.path / kept for kept in (name, name + SEALED) if kept in self.manifest.files), None)


_manifest = msgspec.json.Decoder(Manifest)


def backups_in(folder: Path) -> list[Backup]:
    """Return the whole backups of a folder, oldest first. Raises BackupUnusable."""
    if not folder.is_dir():
        raise BackupUnusable(f"There is no folder {folder}")
    return [read_backup(path) for path in sorted(folder.glob(f"{PREFIX}*")) if (path / MANIFEST).is_file()]


def read_backup(path: Path) -> Backup:
    """Return the backup in a folder. Raises BackupUnusable."""
    try:
        manifest = _manifest.decode((path / MANIFEST).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupUnusable(f"{path / MANIFEST} can't be read ({error}): choose another backup") from None
    if manifest.format != 1:
        raise BackupUnusable(f"{path} was made by a later release ({manifest.release}): restore it by that one")
    return Backup(path, manifest)


def archives_in(folder: Path) -> Sequence[Path]:
    """Return the folders of archived WAL, oldest first."""
    return sorted(folder.glob(f"{WAL}*"))


def named_now(prefix: str, at: datetime) -> str:
    """Return the name of something that begins now."""
    return f"{prefix}{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def check(backup: Backup) -> None:
    """Read a backup's files whole and compare their hashes. Raises BackupUnusable."""
    for name, stored in backup.manifest.files.items():
        if stored_file(backup.path / name) != stored:
            raise BackupUnusable(
                f"{backup.path / name} isn't what was written: the disk or somebody changed it; choose another backup"
            )


def stored_file(path: Path) -> StoredFile:
    """Return the bytes and hash of a file, as the disk has it. Raises BackupUnusable."""
    digest, count = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while block := file.read(BLOCK):
                digest.update(block)
                count += len(block)
    except OSError as error:
        raise BackupUnusable(f"{path} can't be read ({error.strerror}): choose another backup") from None
    return StoredFile(count, digest.hexdigest())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let nobody else write into a folder of backups; make it if it alone is missing. Raises BackupUnusable."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise BackupUnusable(f"The folder {folder.parent} isn't there: mount it, or make it") from None
    except OSError as error:
        raise BackupUnusable(f"{folder} can't be written ({error.strerror}): name another folder") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise BackupUnusable(f"Another backup is being written into {folder}: wait until it is done") from None
    try:
        for left in folder.glob(f".{PREFIX}*{PART}"):
            remove(left)
        yield
    finally:
        os.close(lock)


def remove(folder: Path) -> None:
    """Remove a folder; one that is a backup stops being whole first."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    """Have a file's or folder's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
