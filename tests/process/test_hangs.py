"""A run of the tests ends, whatever hangs in it, and says which test it was."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import PATIENCE

ROOT = Path(__file__).parents[2]

LEFT_OPEN = """
import asyncio, socket
kept = []
async def test_that_leaves_a_transport():
    ours, theirs = socket.socketpair()
    kept.extend([theirs, await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)])
"""
DEAF = """
import signal, time
def test_before(): pass
def test_that_hears_nothing():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    time.sleep(1000)
"""
AFTER = "def test_after(): pass"


def run_of(folder: Path, *files: str, words: Sequence[str] = ()) -> tuple[int, str]:
    """Run files of tests as the suite is run; give the status and what was said."""
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    for n, tests in enumerate(files):
        (folder / f"test_{n}.py").write_text(tests)
    command = (sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", folder, *words, folder)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=ROOT, timeout=PATIENCE
    )
    return done.returncode, done.stdout


def test_a_loop_is_closed_with_all_that_a_test_left_open_in_it(tmp_path: Path) -> None:
    """uvloop would wait for ever, since the warning of what is open is an error here; now the test fails by it."""
    status, said = run_of(tmp_path, LEFT_OPEN)
    assert status == 1
    assert "ResourceWarning: unclosed resource <UnixTransport" in said
    assert "1 passed, 1 error" in said


def test_a_worker_that_hears_no_signal_is_ended(tmp_path: Path) -> None:
    """The test that hung is named, where it stood is said, it is not tried again, and another worker runs the others."""
    words = ("-n", "1", "-o", "timeout=5")
    status, said = run_of(tmp_path, DEAF, AFTER, AFTER, words=words)
    assert status == 1
    assert "crashed while running 'test_0.py::test_that_hears_nothing'" in said
    assert "in test_that_hears_nothing" in said
    assert "1 failed, 3 passed" in said
