"""The project's own files, read as its tools read them: packages as setuptools finds them, the Dockerfile, the lock."""

import fnmatch
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
UV = Path(sys.executable).with_name("uv")
LOCK = ROOT / "requirements.lock"


def top_packages() -> set[str]:
    """Return the top-level folders that the wheel is made of."""
    include = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    return {name.partition(".")[0] for name in find_namespace_packages(str(ROOT), include=include)}


def packaged_files() -> set[str]:
    """Return every file of these folders, relative to the checkout, without hidden files and compiled modules."""
    files = (file for package in top_packages() for file in (ROOT / package).rglob("*") if file.is_file())
    return {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts and file.name[0] != "."}


def instructions(name: str) -> Iterator[str]:
    """Return the Dockerfile's instructions of this name, each without its name, as one line, with its arguments' defaults."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for argument, usual in re.findall(r'^ARG (\w+)="(.*)"$', text, re.MULTILINE):
        text = text.replace(f"${{{argument}}}", usual)
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            yield line.removeprefix(f"{name} ").strip()


def copied_from_context() -> set[str]:
    """Return the files and folders that the Dockerfile copies from the checkout."""
    copies = (line.split() for line in instructions("COPY") if not line.startswith("--from"))
    return {source for words in copies for source in words[:-1]}


def is_shut_out(name: str) -> bool:
    """Return whether .dockerignore keeps a top-level file or folder from the build; the last matching line decides."""
    shut_out = False
    for line in (ROOT / ".dockerignore").read_text().split():
        if fnmatch.fnmatch(name, line.lstrip("!")):
            shut_out = not line.startswith("!")
    return shut_out


def lines_of(lock: str, package: str) -> str:
    """Return a package's lines of the lock."""
    lines = re.search(rf"^{package}==[^\n]*(\n +--hash=[^\n]*)+\n", lock, re.MULTILINE)
    assert lines is not None, f"{package} is not in the lock"
    return lines.group()


def without(lock: str, package: str) -> str:
    """Return a lock that lacks one package."""
    return lock.replace(lines_of(lock, package), "")


def with_wrong_hash(lock: str, package: str) -> str:
    """Return a lock in which no hash of one package is right."""
    lines = lines_of(lock, package)
    return lock.replace(lines, re.sub("sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lines))


def try_uv(*words: str | Path, cwd: Path = ROOT) -> tuple[int, str]:
    """Run uv and return its status and its output as one line. Its cache suffices after `make install`; else it downloads."""
    for offline in (("--offline",), ()):
        command = (UV, *offline, *words)
        ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
        if ran.returncode == 0 or "network" not in ran.stderr:
            break
    return ran.returncode, " ".join((ran.stdout + ran.stderr).split())


def uv(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run uv, check that it succeeds, and return its output as one line."""
    status, said = try_uv(*words, cwd=cwd)
    assert status == 0, said
    return said


class Built:
    """A wheel and an sdist made from the checkout."""

    def __init__(self, folder: Path) -> None:
        self.wheel = next(folder.glob("*.whl"))
        self.sdist = next(folder.glob("*.tar.gz"))


def build(source: Path, into: Path, *kinds: str) -> None:
    """Build with the setuptools of the lock, which is installed here."""
    uv("build", "-q", "--no-build-isolation", "--python", sys.executable, *kinds, "--out-dir", into, source)
