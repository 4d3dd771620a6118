"""How a process loads itself: a deploy and a restart wait for it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

UNUSED: Final = "rich"
"""structlog loads it, with a dozen others, to write tracebacks in a way that `services.logs` doesn't have it use."""


@contextmanager
def loading() -> Iterator[None]:
    """Load without what is never used, and look for garbage neither meanwhile nor later among what is loaded: that stays."""
    gc.disable()
    try:
        with _hidden(UNUSED):
            yield
        gc.freeze()
    finally:
        gc.enable()


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Have an import fail as if the library weren't installed; but not if it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # what the import system takes for "there is none"
    try:
        yield
    finally:
        del sys.modules[name]
