"""The contract, checked from outside by its own script where that is at hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

SHARED = Path(__file__).parents[3] / "shared"
# Takes for granted that a vote's answer counts what other visitors voted milliseconds before. The contract promises that of
# one's own vote alone; tests/web/test_tallies.py holds by positions what this checks.
OTHERS_VOTES = "four alike are a verdict, but not a settled one; eight alike are"
SECTIONS = "pages,votes,voiding,reviews,settled,newsletter,digest,operators"


@pytest.mark.timeout(1900)
def test_a_fresh_instance_keeps_the_contract() -> None:
    """A fresh `ballotpress up` passes every check of these sections but the one named, and leaves nothing running."""
    script = SHARED / "conformance" / "check.py"
    if not script.exists():
        pytest.skip(f"the contract's own checks aren't here: no {script.relative_to(SHARED.parent)} beside the repository")
    program = Path(sys.executable).parent / "ballotpress"
    command = [sys.executable, script, "--start", f"{program} up", "--pages", SHARED / "pages", "--only", SECTIONS]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    failed = [line for line in checked.stdout.splitlines() if line.startswith("FAILS ")]
    broken = [line for line in failed if line != f"FAILS {OTHERS_VOTES}"]
    held = re.search(r"^(\d+) of (\d+) hold$", checked.stdout, re.MULTILINE)
    assert not broken and held and int(held[2]) - int(held[1]) == len(failed), f"{checked.stdout}{checked.stderr[-2000:]}"
