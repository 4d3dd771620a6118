"""What the logs promise: to say what went wrong, and nothing of what people sent, nor of whom."""

import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from services.logs import configure
from services.redaction import LONGEST, LONGEST_ERROR, cleaned, said
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


ADDRESS = "ada.lovelace+news@quillfeather.example"
VISITOR = "AaIVsm1hdDGg0d0r2nzYVw"


def error_of_the_server() -> asyncpg.PostgresError:
    """Return an error as PostgreSQL and asyncpg tell it, with the row that it is about."""
    fields = {"S": "ERROR", "C": "23514", "M": 'new row for relation "mails" violates check constraint "settled"'}
    return asyncpg.PostgresError.new({**fields, "D": f"Failing row contains (0, {VISITOR}, {ADDRESS}).", "H": ADDRESS})


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_is_told_without_whom_it_is_about(
    log_format: LogFormat, untouched_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of rows, arguments, keys and texts in errors, their causes, groups and notes nothing is written; all kinds are."""
    configure(log_format)
    group = ExceptionGroup(ADDRESS, [KeyError(VISITOR), error_of_the_server()])
    group.add_note(f"while mailing {ADDRESS}")
    try:
        try:
            raise asyncpg.DataError(f"invalid input for query argument $2: {{'name': {ADDRESS}}} (expected str, got dict)")
        except asyncpg.DataError as error:
            raise group from error
    except ExceptionGroup:
        structlog.get_logger().exception("it failed", tool="aider", reader=ADDRESS)
        logging.getLogger("arq.worker").exception("cron:_tick failed, %s", error_of_the_server())
    written = capsys.readouterr().err
    assert ADDRESS not in written and VISITOR not in written and "quillfeather" not in written
    for word in (
        "ExceptionGroup",
        "KeyError",
        "CheckViolationError",
        "DataError",
        "query argument $2",
        "mails",
        "settled",
        "aider",
    ):
        assert word in written
    assert "test_logs.py" in written


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"no mail to {ADDRESS}, twice", "no mail to …, twice"),
        (f"<{ADDRESS}>: gone", "<…>: gone"),
        ("postgresql://u:secret@h/d does not answer", "postgresql://u:… does not answer"),
        (f"duplicate key\nDETAIL:  Key (mark)=({VISITOR}) already exists.\nHINT: {ADDRESS}", "duplicate key"),
        ("position 12 of 2026-11-27T09:00:00 (a == b, 50%)", "position 12 of 2026-11-27T09:00:00 (a == b, 50%)"),
    ],
)
def test_a_line_keeps_all_but_addresses_and_details(text: str, kept: str) -> None:
    """What an operator needs stays as it was."""
    assert cleaned(text) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"'{VISITOR}'", "…"),
        (f"{VISITOR} is no voter", "… is no voter"),
        ('relation "newsletter.mails" does not exist', 'relation "newsletter.mails" does not exist'),
        ('invalid input syntax for type uuid: "ada"', "invalid input syntax for type uuid: …"),
        ("the server didn't answer, and that can't be", "the server didn't answer, and that can't be"),
    ],
)
def test_an_error_keeps_names_of_ours(text: str, kept: str) -> None:
    """Tables and constraints stay, values go."""
    assert said(text) == kept


@pytest.mark.parametrize("text", ["a" * 10**6, "a@" * 10**6, "'" * 10**6, "\\'" * 10**6, "A-" * 10**6])
def test_a_long_text_is_cut_before_it_is_looked_through(text: str) -> None:
    """What somebody made long, of whatever would keep a pattern busy, is cut: nobody fills the log or stops a process by it."""
    assert len(cleaned(text)) <= LONGEST + 1 and len(said(text)) <= LONGEST_ERROR + 1
