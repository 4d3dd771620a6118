"""A verifier of the public log for Node, after docs/proof.md, on other cryptography; it shares no code with ours."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

VERIFIER: Final = Path(__file__).parents[1] / "oracle" / "node" / "verifier.mjs"


def must_be_there() -> None:
    """Without Node the test fails on CI, and is skipped elsewhere."""
    if shutil.which("node"):
        return
    if os.environ.get("CI") == "true":
        pytest.fail("CI must have Node: apt-get install npm")
    pytest.skip("needs Node")
