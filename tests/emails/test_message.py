"""Built mails: every value comes out as it was put in, and none can end a header."""

import email
import re
from base64 import b64decode
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emails.addresses import AddressRefused, NeedsSmtpUtf8, ascii_address
from emails.message import From, Reader, UnsafeHeader, header_text, prepare, single
from emails.rendering import HTML_BUDGET, MailTooLarge, OwnPart, RenderedMail, SharedDigest, render, render_own, render_shared
from services.proof import verify
from tests.support.mails import (
    BOOKMARKED,
    BOOKMARKS,
    CHECKPOINT,
    CONTENT,
    LIST_ID,
    MANAGE,
    READER,
    SENDER,
    SINGLE_MAILS,
    UNSUBSCRIBE,
    WHEN,
)

PREPARED = prepare(render_shared(CONTENT), SENDER, LIST_ID)


def parsed(raw: bytes) -> EmailMessage:
    """Read a mail as a mail client would; it has no defects."""
    mail = email.message_from_bytes(raw, policy=policy.default)
    assert not mail.defects and all(not part.defects for part in mail.walk())
    return mail


def content(raw: bytes, kind: str) -> str:
    """Return a part's text."""
    part = parsed(raw).get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def display_name(raw: bytes) -> str:
    """Return the sender's name by the older reader of headers; Python 3.11's newer one adds spaces between encoded words."""
    origin = email.message_from_bytes(raw)["From"].replace("\r\n", "")
    return str(make_header(decode_header(parseaddr(origin)[0])))


def headers(raw: bytes) -> bytes:
    """Return the header block as it was written."""
    return raw.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_a_digest_carries_its_checkpoint_twice() -> None:
    """Header and text part hold the same note, byte for byte; the header is folded at 76; without a note there is none."""
    raw = PREPARED.fill(READER)
    assert b64decode("".join(parsed(raw)["Ballotpress-Checkpoint"].split())).decode() == CHECKPOINT
    assert "counts the first 123,456 entries of the public log.\n" in content(raw, "plain")
    assert content(raw, "plain").count(f"\n\n{CHECKPOINT}\n") == 1
    (field,) = re.findall(rb"^Ballotpress-Checkpoint:.*\r\n(?:[ \t].*\r\n)+", headers(raw), re.MULTILINE)
    assert max(map(len, field.split(b"\r\n"))) <= 76 and raw.isascii()
    without = prepare(render_shared({**CONTENT, "checkpoint": None}), SENDER, LIST_ID).fill(READER)
    assert "Ballotpress-Checkpoint" not in parsed(without) and "public log" not in content(without, "plain")


def test_verify_py_reads_the_checkpoint_of_a_digest() -> None:
    """A reader's program finds it in the saved mail: the header and the text say the same."""
    mail = verify.read_mail(PREPARED.fill(READER))
    assert mail.note.whole == CHECKPOINT
    found = verify.COUNTS_FIRST.search(mail.text)
    assert found is not None and found[1] == "123,456"


def test_a_filled_mail_holds_what_was_rendered() -> None:
    """Both parts, decoded, are the rendered digest; the headers are those of a list that can be left by one click."""
    reader = READER._replace(own=render_own(BOOKMARKED, BOOKMARKS))
    raw, rendered = PREPARED.fill(reader), PREPARED.rendered(reader)
    assert content(raw, "plain") == rendered.text and content(raw, "html") == rendered.html
    mail = parsed(raw)
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["From"] == "Weekly AI Tool Verdicts <digest@verdicts.example.com>"
    assert (mail["To"], mail["Subject"]) == ("ana@example.com", rendered.subject)
    assert (mail["Message-ID"], mail["Date"].datetime) == ("<12.abc@verdicts.example.com>", WHEN)
    assert mail["List-Id"] == f"<{LIST_ID}>"
    assert mail["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_a_filled_mail_is_what_emailmessage_would_say() -> None:
    """The standard library's own mail of the same parts decodes to the same."""
    reader = READER._replace(own=render_own(BOOKMARKED, BOOKMARKS))
    rendered = PREPARED.rendered(reader)
    reference = EmailMessage(policy=policy.SMTP)
    reference["Subject"] = rendered.subject
    reference.set_content(rendered.text)
    reference.add_alternative(rendered.html, subtype="html")
    raw = PREPARED.fill(reader)
    for kind in ("plain", "html"):
        assert content(raw, kind).rstrip("\n") == content(reference.as_bytes(), kind).rstrip("\n")


@pytest.mark.parametrize("mail", SINGLE_MAILS)
def test_a_single_mail_belongs_to_no_list(mail: Any) -> None:
    """A mail that a person asked for carries no List headers, and says that a machine sent it."""
    rendered = render(mail, SINGLE_MAILS[mail])
    raw = single(rendered, SENDER, "ana@example.com", "<c.1@verdicts.example.com>", WHEN)
    assert content(raw, "plain") == rendered.text and content(raw, "html") == rendered.html
    assert b"List-" not in headers(raw) and b"Precedence" not in headers(raw)
    assert parsed(raw)["Auto-Submitted"] == "auto-generated"


@given(
    pieces=st.lists(st.text(), min_size=1, max_size=5), own=st.text(), subject=st.text(max_size=300), name=st.text(max_size=80)
)
def test_any_text_survives(pieces: list[str], own: str, subject: str, name: str) -> None:
    """Any text in and around a gap decodes to itself; lines keep their length; only the ends of lines are made alike."""
    body = [piece for each in pieces for piece in (each, "own")][:-1]
    shared = SharedDigest(subject, tuple(body), tuple(body))
    raw = prepare(shared, From(name, "d@example.com"), LIST_ID).fill(READER._replace(own=OwnPart(own, own)))
    assert_well_formed(raw)
    expected = own.join(pieces)
    mail = parsed(raw)
    for part in mail.iter_parts():
        decoded = cast(bytes, part.get_payload(decode=True)).decode()
        assert decoded == re.sub(r"\r\n|\r|\n", "\r\n", expected)
    assert mail["Subject"] == header_text(subject)
    assert mail["From"].addresses[0].addr_spec == "d@example.com"
    assert display_name(raw) == header_text(name)


def assert_well_formed(raw: bytes) -> None:
    """Check that the mail is 7-bit, in CRLF lines short enough for any relay."""
    assert raw.isascii() and raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n") and raw.endswith(b"\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998 and max(map(len, body.split(b"\r\n"))) <= 76


@pytest.mark.parametrize("length", range(70, 80))
@pytest.mark.parametrize("last", ["x", "é", " ", "=", "."])
def test_a_full_line_before_a_gap_is_broken_in_time(length: int, last: str) -> None:
    """Text of any length may stand before a gap."""
    shared = SharedDigest("s", ("x" * length + last, "own", "."), ("", "own", ""))
    raw = prepare(shared, SENDER, LIST_ID).fill(READER._replace(own=OwnPart("y" * length + last, "")))
    assert_well_formed(raw)
    assert content(raw, "plain").removesuffix("\n") == "x" * length + last + "y" * length + last + "."


def test_no_text_can_end_the_parts_or_fill_a_gap() -> None:
    """Text that looks like a boundary or a gap stays text."""
    boundary = parsed(PREPARED.fill(READER)).get_boundary()
    text = f"\n--{boundary}--\n\n--=_\nown;manage_url;"
    raw = PREPARED.fill(READER._replace(own=OwnPart(text, text)))
    assert text in content(raw, "plain") and len(list(parsed(raw).iter_parts())) == 2


EVIL = ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\x00b", "a\x0bb", "a\x85b", "a\u2028b", "a b", "a<b", "a>b", "é", ""]


@pytest.mark.parametrize("evil", EVIL)
def test_headers_for_machines_refuse_what_could_end_them(evil: str) -> None:
    """Neither addresses nor ids nor links can carry a line end, a space or an encoded word into a header."""
    for changed in (
        READER._replace(address=f"{evil}@example.com"),
        READER._replace(address=f"ana@{evil}"),
        READER._replace(message_id=f"<{evil}@example.com>"),
        READER._replace(message_id=evil),
        READER._replace(unsubscribe_url=f"https://example.com/{evil}" if evil else ""),
    ):
        with pytest.raises(ValueError):
            PREPARED.fill(changed)
    for list_id, feedback_id in ((evil, "a:b:c:sender"), (LIST_ID, evil)) if evil not in {"a<b", "a>b"} else ((evil, None),):
        with pytest.raises(UnsafeHeader):
            prepare(render_shared(CONTENT), SENDER, list_id, feedback_id)


@pytest.mark.parametrize("evil", EVIL)
def test_headers_for_people_lose_what_could_end_them(evil: str) -> None:
    """A name or subject is cleaned; no header appears that wasn't meant."""
    usual = {name for name, _ in parsed(PREPARED.fill(READER)).items()}
    mail = prepare(SharedDigest(evil, ("",), ("",), CHECKPOINT), From(evil, "d@example.com"), LIST_ID).fill(READER)
    assert {name for name, _ in parsed(mail).items()} == usual
    rendered = RenderedMail(evil, "", "")
    mail = single(rendered, From(evil, "d@example.com"), "ana@example.com", "<1@example.com>", WHEN)
    assert "Bcc" not in parsed(mail)


def test_machines_headers_are_never_encoded_words() -> None:
    """However long the link is, it stands in one piece on one line."""
    url = "https://verdicts.example.com/newsletter/unsubscribe?token=" + "aB3-" * 200
    reader = READER._replace(unsubscribe_url=url, address="ana@" + "ex." * 60 + "example.com")
    raw = headers(PREPARED.fill(reader))
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw
    assert not re.search(rb"(?im)^(list-|message-id|to)[^:]*:[^\r\n]*=\?", raw)
    with pytest.raises(UnsafeHeader):
        PREPARED.fill(READER._replace(unsubscribe_url=url + "x" * 200))


def test_the_same_reader_and_issue_keep_their_message_id() -> None:
    """Built again, perhaps by another worker, a mail is recognised as the same."""
    again = prepare(render_shared(CONTENT), SENDER, LIST_ID).fill(READER._replace(date=datetime(2027, 1, 1, tzinfo=UTC)))
    assert parsed(again)["Message-ID"] == parsed(PREPARED.fill(READER))["Message-ID"] == READER.message_id


def test_a_reader_whose_part_is_too_large_is_refused() -> None:
    """The budget includes the filled gaps."""
    with pytest.raises(MailTooLarge):
        PREPARED.fill(READER._replace(own=OwnPart("", "x" * HTML_BUDGET)))


@pytest.mark.parametrize(
    "address, ascii_form",
    [
        ("ana@example.com", "ana@example.com"),
        ("Ana.B+tag=1@EXAMPLE.com", "Ana.B+tag=1@example.com"),
        ("o'hara@exämple.com", "o'hara@xn--exmple-cua.com"),
        ("x@例え.テスト", "x@xn--r8jz45g.xn--zckzah"),
        ('"two words"@example.com', '"two words"@example.com'),
        (r'"a\"b@c"@example.com', r'"a\"b@c"@example.com'),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
    ],
)
def test_odd_but_legal_addresses_are_kept(address: str, ascii_form: str) -> None:
    """Every legal address reaches the header and is read back as the same address."""
    assert ascii_address(address) == ascii_form
    mail = parsed(PREPARED.fill(READER._replace(address=address)))
    assert len(mail["To"].addresses) == 1 and str(mail["To"]).endswith("@" + ascii_form.rpartition("@")[2])


@pytest.mark.parametrize(
    "address",
    [
        "", "nobody", "@example.com", "a@", "a@b", "a..b@example.com", ".a@example.com", "a b@example.com", 'a"b@example.com',
        "a@exa mple.com", "a@-example.com", "a@[192.0.2.1]", "a@example..com", "a@b@example.com", "a" * 65 + "@example.com",
        "a@" + "b" * 64 + ".com", "a@" + "b." * 130 + "com", '"a\r\nb"@example.com', "a@example.com\r\nBcc: b@example.com",
        "a@example.com>", "<a@example.com>", "a(c)@example.com",
    ],
)  # fmt: skip
def test_malformed_addresses_are_refused(address: str) -> None:
    """An invalid address never reaches a relay, and the refusal doesn't repeat it."""
    with pytest.raises(AddressRefused) as refusal:
        ascii_address(address)
    assert not address or address not in str(refusal.value)


def test_an_address_that_needs_smtputf8_is_told_apart() -> None:
    """A local part outside ASCII is refused with a reason of its own."""
    with pytest.raises(NeedsSmtpUtf8):
        ascii_address("jürgen@example.com")


def test_reader_has_nothing_of_their_own_unless_given() -> None:
    """Without bookmarks the gap closes."""
    assert Reader("a@example.com", "<1@example.com>", WHEN, UNSUBSCRIBE, MANAGE).own == OwnPart("", "")


def test_complaints_are_asked_for_at_the_senders_address() -> None:
    """A digest says where complaints go and by which id they name the reader; Gmail's id has four parts and names nobody."""
    feedback_id = "issue-7:weekly:digest:example-com"
    prepared = prepare(render_shared(CONTENT), SENDER, LIST_ID, feedback_id)
    mail = parsed(prepared.fill(READER._replace(complaint_id="AaMYXFAEcACAAAAAAAAABA:" + "x" * 43)))
    assert mail["CFBL-Address"] == f"{SENDER.address}; report=arf"
    assert mail["CFBL-Feedback-ID"] == "AaMYXFAEcACAAAAAAAAABA:" + "x" * 43
    assert mail["Feedback-ID"] == feedback_id
    assert parsed(prepared.fill(READER))["CFBL-Feedback-ID"] is None
    for evil in ("a.b", "a b", "", "a\r\nBcc: x@example.com"):
        with pytest.raises(UnsafeHeader):
            prepared.fill(READER._replace(complaint_id=evil))
    for evil in ("digest:example-com", "a:b:c:four", "a:b:c:far-too-long-a-name", "a::c:example-com", "a:b:c:d:example-com"):
        with pytest.raises(UnsafeHeader):
            prepare(render_shared(CONTENT), SENDER, LIST_ID, evil)
