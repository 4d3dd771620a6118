"""What commands show: results on stdout, progress on stderr, and that only on a terminal."""

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
import rich_click as click

PROGRESS_AFTER = 2.0
"""Seconds before progress is shown: most runs are over by then."""


def print_json(value: object) -> None:
    """Print a Struct or dict as one line of JSON."""
    click.echo(msgspec.json.encode(value))


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far some work is and when it will be done; what is given wants to be told how much of how much is done."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    began = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    task = shown.add_task(title, total=None)

    def advance(done: int, of: int) -> None:
        shown.update(task, completed=done, total=of or None)
        if time.monotonic() - began > PROGRESS_AFTER:
            shown.start()

    try:
        yield advance
    finally:
        shown.stop()


def must_be_read() -> None:
    """Raise BrokenPipeError when nobody reads our stdout any more, though we have nothing to write."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        raise BrokenPipeError(32, "Broken pipe")


def utc(time_: datetime) -> str:
    """Write a time for people: UTC, to the second."""
    return f"{time_:%Y-%m-%d %H:%M:%S} UTC"


def size(count: int) -> str:
    """Write a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def counted(number: int, noun: str) -> str:
    """Write a number of things for people."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
