"""The wheel and the sdist, built once from a copy of the checkout."""

import shutil

import pytest

from tests.packaging.project import PYPROJECT, ROOT, Built, build, top_packages


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
