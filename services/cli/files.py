"""Files that commands write."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import rich_click as click

from services.private_files import replacing


@contextlib.contextmanager
def written(file: str) -> Iterator[BinaryIO]:
    """Open a file to write, which gets its name only when it is whole and on disk; `-` is stdout."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if Path(file).exists() and not Path(file).is_file():
        raise click.ClickException(f"{file} can't be written: it is no plain file")
    with contextlib.ExitStack() as stack:
        try:
            out = stack.enter_context(replacing(Path(file)))
        except OSError as error:
            raise click.ClickException(f"{file} can't be written: {error.strerror}") from None
        yield out
