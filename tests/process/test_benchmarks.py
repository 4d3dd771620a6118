"""What `make bench` owes beside its numbers: an end that leaves nothing running."""

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, kill_all, processes_naming, start, wait_for
from tests.support.settings import clean_environ

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_measurement_that_is_ended_leaves_nothing(name: signal.Signals) -> None:
    """A signal at any moment after the first server's start ends every server, and their folders are gone."""
    with tempfile.TemporaryDirectory(prefix="bp-") as folder:
        Path(folder).chmod(0o755)
        bench = start((sys.executable, "-m", "tests.benchmarks", "append"), clean_environ(TMPDIR=folder))
        try:
            assert wait_for(lambda: len(processes_naming(Path(folder))) > 1)
            time.sleep(random.uniform(0, 3))
            bench.send_signal(name)
            assert bench.wait() == 128 + name
            assert wait_for(lambda: processes_naming(Path(folder)) == [])
            assert list(Path(folder).iterdir()) == []
        finally:
            kill_all(Path(folder))


DROPS = """
import time
from tests.benchmarks.__main__ import own_folder

class Slow:
    def __del__(self):
        open("here", "w").close()
        time.sleep(600)

with own_folder():
    Slow()
    time.sleep(600)
"""


def test_an_end_that_python_drops_comes_again(tmp_path: Path) -> None:
    """A signal that arrives in a destructor, where nothing can be raised, ends the measurement all the same."""
    root = str(Path(__file__).parents[2])
    output = tmp_path / "output"
    bench = start(
        (sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}){DROPS}"), clean_environ(PYTHONPATH=root), output
    )
    try:
        assert wait_for((tmp_path / "here").exists), output.read_text()
        bench.send_signal(signal.SIGTERM)
        assert bench.wait(PATIENCE) == 128 + signal.SIGTERM
    finally:
        bench.kill()
        bench.wait()
