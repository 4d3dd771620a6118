"""Programs in Go, on Debian's golang.org/x/mod: what others wrote to check logs like ours, and nothing of ours."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

SOURCES: Final = Path(__file__).parents[1] / "oracle" / "go"
LIBRARY: Final = Path("/usr/share/gocode")
PACKAGES: Final = "golang-go golang-golang-x-mod-dev"


def must_be_there() -> None:
    """Without Go and its library the test fails on CI, and is skipped elsewhere."""
    if shutil.which("go") and (LIBRARY / "src/golang.org/x/mod/sumdb").is_dir():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have Go: apt-get install {PACKAGES}")
    pytest.skip(f"needs Go and x/mod (apt-get install {PACKAGES})")


def build(name: str, folder: Path) -> Path:
    """Build one of the programs into a folder; nothing is fetched."""
    must_be_there()
    own = {"GO111MODULE": "off", "GOPATH": str(LIBRARY), "GOFLAGS": "", "GOCACHE": str(folder / "go-cache")}
    program = folder / name
    done = subprocess.run(
        ("go", "build", "-o", program, "."),
        cwd=SOURCES / name,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program
