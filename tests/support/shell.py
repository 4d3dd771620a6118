"""The console command as an operator runs it: a process of its own, with what it printed and how it ended."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from events.ballots import Choice
from tests.support.processes import clean_environ

COMMAND = Path(sys.executable).with_name("ballotpress")
VAULT_KEY = b64encode(b"v" * 32).decode()

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

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.environ = clean_environ(BALLOTPRESS_HOME=str(home), **environ)

    def __call__(self, *words: str, stdin: bytes = b"", status: int | None = None, **environ: str) -> Ran:
        """Run `ballotpress WORDS` to its end; expect its exit status, if one is named."""
        ran = Ran(subprocess.run((COMMAND, *words), input=stdin, env=self.environ | environ, capture_output=True, timeout=60))
        assert status is None or ran.status == status, (ran.out, ran.err)
        return ran

    def piped(self, *words: str, into: str) -> Ran:
        """Run `ballotpress WORDS | INTO`."""
        line = f"{COMMAND} {' '.join(words)} | {into}"
        return Ran(subprocess.run(("sh", "-c", line), env=self.environ, capture_output=True, timeout=30))

    def start(self, *words: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Start `ballotpress WORDS`, to read what it prints while it runs."""
        pipe = subprocess.PIPE
        return subprocess.Popen((COMMAND, *words), env=self.environ, stdin=stdin, stdout=pipe, stderr=pipe)


def shell_for(home: Path, database_url: str, redis_url: str) -> Shell:
    """Make a shell for these servers, with keys."""
    return Shell(
        home,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        BALLOTPRESS_SECRET_KEYS="s" * 40,
        BALLOTPRESS_VAULT_KEYS=VAULT_KEY,
    )
