"""The end of a worker whose test hangs and hears no signal: it says where each thread stands."""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

LATER = 1.2
"""So much longer than the time limit of its test a worker lives."""


@contextmanager
def ended(item: pytest.Item) -> Iterator[None]:
    """End this process if what is done meanwhile hangs."""
    end_later(item)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def end_later(item: pytest.Item) -> None:
    """End this process a while after the test's time limit, counted from now."""
    stderr = item.config.stash[fault_handler_stderr_fd_key]  # the process's own: what tests write there is kept from it
    faulthandler.dump_traceback_later(LATER * _limit(item), file=stderr, exit=True)


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker else item.config.getini("timeout"))
