"""Which mail of ours a returned mail is about: any proof counts, wherever in it that stands."""

import base64
import json

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


ID_ALONE = f"CFBL-Feedback-ID: {TOKENS.complaint(READER)}"


def complaint(kind: str, body: str, more: str = "") -> bytes:
    """Return a complaint whose second part is of this type, with what little a careful provider gives away."""
    top = f'From: fbl@mx.example\nMIME-Version: 1.0\n{more}Content-Type: multipart/mixed; boundary="b"\n\n'
    parts = ("Content-Type: text/plain\n\nA reader complained.\n", f"Content-Type: {kind}\n\n{body}\n")
    return (top + "".join(f"--b\n{part}\n" for part in parts) + "--b--\n").encode()


ARF = f"Feedback-Type: abuse\nUser-Agent: FBL/1\nVersion: 1\n\n--b\nContent-Type: text/rfc822-headers\n\n{ID_ALONE}\n"
XARF_3 = {"Version": "3", "Report": {"ReportClass": "Activity", "ReportType": "Spam", "Samples": [
    {"ContentType": "text/rfc822-headers", "Base64Encoded": False, "Payload": f"Subject: Hi\r\n{ID_ALONE}\r\n"}]}}  # fmt: skip
XARF_4 = {"xarf_version": "4.0.0", "category": "messaging", "type": "spam", "evidence": [
    {"content_type": "message/rfc822", "payload": base64.b64encode(f"{ID_ALONE}\r\n\r\nHi".encode()).decode()}]}  # fmt: skip
XARF_0 = f"Reported-From: fbl@mx.example\nReport-Type: spam\n\n--b\nContent-Type: message/rfc822\n\n{ID_ALONE}\n\nHi\n"


@pytest.mark.parametrize(
    "raw",
    [
        complaint("message/feedback-report", ARF),
        complaint("message/feedback-report", ARF.replace(": AaM", ":\n AaM").replace("CFBL-F", "cfbl-f")),
        complaint("application/json; name=xarf.json", json.dumps(XARF_3)),
        complaint("application/json", json.dumps(XARF_4)),
        complaint("text/plain; name=report.txt", XARF_0, "X-XARF: PLAIN\n"),
    ],
    ids=["ARF", "ARF, folded", "X-ARF 3", "X-ARF 4", "X-ARF in YAML"],
)
def test_a_complaint_that_names_nobody_is_known_by_its_id(raw: bytes) -> None:
    """A provider that sends nothing but our id for complaints back (RFC 9477) is understood, in each of its formats."""
    (report,) = read_mail(raw, TOKENS)
    assert (report.reader, report.kind) == (READER, "complaint")


def test_an_id_for_complaints_can_t_be_made_up() -> None:
    """Neither another reader's name before our signature nor a report of another kind is a complaint."""
    forged = complaint("message/feedback-report", ARF.replace(READER, OTHER))
    assert read_mail(forged, TOKENS) == []
    for kind in ("not-spam", "auth-failure"):
        assert read_mail(complaint("message/feedback-report", ARF.replace("abuse", kind)), TOKENS) == []
    quiet = {**XARF_4, "type": "port_scan"}
    assert read_mail(complaint("application/json", json.dumps(quiet)), TOKENS) == []
    for broken in ("{", "[]", "null", '{"type": 5, "evidence": 7}', '{"type": "spam", "evidence": [5, null]}', "[" * 100_000):
        assert read_mail(complaint("application/json", broken), TOKENS) == []


def test_a_complaint_by_what_strangers_may_have_read_is_none() -> None:
    """A Message-ID stands in whatever its reader answers in public: alone it ends no subscription, nor beside another's id."""
    assert read_mail(complaint("message/feedback-report", ARF.replace(ID_ALONE, ID)), TOKENS) == []
    others = f"{ID.replace(READER, OTHER)}\n{ID_ALONE}"
    assert read_mail(complaint("message/feedback-report", ARF.replace(ID_ALONE, others)), TOKENS) == []
    for proof in (ID_ALONE, LINK):
        (report,) = read_mail(complaint("message/feedback-report", ARF.replace(ID_ALONE, f"{ID}\n{proof}")), TOKENS)
        assert (report.reader, report.kind) == (READER, "complaint")


def test_an_id_for_complaints_outlives_its_key() -> None:
    """A complaint about an old mail is read after the secret key was changed, as an old link to unsubscribe is."""
    newer = MailTokens(("another-secret-key-of-the-tests-that-is-long",), ("a-secret-key-of-the-tests-that-is-long",))
    (report,) = read_mail(complaint("message/feedback-report", ARF), newer)
    assert report.reader == READER
    assert (
        read_mail(complaint("message/feedback-report", ARF), MailTokens(("another-secret-key-of-the-tests-that-is-long",)))
        == []
    )
