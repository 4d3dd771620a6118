"""What a process loads at its start is what it needs then: a deploy and a restart wait for it."""

import gc
import subprocess
import sys

import pytest

from services.loading import loading

LATER = {
    "services.web.app": "PIL dns email_validator flufl httpcore2 numpy rich services.proof.verify",
    "services.worker": "PIL dns email_validator flufl httpcore2 litestar numpy rich services.proof.verify",
    "services.projector": "PIL dns email_validator flufl httpcore2 litestar numpy rich services.proof.verify",
    "services.cli": "PIL dns email_validator flufl httpcore2 litestar numpy rich services.proof.verify",
}

LOADED = """
import sys
from services.loading import loading
with loading():
    import {}
print([name for name in {} if name in sys.modules])
"""

MADE = """
import sys
from services.web.app import create_app
from tests.support.settings import settings

create_app(settings("postgresql:///", "unix:///"))
print([name for name in ("pydantic", "httpcore2", "PIL") if name in sys.modules])
"""


@pytest.mark.parametrize("module", LATER)
def test_a_start_loads_nothing_that_only_some_requests_or_sites_need(module: str) -> None:
    """Resolvers, HTTP clients, pictures, readers of bounces and the checker of the public log are loaded when first used."""
    look = LOADED.format(module, LATER[module].split())
    done = subprocess.run((sys.executable, "-P", "-c", look), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_what_is_hidden_while_a_process_loads_is_there_afterwards() -> None:
    """The command line writes its help by what the processes don't load."""
    look = "from services.loading import loading\nwith loading():\n    import structlog\nimport rich\nprint(rich.__name__)"
    done = subprocess.run((sys.executable, "-P", "-c", look), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("rich", "")


def test_a_load_that_fails_leaves_the_search_for_garbage_on() -> None:
    """A process that goes on after a failed load, such as one that tells why, doesn't grow for ever."""
    assert gc.isenabled()
    with pytest.raises(ImportError, match="broken"), loading():
        raise ImportError("broken")
    try:
        assert gc.isenabled()
    finally:
        gc.enable()


def test_an_application_loads_nothing_that_only_some_sites_need() -> None:
    """Litestar loads what it has plugins for, where it is installed; ours what only some sites use."""
    done = subprocess.run((sys.executable, "-c", MADE), capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
