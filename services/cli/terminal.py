"""What commands print: results on stdout, and progress on stderr if that is a terminal."""

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
import rich_click as click

PROGRESS_AFTER = 2.0
"""Seconds before progress is shown; most runs take less."""

Draw = Callable[[str, int, int, str], None]
"""Draws a title, how much is done, of how much in all (0: unknown), and how fast."""


def show(as_json: bool, value: object, *lines: str) -> None:
    """Print a value as one line of JSON, or its lines for people."""
    for line in [msgspec.json.encode(value)] if as_json else lines:
        click.echo(line)


@contextlib.contextmanager
def bar(title: str) -> Iterator[Draw]:
    """Yield a function that draws a bar with the time left on stderr, once two seconds have passed."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    words, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
    columns = (SpinnerColumn(), words, BarColumn(), TaskProgressColumn(), rate, TimeRemainingColumn())
    drawn = Progress(*columns, console=Console(stderr=True), transient=True)
    task = drawn.add_task(title, total=None, rate="")
    began = time.monotonic()

    def draw(title: str, done: int, of: int, rate: str) -> None:
        drawn.update(task, description=title, completed=done, total=of or None, rate=rate)
        if time.monotonic() - began > PROGRESS_AFTER:
            drawn.start()

    try:
        yield draw
    finally:
        drawn.stop()


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes how much is done and how much there is in all, and shows it on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    with bar(title) as draw:
        yield lambda done, of: draw(title, done, of, "")


def must_be_read() -> None:
    """Raise BrokenPipeError if nobody reads our stdout any more, even when there is nothing to write."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        raise BrokenPipeError(32, "Broken pipe")


def utc(time_: datetime) -> str:
    """Return a time in words: UTC, to the second."""
    return f"{time_:%Y-%m-%d %H:%M:%S} UTC"


def counted(number: int, noun: str) -> str:
    """Return a number of things in words, as in 1 vote, 2 votes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def tally_in_words(ship_percent: int, verdict: str | None, settled: str | None) -> str:
    """Return a tally's percentage and verdict in words, as in "75% ship, verdict ship so far"."""
    words = f"verdict {settled}, settled" if settled else f"verdict {verdict} so far" if verdict else "too early"
    return f"{ship_percent}% ship, {words}"
