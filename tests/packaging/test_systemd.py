"""The systemd units are valid, sandboxed, and run commands that exist. No test runs them under systemd itself."""

import shutil
import sys
from pathlib import Path

import pytest

from services.cli import COMMANDS
from services.settings import VARIABLES, read_settings
from tests.packaging.compose import env_values
from tests.packaging.systemd import PROGRAM, UNITS, analyze, analyzed

SERVICES = ("migrate", "api", "projector", "worker")
WORST_EXPOSURE = 15
"""In tenths: 1.5 of 10; the processes need the network, which alone costs 0.9."""


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units that names the program installed here."""
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for unit in tmp_path.glob("*.service"):
        unit.write_text(unit.read_text().replace(PROGRAM, str(Path(sys.executable).with_name("ballotpress"))))
    return tmp_path


@analyzed
def test_the_units_are_valid(units: Path) -> None:
    """systemd finds nothing to say about the units and their common drop-in."""
    verified = analyze("verify", "--man=no", *units.glob("*.service"), *units.glob("*.target"))
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@analyzed
@pytest.mark.parametrize("service", SERVICES)
def test_the_services_are_sandboxed(tmp_path: Path, service: str) -> None:
    """systemd rates the exposure of each service, with the common drop-in, below the threshold."""
    shutil.copytree(UNITS, tmp_path / "etc" / "systemd" / "system")
    rated = analyze(
        "security",
        f"--root={tmp_path}",
        "--offline=true",
        "--no-pager",
        f"--threshold={WORST_EXPOSURE}",
        f"ballotpress-{service}.service",
    )
    assert rated.returncode == 0, rated.stdout[-300:] + rated.stderr


def test_the_target_starts_every_service_after_the_migration() -> None:
    """Each unit runs a command of ours and, enabled, comes with the target; three keep running, and wait for the migration."""
    assert {unit.stem for unit in UNITS.glob("*.service")} == {f"ballotpress-{name}" for name in SERVICES}
    for name in SERVICES:
        unit = (UNITS / f"ballotpress-{name}.service").read_text()
        assert name in COMMANDS and f"ExecStart={PROGRAM} {name}" in unit
        if name != "migrate":
            assert "WantedBy=ballotpress.target" in unit
            assert "Requires=ballotpress-migrate.service" in unit and "After=ballotpress-migrate.service" in unit


def test_the_example_of_settings_is_taken_once_its_keys_are_filled_in() -> None:
    """Each line of env.example names a setting and gives it a valid value."""
    values = env_values((UNITS / "env.example").read_text())
    assert values.keys() <= set(VARIABLES)
    assert values["BALLOTPRESS_SECRET_KEYS"] == values["BALLOTPRESS_VAULT_KEYS"] == ""
    values |= {"BALLOTPRESS_SECRET_KEYS": "s" * 40, "BALLOTPRESS_VAULT_KEYS": "B" * 43 + "="}
    values["BALLOTPRESS_OPERATOR_TOKENS"] += "t" * 40
    assert read_settings(values).smtp_url == values["SMTP_URL"]
