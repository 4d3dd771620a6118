"""Encrypted backups, in the format of age (https://age-encryption.org/v1): the standard program opens them too.

A folder of backups has a key of its own. What is written is sealed to its public part, in `recipient`, so no passphrase is
needed to write; the private part, in `identity.age`, is sealed by the passphrase.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import pyrage  # type: ignore[import-untyped]

from services.backup.places import BLOCK, BackupUnusable, sync
from services.private_files import replacing

IDENTITY: Final = "identity.age"
RECIPIENT: Final = "recipient"
LEAST: Final = 12
"""Characters of a passphrase."""


def recipient_of(folder: Path) -> Any:
    """Return the public key that a folder's backups are sealed to; None if they aren't. Raises BackupUnusable."""
    try:
        return pyrage.x25519.Recipient.from_str((folder / RECIPIENT).read_text().strip())
    except FileNotFoundError:
        return None
    except (OSError, pyrage.RecipientError) as error:
        raise BackupUnusable(f"{folder / RECIPIENT} can't be read ({error}): bring it back") from None


def encrypt_from_now(folder: Path, passphrase: str) -> None:
    """Make a folder's key, sealed by a passphrase. Raises BackupUnusable if it has one, or the passphrase is short."""
    if (folder / RECIPIENT).exists():
        raise BackupUnusable(f"The backups in {folder} are encrypted already: leave the passphrase out")
    if len(passphrase) < LEAST:
        raise BackupUnusable(f"The passphrase has fewer than {LEAST} characters: use a longer one")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = pyrage.x25519.Identity.generate()
    _write(folder / IDENTITY, pyrage.passphrase.encrypt(f"{identity}\n".encode(), passphrase))
    _write(folder / RECIPIENT, f"{identity.to_public()}\n".encode())


def identity_of(folder: Path, passphrase: str) -> Any:
    """Return the private key of a folder's backups. Raises BackupUnusable."""
    try:
        opened: bytes = pyrage.passphrase.decrypt((folder / IDENTITY).read_bytes(), passphrase)
        return pyrage.x25519.Identity.from_str(opened.decode().strip())
    except OSError as error:
        raise BackupUnusable(f"{folder / IDENTITY} can't be read ({error.strerror}): bring it back") from None
    except (pyrage.DecryptError, pyrage.IdentityError, ValueError):
        raise BackupUnusable(f"The passphrase doesn't open {folder / IDENTITY}") from None


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
    sync(path.parent)


def copy(source: IO[bytes], target: IO[bytes], recipient: Any) -> None:
    """Copy a stream, sealed if there is a recipient. Raises OSError."""
    if recipient is not None:
        _encrypt(source, target, recipient)
        return
    while block := source.read(BLOCK):
        target.write(block)


def _encrypt(source: IO[bytes], target: IO[bytes], recipient: Any) -> None:
    try:
        pyrage.encrypt_io(source, target, [recipient])
    except pyrage.EncryptError as error:
        raise OSError(None, str(error)) from None


@contextlib.contextmanager
def opened(path: Path, identity: Any) -> Iterator[IO[bytes]]:
    """Open a file of a backup to read what it holds; `identity` opens a sealed one. Raises BackupUnusable."""
    with path.open("rb") as file:
        if not path.name.endswith(".age"):
            yield file
            return
        if identity is None:
            raise BackupUnusable(f"{path} is encrypted: give the passphrase, by --passphrase-file or when asked")
        with _decrypted(file, identity) as plain:
            yield plain


@contextlib.contextmanager
def _decrypted(file: IO[bytes], identity: Any) -> Iterator[IO[bytes]]:
    """Decrypt on a thread that writes to a pipe, so that nothing is held whole."""
    end, begin = os.pipe()
    failures: list[Exception] = []

    def decrypt() -> None:
        with os.fdopen(begin, "wb") as out:
            try:
                pyrage.decrypt_io(file, out, [identity])
            except Exception as error:  # raised where the pipe is read
                failures.append(error)

    thread = threading.Thread(target=decrypt)
    thread.start()
    with os.fdopen(end, "rb") as plain:
        yield plain
        plain.read()
    thread.join()
    if failures:
        raise BackupUnusable(f"{file.name} can't be decrypted ({failures[0]}): choose another backup")
