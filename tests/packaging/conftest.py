"""The wheel and the sdist, built once from a copy of the checkout."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.project import PYPROJECT, ROOT, top_packages, uv


class Built:
    """A wheel and an sdist made from the checkout."""

    def __init__(self, folder: Path) -> None:
        self.wheel = next(folder.glob("*.whl"))
        self.sdist = next(folder.glob("*.tar.gz"))


def build(source: Path, into: Path, *kinds: str) -> None:
    """Build with the setuptools of the lock, which is installed here."""
    uv("build", "-q", "--no-build-isolation", "--python", sys.executable, *kinds, "--out-dir", into, source)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build both from a copy, since setuptools leaves a folder `build` behind and takes files from an old one."""
    copy = tmp_path_factory.mktemp("checkout")
    for package in top_packages():
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", PYPROJECT["project"]["readme"], "LICENSE"):
        shutil.copy(ROOT / name, copy)
    folder = tmp_path_factory.mktemp("dist")
    build(copy, folder, "--sdist", "--wheel")
    return Built(folder)
