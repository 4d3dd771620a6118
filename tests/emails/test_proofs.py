"""Which mail of ours a returned mail is about: any proof counts, wherever in it that stands."""

import base64

import pytest

from services.newsletter.reports import read_mail
from services.newsletter.tokens import MailTokens

TOKENS = MailTokens(("a-secret-key-of-the-tests-that-is-long",))
READER, OTHER = "AaMYXFAEcACAAAAAAAAABA", "AaMYXFAEcACAAAAAAAAABQ"
ID = f"Message-ID: <issue-7.{READER}@verdicts.example>"
LINK = f"List-Unsubscribe: <https://verdicts.example/newsletter/unsubscribe?token={TOKENS.unsubscribe(READER)}>"
TEXT = "From: MAILER-DAEMON@mx.example\nReturn-Path: <>\nSubject: failure notice\n\nYour mail was not delivered:\n\n"
GONE, FULL = f"{TEXT}<a@b.example>: 550 5.1.1 no such mailbox\n\n", f"{TEXT}<a@b.example>: mailbox is full\n\n"
STATUS = "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n"


def notice(status: str, headers: str, encoding: str = "7bit", body: str = STATUS) -> bytes:
    """Return a delivery notice whose parts are of these types."""
    top = 'From: x@mx.example\nMIME-Version: 1.0\nContent-Type: multipart/report; boundary="b"\n\n'
    coded = base64.encodebytes(body.encode()).decode() if encoding == "base64" else body
    parts = (f"Content-Type: {status}\nContent-Transfer-Encoding: {encoding}\n\n{coded}", f"Content-Type: {headers}\n\n{ID}\n")
    return (top + "".join(f"--b\n{part}\n" for part in parts) + "--b--\n").encode()


@pytest.mark.parametrize(
    "raw",
    [
        f"{GONE}--- Below this line is a copy of the message.\n\n{ID}\nSubject: Issue 7\n".encode(),
        f"{GONE}------ This is a copy of the message. ------\n\n{LINK}\nMessage-ID: <0102@relay.example>\n".encode(),
        f"{GONE}X-Google-Original-{ID}\n".encode(),
        notice("message/delivery-status", "text/rfc822-headers"),
        notice("message/global-delivery-status", "message/global-headers"),
        notice("message/delivery-status", "text/plain; name=headers.txt", "base64"),
    ],
    ids=["text", "renamed by a relay", "kept by a relay", "headers", "international", "encoded"],
)
def test_a_proof_is_found_wherever_it_stands(raw: bytes) -> None:
    """Our Message-ID or our link to unsubscribe names the reader of a dead address, in every form of notice."""
    (report,) = read_mail(raw, TOKENS)
    assert (report.reader, report.kind) == (READER, "hard")


def test_what_passes_is_soft_in_words_too() -> None:
    """A full mailbox in a notice in words drops nobody."""
    (report,) = read_mail(f"{FULL}{ID}\n".encode(), TOKENS)
    assert (report.kind, report.about_us) == ("soft", False)


def test_a_proof_that_is_none_names_nobody() -> None:
    """Neither a made-up link nor a mail that names two readers is about anybody."""
    assert read_mail(f"{GONE}{LINK[:-3]}AA>\n".encode(), TOKENS) == []
    assert read_mail(f"{GONE}{ID}\n{ID.replace(READER, OTHER)}\n".encode(), TOKENS) == []
    assert read_mail(f"Subject: hello\n\n{ID}\n".encode(), TOKENS) == []
