"""What a relay's log says was taken, in the forms that Postfix and its loggers write."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emails.relay_log import LogUnreadable, read_relay_log

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)

RFC3339 = """\
2025-12-31T23:59:58.1+00:00 mx postfix/smtpd[1]: connect from app[192.0.2.1]
2025-12-31T23:59:59.2+00:00 mx postfix/cleanup[2]: 4dKx1: message-id=<issue-3.a@verdicts.example>
2025-12-31T23:59:59.3+00:00 mx postfix/qmgr[3]: 4dKx1: from=<digest@verdicts.example>, size=900, nrcpt=1 (queue active)
2026-01-01T00:00:00.4+00:00 mx postfix/smtp[4]: 4dKx1: to=<ada@example.com>, relay=x, dsn=2.0.0, status=sent (250 ok)
2026-01-01T00:00:01.5+00:00 mx postfix/cleanup[2]: 4dKx2: message-id=<issue-3.b@verdicts.example>
2026-01-01T00:00:02.5+00:00 mx postfix/smtpd[1]: lost connection after DATA from app[192.0.2.1]
2026-01-01T00:00:03.5+00:00 mx postfix/cleanup[2]: 4dKx3: message-id=<issue-3.c@verdicts.example>
2026-01-01T00:00:04.5+00:00 mx postfix/smtp[4]: 4dKx3: to=<eve@example.com>, relay=x, dsn=4.0.0, status=deferred (451 later)
"""
SYSLOG = """\
Dec 31 23:59:59 mx postfix-out/smtps/smtpd[1]: connect from app[192.0.2.1]
Dec 31 23:59:59 mx postfix-out/cleanup[2]: 0A1B2C3D4E: message-id=<issue-3.a@verdicts.example>
Jan  1 00:00:00 mx postfix-out/qmgr[3]: 0A1B2C3D4E: from=<digest@verdicts.example>, size=900, nrcpt=1 (queue active)
Jan  1 00:00:01 mx kernel: nothing to do with mail
"""


def test_a_mail_is_taken_when_its_queue_file_is_whole(tmp_path: Path) -> None:
    """Queued or put off on its way further it is taken; a client that hung up after the header left nothing there."""
    (tmp_path / "log").write_text(RFC3339)
    log = read_relay_log([tmp_path / "log"], NOW)
    assert set(log.taken) == {"issue-3.a@verdicts.example", "issue-3.c@verdicts.example"}
    assert log.begins is not None and log.begins.year == 2025 and log.ends is not None and log.ends.year == 2026


def test_lines_without_a_year_are_of_the_last_twelve_months(tmp_path: Path) -> None:
    """Syslog's lines of December, read in January, are of the year before."""
    (tmp_path / "log").write_text(SYSLOG)
    log = read_relay_log([tmp_path / "log"], NOW)
    assert set(log.taken) == {"issue-3.a@verdicts.example"}
    assert log.begins is not None and log.begins.year == 2025


def test_rotated_and_packed_files_are_one_log(tmp_path: Path) -> None:
    """The queue's name is in one file, what became of it in the other, and the older one is packed."""
    lines = RFC3339.splitlines(keepends=True)
    (tmp_path / "log.1.gz").write_bytes(gzip.compress("".join(lines[:2]).encode()))
    (tmp_path / "log").write_text("".join(lines[2:4]))
    assert set(read_relay_log([tmp_path / "log", tmp_path / "log.1.gz"], NOW).taken) == {"issue-3.a@verdicts.example"}


@pytest.mark.parametrize("text", ["<issue-3.a@v.example>\n<issue-3.b@v.example>", "issue-3.a@v.example,x\nissue-3.b@v.example"])
def test_any_list_of_message_ids_is_read(tmp_path: Path, text: str) -> None:
    """A provider's export names them with angle brackets or without; a list has no span."""
    (tmp_path / "list").write_text(text)
    log = read_relay_log([tmp_path / "list"], NOW)
    assert (set(log.taken), log.begins) == ({"issue-3.a@v.example", "issue-3.b@v.example"}, None)


def test_a_file_that_cant_be_read_whole_is_named(tmp_path: Path) -> None:
    """A packed one that was cut off, one that is torn, one that isn't packed, one that isn't there: a sentence each."""
    packed = gzip.compress(RFC3339.encode())
    for name, content in (("cut.gz", packed[:-9]), ("torn.gz", packed[:12] + b"\xff" * 9), ("plain.gz", b"no"), ("gone", None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(LogUnreadable, match=f"{name} can't be read"):
            read_relay_log([tmp_path / name], NOW)
