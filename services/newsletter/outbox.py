"""The outbox: without a relay, mails are files in HOME/outbox, for trying the site out."""

import os
from pathlib import Path
from typing import NamedTuple


class OutboxMail(NamedTuple):
    """A mail in the outbox; its name tells its kind and holds its reader's id."""

    name: str
    path: Path


def folder(home: Path) -> Path:
    """Return the outbox of a home folder."""
    return home / "outbox"


def keep(home: Path, name: str, message: bytes) -> None:
    """Keep a mail under this name, which must hold its reader's id. It is written whole or not at all."""
    folder(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder(home) / f".{name}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(message)
    new.replace(folder(home) / f"{name}.eml")


def filed(home: Path) -> list[OutboxMail]:
    """Return the mails in the outbox, newest first."""
    found = sorted(folder(home).glob("*.eml"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [OutboxMail(path.stem, path) for path in found]


def read(home: Path, name: str) -> bytes | None:
    """Return a mail of the outbox; None if there is none of that name."""
    for mail in filed(home):
        if mail.name == name:
            return mail.path.read_bytes()
    return None


def forget(home: Path, reader: str) -> None:
    """Delete an erased person's mails."""
    for path in folder(home).glob(f"*{reader}*"):
        path.unlink(missing_ok=True)
