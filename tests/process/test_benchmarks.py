"""What `make bench` owes beside its numbers: an end that leaves nothing running."""

import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.processes import kill_all, processes_naming, start, wait_for
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
