"""The parts of a returned mail: its own, those of a mail attached to it, and everything in it as text."""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from typing import Any, Final

_ENCODED: Final = frozenset({"base64", "quoted-printable"})
_SOFT_BREAK: Final = re.compile(r"=\r?\n")
_TAG: Final = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|</?[a-z!][^<>@]*>", re.IGNORECASE | re.DOTALL)
_BLANK_LINE: Final = re.compile(r"\r?\n[ \t]*\r?\n")


def own_parts(mail: Message) -> Iterator[Message]:
    """Return a mail's own parts, without the parts of a mail attached to it."""
    yield mail
    if mail.get_content_maintype() == "multipart" and mail.is_multipart():
        for part in children(mail):
            yield from own_parts(part)


def children(mail: Message) -> list[Message]:
    """Return the parts directly in a part."""
    payload: Any = mail.get_payload()
    return [part for part in payload if isinstance(part, Message)] if isinstance(payload, list) else []


def field(mail: Message, name: str) -> str:
    """Return a header field on one line; empty if there is none."""
    return " ".join(str(mail.get(name, "")).split())


def fields(part: Message) -> list[Message]:
    """Return the groups of fields of a report's machine-readable part, in whichever form Python's parser left them."""
    if not _is_encoded(part) and (groups := children(part)):
        rest = [group.get_payload() for group in groups]
        return groups + [more for text in rest if isinstance(text, str) for more in _groups(text)]
    return _groups(text_of(part))


def _groups(text: str) -> list[Message]:
    return [HeaderParser().parsestr(group) for group in _BLANK_LINE.split(text.strip()) if group]


def text_of(part: Message) -> str:
    """Return the text of a part, decoded; HTML without its tags."""
    raw = decoded(part)
    try:
        text = raw.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = raw.decode("utf-8", "replace")
    return _TAG.sub(" ", text) if part.get_content_subtype() == "html" else text


def whole_text(mail: Message, raw: bytes) -> str:
    """Return everything in a mail as text: as it came, with every encoded part decoded, and with soft line breaks mended."""
    came = raw.decode("utf-8", "replace")
    encoded = [decoded(part).decode("utf-8", "replace") for part in mail.walk() if _is_encoded(part)]
    return "\n".join((came, *encoded, _SOFT_BREAK.sub("", came).replace("=3D", "=")))


def _is_encoded(part: Message) -> bool:
    return field(part, "Content-Transfer-Encoding").lower() in _ENCODED


def decoded(part: Message) -> bytes:
    """Return the bytes of a part. Python's parser takes what is encoded in a message part for the body of a bare mail."""
    inner = children(part)
    if inner and _is_encoded(part):
        carrier = Message()
        carrier["Content-Transfer-Encoding"] = field(part, "Content-Transfer-Encoding")
        carrier.set_payload("".join(str(one.get_payload()) for one in inner))
        part = carrier
    payload: Any = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""
