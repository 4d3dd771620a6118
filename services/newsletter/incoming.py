"""Take in what came by mail, many mails at once: from a Maildir, or from an mbox as a stream.

A mail leaves the Maildir's `new` after what it says is committed; whatever stops that, it is read again, and counts once. Mails
are read by as many processes as there are cores, a few hundred at a time, so a flood of them takes no memory.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from services.newsletter.reports import Report, ReportResult, read_mail
from services.newsletter.tokens import MailTokens
from services.settings import Settings

AT_ONCE: Final = 400
"""Mails that are read and committed together."""
TOGETHER: Final = 20
"""Mails that one process reads in a go."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of an mbox that are kept at once."""
LONGEST_MAIL: Final = 10 * 1024 * 1024
"""Bytes; the rest of a longer mail is ignored."""

Apply = Callable[[Sequence[Report]], Awaitable[Sequence[ReportResult]]]
"""Commits reports."""
Read = Callable[[Sequence[Path | bytes]], Awaitable[Sequence[Sequence[Report]]]]
"""Reads mails, or files of one mail each, and returns the reports in each."""

logger = logging.getLogger(__name__)
_tokens: MailTokens


class Taken(msgspec.Struct, frozen=True):
    """How many mails were read, the reports in them about readers of ours, and how many of those suppressed an address."""

    mails: int = 0
    reports: int = 0
    suppressed: int = 0

    def __add__(self, more: "Taken") -> "Taken":
        return Taken(self.mails + more.mails, self.reports + more.reports, self.suppressed + more.suppressed)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Read]:
    """Start processes that read mails, and yield what asks them."""
    keys = (settings.secret_keys, settings.newsletter.retired_keys)
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _begin, keys) as processes:

        async def read(mails: Sequence[Path | bytes]) -> Sequence[Sequence[Report]]:
            parts = [mails[at : at + TOGETHER] for at in range(0, len(mails), TOGETHER)]
            found = await asyncio.gather(*(loop.run_in_executor(processes, _read, part) for part in parts))
            return [reports for part in found for reports in part]

        yield read


async def take_maildir(folder: Path, read: Read, apply: Apply) -> Taken:
    """Take the mails in a Maildir's `new`, until there are none; they move to `cur`, as seen if they were reports of ours."""
    total = Taken()
    while names := list(islice(_waiting(folder / "new"), AT_ONCE)):
        found = await read([folder / "new" / name for name in names])
        total += await _commit(found, apply)
        await asyncio.to_thread(_move, folder, [(name, bool(reports)) for name, reports in zip(names, found, strict=True)])
    return total


async def take_mbox(stream: BinaryIO, read: Read, apply: Apply) -> Taken:
    """Take the mails of an mbox, which may be a pipe."""
    total, mails = Taken(), mails_of(stream)
    while batch := await asyncio.to_thread(_batch, mails):
        total += await _commit(await read(batch), apply)
    return total


async def _commit(found: Sequence[Sequence[Report]], apply: Apply) -> Taken:
    reports = [report for reports in found for report in reports]
    results = await apply(reports) if reports else ()
    known = [result for result in results if result.reader is not None]
    return Taken(len(found), len(known), sum(result.suppressed for result in known))


def mails_of(stream: BinaryIO) -> Iterator[bytes]:
    """Return the mails of an mbox: each begins with a line that begins with "From ", after an empty line (RFC 4155)."""
    lines: list[bytes] = []
    size, is_blank = 0, True
    while line := stream.readline(LONGEST_MAIL):
        if is_blank and line.startswith(b"From "):
            if lines:
                yield b"".join(lines)
            lines, size = [], 0
        elif size < LONGEST_MAIL:
            lines.append(line.removeprefix(b">") if line.startswith(b">From ") else line)
            size += len(line)
        is_blank = line in (b"\n", b"\r\n")
    if lines:
        yield b"".join(lines)


def _batch(mails: Iterator[bytes]) -> list[bytes]:
    batch: list[bytes] = []
    while len(batch) < AT_ONCE and sum(map(len, batch)) < MOST_BYTES and (mail := next(mails, None)) is not None:
        batch.append(mail)
    return batch


def _waiting(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                yield entry.name


def _move(folder: Path, names: Sequence[tuple[str, bool]]) -> None:
    for name, is_report in names:
        with contextlib.suppress(FileNotFoundError):  # somebody else took it
            (folder / "new" / name).rename(folder / "cur" / f"{name.partition(':')[0]}:2,{'S' if is_report else ''}")


def _begin(secret_keys: Sequence[str], retired_keys: Sequence[str]) -> None:
    global _tokens
    _tokens = MailTokens(secret_keys, retired_keys)


def _read(mails: Sequence[Path | bytes]) -> list[list[Report]]:
    return [_read_one(mail) for mail in mails]


def _read_one(mail: Path | bytes) -> list[Report]:
    """Return the reports in a mail; none of one that is gone, or that nothing can be made of."""
    try:
        return read_mail(_bytes_of(mail) if isinstance(mail, Path) else mail, _tokens)
    except FileNotFoundError:
        return []
    except OSError:
        raise
    except Exception:
        logger.exception("a mail could not be read; it stays unseen in the Maildir")
        return []


def _bytes_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LONGEST_MAIL)
