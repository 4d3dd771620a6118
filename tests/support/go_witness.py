"""A witness in Go, on the code that `go` itself trusts, and requests to it; its key is always the same."""

import base64
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import free_port

Answer = tuple[int, str]


class Witness:
    """A running witness."""

    def __init__(self, port: int, vkey: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.vkey = vkey

    def add(self, old: int, proof: list[bytes], note: str) -> Answer:
        """Ask for a cosignature."""
        lines = "".join(base64.b64encode(part).decode() + "\n" for part in proof)
        return self.call("/add-checkpoint", f"old {old}\n{lines}\n{note}".encode())

    def call(self, path: str, body: bytes | None = None) -> Answer:
        """Make a request."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, body), timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def running(program: Path, vkey: str) -> Iterator[Witness]:
    """Run a witness of one log."""
    port = free_port()
    words = (program, f"127.0.0.1:{port}", "witness.example/w1", "07" * 32, vkey)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Witness(port, process.stdout.readline().strip())
        finally:
            process.kill()
