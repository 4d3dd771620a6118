"""What the tests of replaying share: a shell on the test's own database."""

from pathlib import Path

import pytest

from tests.cli.shell import Shell, shell_for


@pytest.fixture
def shell(tmp_path: Path, dsn: str, valkey_url: str) -> Shell:
    """A shell on the test's own database."""
    return shell_for(tmp_path / "home", dsn, valkey_url)
