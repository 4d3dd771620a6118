"""Bounces in the form of every family of mail systems: whom each blames, in words of our own (`tests/vectors/bounces.json`)."""

import json
from pathlib import Path
from typing import Any

import pytest

from emails.bounces import classify

SAMPLES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "bounces.json").read_text())

REPORT = """From: MAILER-DAEMON@mx.example
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your message could not be delivered.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ana@example.net
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {diagnostic}

--b--
"""
NOTICE = "From: {from}\nTo: digest@verdicts.example\nSubject: {subject}\n\n{body}\n"


def mail(sample: dict[str, Any]) -> bytes:
    """Return a sample as the mail that it stands for."""
    if "status" in sample:
        return REPORT.format(**sample).encode()
    return NOTICE.format(**sample, body="\n".join(sample["words"])).encode()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.get("subject") or sample.get("diagnostic"))[:60])
def test_a_family_is_read_as_a_person_reads_it(sample: dict[str, Any]) -> None:
    """A dead address is hard; a full mailbox, a way that fails, and whatever blames the sender are soft; a delay is nothing."""
    assert classify(mail(sample)).kind == sample["kind"]
    assert classify(mail(sample).replace(b"\n", b"\r\n")).kind == sample["kind"]
