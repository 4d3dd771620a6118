"""Other people's tools from npm, installed as a lock beside their package.json says, once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PATIENCE = 500


def tools(folder: Path, what: str) -> Path:
    """Return the folder of the programs that a folder's lock names; without npm the test is skipped, saying what isn't done."""
    if shutil.which("npm") is None and "CI" not in os.environ:
        pytest.skip(f"npm isn't here: {what}")
    lock, installed = folder / "package-lock.json", folder / "node_modules" / "installed-lock.json"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
        shutil.copy(lock, installed)
    return folder / "node_modules" / ".bin"


def run(*command: str | Path, folder: Path) -> str:
    """Return all that a command says. It must end well."""
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout
