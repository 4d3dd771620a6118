"""How tests ask systemd about the units, where its programs are; no test runs them under systemd itself."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.project import ROOT
from tests.support.processes import PATIENCE

UNITS = ROOT / "docs" / "systemd"
PROGRAM = "/opt/ballotpress/bin/ballotpress"

analyzed = pytest.mark.skipif(  # on CI its absence is a failure
    shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true",
    reason="systemd-analyze is not installed: apt-get install systemd",
)


def analyze(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze to its end."""
    return subprocess.run(("systemd-analyze", *words), capture_output=True, text=True, timeout=PATIENCE, check=False)
