"""Read which mails a relay has taken: from Postfix's log, or from any text that lists their Message-IDs.

A mail is taken once its queue file is whole: then `qmgr` names its sender, or a delivery agent its status. `cleanup` alone logs
the Message-ID of a mail whose client hung up before the end too.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

_POSTFIX: Final = re.compile(r"^(?P<at>\S+|\w{3} [ \d]\d \S+) \S+ postfix\S*?/(?P<program>[\w-]+)\[\d+\]: (?P<text>.*)")
_QUEUED: Final = re.compile(r"(?P<queue>[0-9A-Za-z]{5,}): (?P<said>.*)")
_ID: Final = re.compile(r"<([^<>@\s]+@[^<>\s]+)>")
_BARE: Final = re.compile(r"[^\s<>,;\"']+@[^\s<>,;\"']+")


class LogUnreadable(Exception):
    """A file of a log can't be read; the message is one sentence that says what to do."""


class RelayLog(NamedTuple):
    """The Message-IDs that were taken, each with the time where it is known; and when a log has lines (a list: none)."""

    taken: Mapping[str, datetime | None]
    times: Sequence[datetime]

    @property
    def begins(self) -> datetime | None:
        """Return the time of the first line."""
        return self.times[0] if self.times else None

    @property
    def ends(self) -> datetime | None:
        """Return the time of the last line."""
        return self.times[-1] if self.times else None


def read_relay_log(files: Iterable[Path], now: datetime) -> RelayLog:
    """Read files of one relay, in any order; names that end in .gz are unpacked. `now` dates lines without a year.

    Raises LogUnreadable.
    """
    lines = [line for file in files for line in _lines(file)]
    dated = [one for line in lines if (one := _dated(line, now))]
    if not dated:
        return RelayLog({id_: None for line in lines for id_ in _BARE.findall(line)}, ())
    dated.sort(key=lambda one: one[0])
    return RelayLog(_taken(dated), [at for at, _, _ in dated])


def _dated(line: str, now: datetime) -> tuple[datetime, str, str] | None:
    """Return the time, program and text of a line of Postfix's log; None of any other line."""
    found = _POSTFIX.match(line)
    at = None if found is None else _time(found["at"], now)
    return None if found is None or at is None else (at, found["program"], found["text"])


def _lines(file: Path) -> list[str]:
    try:
        raw = file.read_bytes()
        return (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode(errors="replace").splitlines()
    except (OSError, EOFError, zlib.error) as error:
        why = "it is cut off" if isinstance(error, EOFError) else getattr(error, "strerror", None) or error
        raise LogUnreadable(f"{file} can't be read ({why}): get the whole file; nothing was changed") from None


def _taken(lines: Iterable[tuple[datetime, str, str]]) -> dict[str, datetime | None]:
    queued: dict[str, str] = {}
    taken: dict[str, datetime | None] = {}
    for at, program, text in lines:
        found = _QUEUED.match(text)
        if found is None:
            continue
        queue, said = found["queue"], found["said"]
        if program == "cleanup" and said.startswith("message-id=") and (id_ := _ID.search(said)):
            queued[queue] = id_[1]
        elif queue in queued and ((said.startswith("from=<") and program == "qmgr") or " status=" in said):
            taken.setdefault(queued[queue], at)
    return taken


def _time(word: str, now: datetime) -> datetime | None:
    """Return the time that a line begins with: RFC 3339, or syslog's, which has no year and no zone."""
    try:
        at = datetime.fromisoformat(word)
        return at if at.tzinfo else at.astimezone()
    except ValueError:
        pass
    try:
        at = datetime.strptime(f"{now.year} {word}", "%Y %b %d %H:%M:%S").astimezone()
    except ValueError:
        return None
    return at if at <= now + timedelta(days=1) else at.replace(year=now.year - 1)
