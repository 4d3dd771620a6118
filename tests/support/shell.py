"""The console command as an operator runs it: a process of its own, with what it printed and how it ended."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from events.ballots import Choice
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


class Shell:
    """A shell whose variables name the test's servers."""

    def __init__(self, home: Path, dsn: str, valkey_url: str) -> None:
        self.home = home
        self.environ = environ(dsn, valkey_url, home)

    def __call__(self, *words: str, stdin: bytes = b"", status: int | None = None, **environ: str) -> Ran:
        """Run `ballotpress WORDS` to its end; expect its exit status, if one is named."""
        ran = Ran(
            subprocess.run((COMMAND, *words), input=stdin, env=self.environ | environ, capture_output=True, timeout=PATIENCE)
        )
        assert status is None or ran.status == status, (ran.out, ran.err)
        return ran

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
