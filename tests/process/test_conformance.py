"""The contract, checked from outside by its own script where that is at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

SHARED = Path(__file__).parents[3] / "shared"
SECTIONS = "pages,votes,voiding,reviews,settled,public,proof,newsletter,digest,operators"


@pytest.mark.timeout(1900)
def test_a_fresh_instance_keeps_the_contract() -> None:
    """A fresh `ballotpress up` passes every check of these sections, and leaves nothing running."""
    script = SHARED / "conformance" / "check.py"
    if not script.exists():
        pytest.skip(f"the contract's own checks aren't here: no {script.relative_to(SHARED.parent)} beside the repository")
    program = Path(sys.executable).parent / "ballotpress"
    command = [sys.executable, script, "--start", f"{program} up", "--pages", SHARED / "pages", "--only", SECTIONS]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr[-2000:]}"
