"""Reading returned mail: each kind is recognized, and no text that a person wrote is taken for a bounce."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emails.bounces import Recipient, Report, classify

CORPUS = Path(__file__).parent / "corpus"
ANA, BEA, OURS = "ana@example.net", "bea@example.org", "<12.k3Jx0@verdicts.example.com>"

Expected = tuple[str, list[tuple[str | None, str | None, str, bool]], str | None]

EXPECTED: dict[str, Expected] = {
    "postfix-user-unknown": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "postfix-domain-not-found": ("hard_bounce", [(ANA, "5.4.4", "network", True)], OURS),
    "postfix-delayed": ("unknown", [], None),
    "postfix-expired": ("soft_bounce", [(ANA, "4.4.1", "network", False)], OURS),
    "postfix-delivered": ("unknown", [], None),
    "postfix-two-recipients": ("hard_bounce", [(ANA, "5.1.1", "address", True), (BEA, "5.2.2", "mailbox", False)], OURS),
    "postfix-policy-block": ("soft_bounce", [(ANA, "5.7.1", "policy", False)], OURS),
    "postfix-forwarded": ("hard_bounce", [("ana+ai@example.net", "5.1.1", "address", True)], OURS),
    "yahoo-no-account": ("hard_bounce", [(ANA, "5.0.0", "other", True)], OURS),
    "yahoo-throttled": ("unknown", [], None),
    "exim-user-unknown-dsn": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "exim-quota-dsn": ("soft_bounce", [(ANA, "5.2.2", "mailbox", False)], OURS),
    "exim-old-text": ("hard_bounce", [(ANA, None, "other", True)], None),
    "exim-warning-text": ("unknown", [], None),
    "gmail-no-such-user": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "gmail-mailbox-full": ("soft_bounce", [(ANA, "5.2.2", "mailbox", False)], OURS),
    "gmail-domain-not-found": ("hard_bounce", [(ANA, "5.1.2", "address", True)], OURS),
    "gmail-delayed": ("unknown", [], None),
    "m365-recipient-not-found": ("hard_bounce", [(ANA, "5.1.10", "address", True)], OURS),
    "m365-access-denied": ("hard_bounce", [(ANA, "5.4.1", "network", True)], OURS),
    "m365-expired": ("soft_bounce", [(ANA, "5.4.316", "network", False)], OURS),
    "m365-quota": ("soft_bounce", [(ANA, "5.2.2", "mailbox", False)], OURS),
    "m365-restricted": ("soft_bounce", [(ANA, "5.7.133", "policy", False)], OURS),
    "ses-user-unknown": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "ses-suppressed": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "ses-content-rejected": ("soft_bounce", [(ANA, "5.6.1", "content", False)], OURS),
    "sendmail-user-unknown": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "sendmail-warning": ("unknown", [], None),
    "qmail-no-mailbox": ("hard_bounce", [(ANA, None, "other", True)], None),
    "domino-no-such-user": ("hard_bounce", [(ANA, "5.1.1", "address", True)], OURS),
    "opensmtpd-error": ("soft_bounce", [(ANA, "5.0.0", "other", False)], OURS),
    "dsn-in-multipart-mixed": ("hard_bounce", [(ANA, "5.1.1", "address", True)], None),
    "dsn-without-address": ("hard_bounce", [(None, "5.1.1", "address", True)], OURS),
    "arf-abuse": ("complaint", [(ANA, None, "other", False)], OURS),
    "arf-yahoo": ("complaint", [(ANA, None, "other", False)], OURS),
    "arf-ses": ("complaint", [(ANA, None, "other", False)], OURS),
    "arf-redacted": ("complaint", [], OURS),
    "arf-headers-only": ("complaint", [(ANA, None, "other", False)], OURS),
    "arf-not-spam": ("unknown", [], None),
    "arf-auth-failure": ("unknown", [], None),
    "microsoft-jmrp": ("complaint", [(ANA, None, "other", False)], OURS),
    "vacation-sieve": ("auto_reply", [], OURS),
    "vacation-exchange": ("auto_reply", [], OURS),
    "vacation-gmail": ("auto_reply", [], OURS),
    "vacation-unix": ("auto_reply", [], None),
    "autoresponder-cpanel": ("auto_reply", [], OURS),
    "vacation-that-talks-of-bounces": ("auto_reply", [], OURS),
    "ticket-opened": ("auto_reply", [], OURS),
    "read-receipt": ("auto_reply", [], OURS),
    "challenge-tmda": ("challenge", [], OURS),
    "challenge-reply-to-only": ("challenge", [], OURS),
    "challenge-boxtrapper": ("challenge", [], OURS),
    "challenge-ask": ("challenge", [], OURS),
    "challenge-spamarrest": ("challenge", [], OURS),
    "person-quotes-a-bounce": ("unknown", [], None),
    "person-forwards-a-bounce": ("unknown", [], None),
    "person-replies": ("unknown", [], None),
    "list-post": ("unknown", [], None),
    "daemon-says-nothing": ("unknown", [], None),
}  # fmt: skip


def mail(name: str) -> bytes:
    """Return a mail of the corpus as a mail system hands it over."""
    return (CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")


@pytest.mark.parametrize("name", EXPECTED)
def test_each_mail_is_taken_for_what_it_is(name: str) -> None:
    """Kind, recipients, status and the mail it answers are read from every format, with either kind of line end."""
    kind, recipients, message_id = EXPECTED[name]
    report = classify(mail(name))
    assert report.kind == kind and report.message_id == message_id
    assert [(each.address, each.status, each.diagnostic, each.hard) for each in report.recipients] == recipients
    assert classify(mail(name).replace(b"\r\n", b"\n")) == report


def test_every_mail_of_the_corpus_is_expected_to_be_something() -> None:
    """No file is forgotten, and there are some of every kind."""
    assert {file.stem for file in CORPUS.glob("*.eml")} == set(EXPECTED)
    kinds = [kind for kind, _, _ in EXPECTED.values()]
    assert all(
        kinds.count(kind) >= 5 for kind in ("hard_bounce", "soft_bounce", "complaint", "auto_reply", "challenge", "unknown")
    )


@pytest.mark.parametrize(
    "status, code, hard",
    [
        ("5.0.0", "550", True), ("5.0.0", "550 5.2.2", False), ("5.0.0", "552", False), ("5.0.0", "554 5.7.1", True),
        ("5.0.0", "550-5.1.1", True), ("5.0.0", "550 #5.1.0", True), ("4.0.0", "550 5.1.1", True), ("5.2.1", "550", True),
        ("5.1.1", "552 5.2.2", False), ("5.3.4", "552", False), ("5.4.6", "554", False), ("5.9.9", "550", True),
        ("", "550 5.1.1", True), ("nonsense", "451", False), ("5.1.11", "550", False),
    ],
)  # fmt: skip
def test_the_more_telling_code_counts(status: str, code: str, hard: bool) -> None:
    """A code that says only "failed" gives way to what the remote server said: a full mailbox may pass."""
    text = mail("postfix-user-unknown").replace(b"Status: 5.1.1", f"Status: {status}".encode())
    report = classify(text.replace(b"smtp; 550 5.1.1 ", f"smtp; {code} ".encode()))
    assert (report.kind == "hard_bounce") is hard and [each.hard for each in report.recipients] == [hard]


def test_who_sent_it_decides_what_free_text_means() -> None:
    """The words of a bounce count from a mail system alone."""
    text = mail("qmail-no-mailbox")
    assert classify(text).kind == "hard_bounce"
    person = text.replace(b"MAILER-DAEMON@mail.relay.example", b"bea@example.org").replace(
        b"Return-Path: <>", b"Return-Path: <b@x>"
    )
    assert classify(person) == Report("unknown")


def test_an_attached_bounce_is_not_its_carriers() -> None:
    """A notice inside a forwarded mail says nothing about the mail that carries it."""
    inner = mail("person-forwards-a-bounce")
    assert classify(inner).recipients == () and b"Final-Recipient: rfc822; ana@example.net" in inner


@given(st.binary())
@example(b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n--b--")
@example(b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n\r\nAction: failed")
@example(b"Content-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse")
@example(b"Content-Type: message/rfc822; charset=\xff\r\n\r\n\xff")
def test_nothing_at_all_can_break_it(raw: bytes) -> None:
    """Every input gives a report."""
    assert isinstance(classify(raw), Report)


@given(st.sampled_from(sorted(EXPECTED)), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=40))
def test_mangled_mails_are_read_as_far_as_they_go(name: str, cut: float, place: float, dirt: bytes) -> None:
    """Cut off and soiled anywhere, a mail still gives a report."""
    raw = mail(name)
    at = int(place * len(raw))
    soiled = raw[:at] + dirt + raw[at:]
    assert isinstance(classify(soiled[: int(cut * len(soiled))]), Report)


def test_deep_and_large_mails_are_read_in_time() -> None:
    """Neither a thousand boxes in each other nor a mebibyte of lines stops the reading."""
    begun = time.process_time()
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(1000))
    assert classify(deep).kind == "unknown"
    assert classify(b"From: MAILER-DAEMON@example.org\r\n\r\n" + b"<ana@example.net>: no\r\n" * 48_000).kind in (
        "unknown",
        "hard_bounce",
    )
    assert time.process_time() - begun < 20


def test_a_report_whose_parts_were_lost_is_read_as_text() -> None:
    """A mail that says it has parts, and has none, still says what happened."""
    head = "From: daemon@mx.example.net\nTo: bounces@example.org\nSubject: Returned mail\n"
    raw = f"{head}Content-Type: multipart/report; boundary=lost\n\n550 5.1.1 <ana@example.net>... User unknown\n"
    assert classify(raw.encode()).kind == "hard_bounce"


def test_a_report_may_be_about_nobody_we_know() -> None:
    """If a report hides the reader, its Message-ID still names the mail."""
    assert classify(mail("arf-redacted")) == Report("complaint", (), OURS)
    assert classify(mail("dsn-without-address")).recipients == (Recipient(None, "5.1.1", "address", True),)


@pytest.mark.parametrize(
    "sender, subject, words, kind",
    [
        ("MDaemon@mx.example.net", "Warning: ana@example.net", "ana@example.net - no such user here.", "hard_bounce"),
        ("Mail System <Mail.Delivery.System@mx.example.net>", "Status", "Delivery failed: 550 unknown user", "hard_bounce"),
        ("ndr@mx.example.net", "Mail delivery failed: returning message to sender", "Not a valid user.", "hard_bounce"),
        ("postmaster@mx.example.net", "Undeliverable: Release 2.0.12", "It did not reach: mailbox unknown", "hard_bounce"),
        (
            "postmaster@mx.example.net",
            "Undeliverable",
            "Subject: Spam\n\nUser ana not listed in Domino Directory",
            "hard_bounce",
        ),
        (
            "mailer-daemon@mx.example.net",
            "Returned mail",
            "    (reason: 553 SPF fail)\n\n550 5.1.1 User unknown",
            "soft_bounce",
        ),
        (
            "daemon@mx.example.net",
            "Error",
            "An error while attempting to deliver:\n\n550 No such user",
            "hard_bounce",
        ),
        (
            "InterScan MSS <x@mx.example.net>",
            "メール",
            "Sent <<< RCPT TO:<ana@x>\nReceived >>> 550 5.1.1 unknown",
            "hard_bounce",
        ),
        ("daemon@mx.example.net", "Returned mail", "550 unknown user\nFinal-Recipient: RFC822; ana@x", "hard_bounce"),
        ("daemon@mx.example.net", "Returned mail", "<<< 553 5.7.1 Invalid recipient ana@example.net", "hard_bounce"),
        ("daemon@mx.example.net", "Returned mail", "<<< 553 5.7.1 Invalid recipient: relaying denied", "soft_bounce"),
        ("daemon@mx.example.net", "Undeliverable", "メールアドレスが見つかりませんでした。", "hard_bounce"),
        ("daemon@mx.example.net", "Delay", "It will be retried for 2 days.\n\nThe error was: 450 Mailbox full", "unknown"),
        ("postmaster@mx.example.net", "Warning", "Delivery failed so far. We will continue to try for 5 days.", "unknown"),
        ("Ben <ben@example.net>", "Mail", "You sent mail to me. Delivery failed: 550 unknown user", "unknown"),
    ],
)
def test_a_notice_in_words_is_read_whichever_system_wrote_it(sender: str, subject: str, words: str, kind: str) -> None:
    """Its sender or subject tells that no person wrote it; the remote server's words say the rest, not our subject's."""
    raw = f"From: {sender}\nTo: bounces@example.org\nSubject: {subject}\n\n{words}\n"
    assert classify(raw.encode()).kind == kind
