"""What a process loads at its start is what it needs then: a deploy and a restart wait for it."""

import subprocess
import sys

import pytest

LATER = {
    "services.web.app": ["dns", "flufl", "numpy", "services.proof.verify"],
    "services.projector": ["PIL", "dns", "flufl", "httpcore2", "litestar", "numpy", "services.proof.verify"],
    "services.cli": ["PIL", "dns", "flufl", "httpcore2", "litestar", "numpy", "services.proof.verify"],
}

MADE = """
import sys
from services.web.app import create_app
from tests.support.settings import settings

create_app(settings("postgresql:///", "unix:///"))
print("pydantic" in sys.modules)
"""


@pytest.mark.parametrize("module", LATER)
def test_a_start_loads_nothing_that_only_some_requests_or_sites_need(module: str) -> None:
    """Resolvers, readers of bounces and the checker of the public log are loaded when they are first used."""
    look = f"import sys, {module}; print([name for name in {LATER[module]} if name in sys.modules])"
    done = subprocess.run((sys.executable, "-P", "-c", look), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_an_application_loads_no_library_of_other_types() -> None:
    """Litestar loads what it has plugins for, where it is installed."""
    done = subprocess.run((sys.executable, "-c", MADE), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
