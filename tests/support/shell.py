"""The console command as an operator runs it: what it printed, and how it ended; a process of its own where that matters."""

import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Any
from unittest.mock import patch

import structlog

from events.ballots import Choice
from services.cli import main
from tests.support.processes import PATIENCE, Process
from tests.support.settings import environ

COMMAND = Path(sys.executable).with_name("ballotpress")

Vote = Callable[[str, Sequence[Choice]], Awaitable[list[str]]]
Follow = Callable[[], Awaitable[None]]


class Ran:
    """What came of one run."""

    def __init__(self, process: "subprocess.CompletedProcess[bytes]") -> None:
        self.status = process.returncode
        self.bytes = process.stdout
        self.out = process.stdout.decode()
        self.err = process.stderr.decode()

    def json(self) -> Any:
        """Give what was printed as JSON; only after a success."""
        assert self.status == 0, self.err
        return json.loads(self.out)

    def failed(self, *parts: str, status: int = 1) -> None:
        """Expect one clear line on stderr that holds these parts, nothing on stdout, and this status."""
        assert self.status == status, (self.status, self.out, self.err)
        assert self.out == ""
        assert self.err.count("\n") == 1 and self.err.startswith("ballotpress: "), self.err
        assert all(part in self.err for part in parts), self.err


def run_inside(words: Sequence[str], stdin: bytes, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """Run the console command in a thread of its own: the loop of a test runs in this one."""
    statuses: list[int] = []

    def run() -> None:
        try:
            main()
        except SystemExit as ended:
            statuses.append(ended.code if isinstance(ended.code, int) else 0)
        except Exception:
            traceback.print_exc()
            statuses.append(1)

    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        texts = [TextIOWrapper(file, encoding="utf-8", write_through=True) for file in (given, out, err)]
        streams = dict(zip(("stdin", "stdout", "stderr"), texts, strict=True))
        root = logging.getLogger()
        before = root.handlers[:], root.level
        with patch.multiple(sys, argv=["ballotpress", *words], **streams), patch.dict(os.environ, environ, clear=True):
            thread = Thread(target=run)
            thread.start()
            thread.join()
        root.handlers[:], root.level = before  # a command may have configured logs to the streams that end here
        structlog.reset_defaults()
        for text in texts:
            text.detach()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, statuses[0], out.read(), err.read())


class Shell:
    """A shell whose variables name the test's servers."""

    def __init__(self, home: Path, dsn: str, valkey_url: str) -> None:
        self.home = home
        self.environ = environ(dsn, valkey_url, home)

    def __call__(self, *words: str, stdin: bytes = b"", status: int | None = None, **environ: str) -> Ran:
        """Run `ballotpress WORDS` to its end, inside this process; expect its exit status, if one is named."""
        ran = Ran(run_inside(words, stdin, self.environ | environ))
        assert status is None or ran.status == status, (ran.out, ran.err)
        return ran

    def process(self, *words: str) -> Ran:
        """Run `ballotpress WORDS` to its end, in a process of its own, while this one goes on."""
        return Ran(subprocess.run((COMMAND, *words), env=self.environ, capture_output=True, timeout=PATIENCE))

    def piped(self, *words: str, into: str) -> Ran:
        """Run `ballotpress WORDS | INTO`."""
        line = f"{COMMAND} {' '.join(words)} | {into}"
        return Ran(subprocess.run(("sh", "-c", line), env=self.environ, capture_output=True, timeout=PATIENCE))

    @contextmanager
    def started(self, *words: str, stdin: int = subprocess.DEVNULL) -> Iterator[Process]:
        """Run `ballotpress WORDS`, to read what it prints while it runs; nothing of it is left open."""
        pipe = subprocess.PIPE
        process = subprocess.Popen((COMMAND, *words), env=self.environ, stdin=stdin, stdout=pipe, stderr=pipe)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
