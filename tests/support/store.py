"""An S3-compatible store on loopback: moto's server, in a process of its own."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

from tests.support.processes import PATIENCE, free_port

BUCKET = "log"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTESTKEY", "AWS_SECRET_ACCESS_KEY": "not-to-be-told", "AWS_REGION": "eu-central-1"}


class Store:
    """A store with one bucket; `environ` leads a client there."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.environ = {**KEYS, "AWS_ENDPOINT_URL": self.address}

    def make_bucket(self) -> None:
        """Make the bucket."""
        request = urllib.request.Request(f"{self.address}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()


@contextmanager
def store() -> Iterator[Store]:
    """Run a store until the end of the block."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Store(port)
        _wait_for(found)
        found.make_bucket()
        yield found
    finally:
        process.terminate()
        process.wait()


def _wait_for(found: Store) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{found.address}/").close()
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
