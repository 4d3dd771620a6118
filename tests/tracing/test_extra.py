"""The extra: where it isn't installed, a collector's name is answered with what to install; without a name it is not needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE
from tests.support.settings import environ

# A Python that finds no OpenTelemetry, as one into which the extra was not installed.
WITHOUT = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *more: None if name == "opentelemetry" else find(name, *more)
from services.cli import main
main()
"""


def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours without the extra."""
    given = environ("postgresql://127.0.0.1:1/none", "redis://127.0.0.1:1/0") | more
    command = (sys.executable, "-c", WITHOUT, *words)
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize("words", [("api", "--port", "1"), ("projector",), ("worker",), ("up",)])
def test_a_collector_without_the_extra_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    """Each process says in one line what to install, before it does anything; `up` makes no home folder."""
    home = tmp_path / "home"
    ended = run(*words, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", BALLOTPRESS_HOME=str(home))
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("OpenTelemetry isn't installed: install ballotpress[otel]")
    assert not home.exists()


def test_without_a_collector_the_extra_is_not_missed() -> None:
    """Whoever doesn't trace comes as far as the database, which isn't there."""
    ended = run("status")
    assert ended.returncode == 1 and "otel" not in ended.stderr.lower()
