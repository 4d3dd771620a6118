"""What the logs promise: to say what went wrong, and nothing of what people sent."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from services.logs import configure
from services.settings import LogFormat


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Leave the logging of the other tests as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_holds_no_local_variables(
    log_format: LogFormat, untouched_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect is logged with its traceback, but never with the tokens and texts that its functions held."""
    configure(log_format)
    address = "reader" + "@" + "example.org"
    try:
        raise RuntimeError(len(address))
    except RuntimeError:
        structlog.get_logger().exception("it failed")
        logging.getLogger("library").exception("it failed there")
    written = capsys.readouterr().err
    assert written.count("RuntimeError") >= 2
    assert address not in written
