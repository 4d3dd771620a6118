"""A process that the tests fork behaves as one that is started: most tests that need a site stand on that."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import COMMAND, PATIENCE
from tests.support.settings import environ
from tests.support.stem import forked


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (("settings",), {}),
        (("settings", "--json"), {"BALLOTPRESS_BASE_URL": "https://ballots.example"}),
        (("api", "--port", "0"), {}),
        (("api", "--port", "8000"), {"BALLOTPRESS_SECRET_KEYS": "short"}),
        (("projector",), {"DATABASE_URL": "nonsense"}),
    ],
)
def test_it_ends_and_says_the_same(tmp_path: Path, words: tuple[str, ...], more: dict[str, str]) -> None:
    """By its words and its environment alone: nothing is left of what the process was that it was forked from."""
    said, own = tmp_path / "said", environ("postgresql://nobody@/none?host=/nowhere", "unix:///nowhere", tmp_path) | more
    with forked(*words, environ=own, output=said) as process:
        status = process.wait(PATIENCE)
    done = subprocess.run((*COMMAND, *words), env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert (status, said.read_bytes()) == (done.returncode, done.stdout)


def test_it_is_killed(tmp_path: Path) -> None:
    """Its status says by what."""
    with forked("projector", environ=environ("postgresql://x@127.0.0.1:1/x", "unix:///x"), output=tmp_path / "said") as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE) == -9
