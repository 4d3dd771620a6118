"""The contract, checked from outside by its own script where that is at hand."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import Instance, free_port
from tests.support.settings import clean_environ

pytestmark = pytest.mark.server

SHARED = Path(__file__).parents[3] / "shared"
SECTIONS = "pages,votes,voiding,reviews,settled,public,proof,newsletter,digest,operators"


@pytest.mark.timeout(1900)
def test_a_fresh_instance_keeps_the_contract() -> None:
    """A fresh `ballotpress up` passes every check of these sections, stops cleanly, and leaves nothing running."""
    script = SHARED / "conformance" / "check.py"
    if not script.exists():
        pytest.skip(f"the contract's own checks aren't here: no {script.relative_to(SHARED.parent)} beside the repository")
    pages, mail = SHARED / "pages", str(free_port())
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        instance = Instance(Path(folder) / "home", "--catalog", f"{pages}/catalog.json", "--smtp", f"smtp://127.0.0.1:{mail}")
        try:
            instance.start().ready()  # before the script, which gives it a minute: a speed, beside others
            told = (Path(folder) / "home" / "operator.token").read_text().strip()
            given = ("--base", f"http://127.0.0.1:{instance.port}", "--home", instance.home, "--token", told)
            program = Path(sys.executable).parent / "ballotpress"
            checked = subprocess.run(
                (sys.executable, script, *given, "--smtp-port", mail, "--pages", pages, "--only", SECTIONS),
                env=clean_environ(BALLOTPRESS=str(program)), capture_output=True, text=True, timeout=1800, check=False,
            )  # fmt: skip
            assert checked.returncode == 0, f"{checked.stdout}{checked.stderr[-2000:]}"
            assert instance.signal(signal.SIGINT) == 0
            assert instance.left() == []
        finally:
            instance.stop()
