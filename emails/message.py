"""Build mails as bytes (RFC 5322, MIME), 7-bit throughout, so that every relay takes them unchanged.

What all readers of an issue share is encoded once, by `prepare`; `fill` adds what differs, which costs microseconds where
`EmailMessage` takes milliseconds. No value can end a header: machines' headers refuse control characters, texts lose them.
"""

import binascii
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from itertools import pairwise
from typing import NamedTuple

from markupsafe import escape

from emails.addresses import ascii_address
from emails.rendering import HTML_BUDGET, NOTHING_OWN, MailTooLarge, OwnPart, RenderedMail, SharedDigest

HEADER_LONGEST = 998  # RFC 5322 2.1.1, without the CRLF
LINE_LONGEST = 76  # RFC 2045 6.7

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_URL = re.compile(r"https?://[!#-;=?-~]+")  # printable ASCII without space, quotes and angle brackets
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_LIST_ID = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_FEEDBACK_ID = re.compile(r"(?:[!-9;-~]+:){3}[!-9;-~]{5,15}")
"""Google's form: three names of any kind of mails, and the sender's own."""
_COMPLAINT_ID = re.compile(r"[A-Za-z0-9_:-]{1,200}")
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_WORD_BYTES = 39  # in base64 a line of "Subject: " and one encoded word stays under RFC 2047's 76 characters


class UnsafeHeader(ValueError):
    """A value can't stand in the header it is meant for."""


class From(NamedTuple):
    """The sender of a mail: a name for people, and an address."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The address's domain."""
        return self.address.rpartition("@")[2]


class Reader(NamedTuple):
    """The parts of a digest that differ between readers; `message_id` stays the same when the mail is built again.

    `complaint_id` names the reader in a complaint whose sender gives nothing else away (RFC 9477 3.2).
    """

    address: str
    message_id: str
    date: datetime
    unsubscribe_url: str
    manage_url: str
    own: OwnPart = NOTHING_OWN
    complaint_id: str | None = None


class PreparedDigest:
    """A digest, encoded except for the parts that differ between its readers."""

    def __init__(self, shared: SharedDigest, head: bytes, boundary: bytes) -> None:
        self._shared = shared
        self._head = head
        self._text = _encoded_pieces(shared.text)
        self._html = _encoded_pieces(shared.html)
        self._html_gaps = shared.html[1::2]
        self._html_size = sum(len(piece.encode()) for piece in shared.html[::2])
        self._before, self._between, self._after = _frame(boundary)

    def fill(self, reader: Reader) -> bytes:
        """Return the mail to one reader. Raises AddressRefused, UnsafeHeader and MailTooLarge."""
        text, html = self._gap_values(reader)
        parts = [_envelope(reader.address, reader.message_id, reader.date), _unsubscribe(reader.unsubscribe_url)]
        if reader.complaint_id is not None:
            parts.append(b"CFBL-Feedback-ID: %s\r\n" % _checked(_COMPLAINT_ID, reader.complaint_id, "CFBL-Feedback-ID"))
        parts += [self._head, self._before]
        _fill_into(parts, self._text, text)
        parts.append(self._between)
        _fill_into(parts, self._html, html)
        parts.append(self._after)
        return b"".join(parts)

    def rendered(self, reader: Reader) -> RenderedMail:
        """Return the digest as one reader sees it. Raises MailTooLarge."""
        text, html = self._gap_values(reader)
        return RenderedMail(self._shared.subject, _filled(self._shared.text, text), _filled(self._shared.html, html))

    def _gap_values(self, reader: Reader) -> tuple[dict[str, str], dict[str, str]]:
        """Return the values for the gaps of the text and of the HTML. Raises MailTooLarge."""
        own, unsubscribe_url, manage_url = reader.own, reader.unsubscribe_url, reader.manage_url
        text = {"own": own.text, "unsubscribe_url": unsubscribe_url, "manage_url": manage_url}
        html = {"own": own.html, "unsubscribe_url": str(escape(unsubscribe_url)), "manage_url": str(escape(manage_url))}
        size = self._html_size + sum(len(html[name].encode()) for name in self._html_gaps)
        if size > HTML_BUDGET:
            raise MailTooLarge(f"the HTML part has {size} bytes; {HTML_BUDGET} are the most")
        return text, html


def prepare(
    shared: SharedDigest, sender: From, list_id: str, feedback_id: str | None = None, list_name: str = ""
) -> PreparedDigest:
    """Encode the parts of a digest that all its readers share; `list_id` is a domain name (RFC 2919). Raises UnsafeHeader.

    Complaints are asked for at the sender's address, as ARF (RFC 9477): bounces come there too, and it is the From's, so no
    other domain need agree.
    """
    identifier = _checked(_LIST_ID, list_id, "List-Id")
    phrase = _phrase(header_text(list_name)).encode("ascii")
    lines = [b"List-Id: %s\r\n <%s>" % (phrase, identifier) if phrase else b"List-Id: <%s>" % identifier]
    if feedback_id is not None:
        lines.append(b"Feedback-ID: %s" % _checked(_FEEDBACK_ID, feedback_id, "Feedback-ID"))
    lines.append(b"CFBL-Address: %s; report=arf" % ascii_address(sender.address).encode())
    if shared.checkpoint is not None:
        lines.append(b"Ballotpress-Checkpoint: " + _folded_base64(shared.checkpoint.encode()))
    head = _from_and_subject(sender, shared.subject) + b"".join(line + b"\r\n" for line in lines)
    boundary = _boundary()
    return PreparedDigest(shared, head + _mime(boundary), boundary)


def single(rendered: RenderedMail, sender: From, address: str, message_id: str, date: datetime) -> bytes:
    """Build a mail to one person who asked for it, or whose address somebody entered. It belongs to no list."""
    boundary = _boundary()
    before, between, after = _frame(boundary)
    return b"".join(
        [
            _envelope(address, message_id, date),
            _from_and_subject(sender, rendered.subject),
            b"Auto-Submitted: auto-generated\r\n",  # RFC 3834: no absence notice answers it
            _mime(boundary),
            before,
            _ended(_quoted_printable(rendered.text)),
            between,
            _ended(_quoted_printable(rendered.html)),
            after,
        ]
    )


def _envelope(address: str, message_id: str, date: datetime) -> bytes:
    return b"To: %s\r\nMessage-ID: %s\r\nDate: %s\r\n" % (
        ascii_address(address).encode(),
        _checked(_MESSAGE_ID, message_id, "Message-ID"),
        format_datetime(date).encode(),
    )


def _unsubscribe(url: str) -> bytes:
    return b"List-Unsubscribe: <%s>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" % _checked(
        _URL, url, "List-Unsubscribe"
    )


def _from_and_subject(sender: From, subject: str) -> bytes:
    name, address = _phrase(header_text(sender.name)), ascii_address(sender.address)
    origin = f"{name}\r\n <{address}>" if name else address
    return f"From: {origin}\r\nSubject: {_unstructured(header_text(subject))}\r\n".encode("ascii")


def _phrase(name: str) -> str:
    """Write a name before an address (RFC 5322 3.2.5): as it is, quoted, or as encoded words."""
    if _PHRASE.fullmatch(name) and "=?" not in name:
        return name
    if _plain(name):
        return '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))
    return _encoded_words(name)


def _unstructured(text: str) -> str:
    return text if _plain(text) else _encoded_words(text)


def _plain(text: str) -> bool:
    return text.isascii() and "=?" not in text and len(text) < HEADER_LONGEST / 2


def _encoded_words(text: str) -> str:
    """Write a text as RFC 2047 words in base64, none of which cuts a character; `email` misplaces spaces when it folds them."""
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    return "\r\n ".join(f"=?utf-8?b?{binascii.b2a_base64(each, newline=False).decode()}?=" for each in [*words, word])


def _folded_base64(value: bytes) -> bytes:
    """Write bytes as base64 on lines of a header; the first begins with the header's name."""
    encoded = binascii.b2a_base64(value, newline=False)
    cuts = [0, *range(LINE_LONGEST - len("Ballotpress-Checkpoint: "), len(encoded), LINE_LONGEST - 1), len(encoded)]
    return b"\r\n ".join(encoded[start:end] for start, end in pairwise(cuts))


def _checked(pattern: re.Pattern[str], value: str, header: str) -> bytes:
    if not pattern.fullmatch(value) or len(header) + 4 + len(value) > HEADER_LONGEST:
        raise UnsafeHeader(f"not fit for the header {header}")
    return value.encode("ascii")


def header_text(value: str) -> str:
    """Return a text for people without the characters that could end a header or hide in one."""
    return " ".join(_CONTROLS.sub(" ", value).encode("utf-8", "replace").decode().split())


def _mime(boundary: bytes) -> bytes:
    return b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="%s"\r\n\r\n' % boundary


def _boundary() -> bytes:
    return b"=_" + secrets.token_hex(12).encode()  # quoted-printable never writes "=_"


def _frame(boundary: bytes) -> tuple[bytes, bytes, bytes]:
    part = b"--%s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return part % (boundary, b"plain"), b"\r\n" + part % (boundary, b"html"), b"\r\n--%s--\r\n" % boundary


def _encoded_pieces(pieces: tuple[str, ...]) -> tuple[bytes | str, ...]:
    """Encode each text so that anything may follow it; the names of gaps between them stay."""
    last = len(pieces) - 1
    encoded = [_quoted_printable(piece) for piece in pieces[::2]]
    ended = [*(_ended(piece) for piece in encoded[:-1]), encoded[-1]]
    return tuple(ended[place // 2] if place % 2 == 0 else pieces[place] for place in range(last + 1))


def _filled(pieces: tuple[str, ...], values: Mapping[str, str]) -> str:
    return "".join(values[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _fill_into(parts: list[bytes], pieces: tuple[bytes | str, ...], values: Mapping[str, str]) -> None:
    for piece in pieces:
        parts.append(piece if isinstance(piece, bytes) else _ended(_quoted_printable(values[piece])))


def _quoted_printable(text: str) -> bytes:
    """Encode as RFC 2045 6.7, lines of at most 76 characters, CRLF."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    return binascii.b2a_qp(lines).replace(b"\n", b"\r\n")


def _ended(encoded: bytes) -> bytes:
    """Let another encoded text follow: after a line that isn't at its end, a soft line break."""
    if not encoded or encoded.endswith(b"\r\n"):
        return encoded
    if len(encoded) - encoded.rfind(b"\n") - 1 < LINE_LONGEST:
        return encoded + b"=\r\n"
    cut = -3 if encoded[-3:-2] == b"=" else -1  # the line is full: its last character goes to the next
    return encoded[:cut] + b"=\r\n" + encoded[cut:] + b"=\r\n"
