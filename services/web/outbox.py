"""The outbox: where no mail relay is set, the mails that would have been sent, shown to browsers on this machine alone."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Final, NamedTuple

from services.newsletter import outbox
from services.web.http.answers import Answer
from services.web.http.endpoints import endpoint
from services.web.http.pages import HTML, show
from services.web.http.problems import NotFound
from services.web.site import Call

_HERE: Final = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.I)
_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"forwarded", b"via")
_LINK: Final = re.compile(r"(https?://[^\s<>\"]+)")
_FRAME: Final = (
    (b"cache-control", b"private, no-store"),
    (
        b"content-security-policy",
        b"sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        b"base-uri 'self'; frame-ancestors 'self'",
    ),
)
_FRAMING: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
)
_PAGE: Final = ((b"cache-control", b"private, no-store"), (b"vary", b"Cookie, Accept-Encoding"), _FRAMING)


class ListedMail(NamedTuple):
    """A mail as the list shows it."""

    name: str
    subject: str
    to: str
    date: datetime | None


def _require_outbox(call: Call) -> None:
    """Refuse whoever may sit elsewhere, since the mails hold working links. Raises NotFound, also where mails are sent.

    A proxy names itself by a header; a page elsewhere whose name was pointed here gives itself away by the Host.
    """
    client = call.scope["client"]
    is_here = client is not None and ip_address(client[0].partition("%")[0]).is_loopback
    is_direct = call.head.keys().isdisjoint(_FORWARDED) and _HERE.fullmatch(call.head.get(b"host", b""))
    if call.site.settings.smtp_url is not None or not is_here or not is_direct:
        raise NotFound("There is no outbox here.")


def _read(call: Call) -> tuple[bytes, EmailMessage]:
    """Return the source of the mail in the path, and the mail. Raises NotFound."""
    _require_outbox(call)
    source = outbox.read(call.site.settings.home, call.path["mail"])
    if source is None:
        raise NotFound("There is no such mail.")
    return source, message_from_bytes(source, policy=policy.default)


def _date(mail: EmailMessage) -> datetime | None:
    date = mail["date"]
    return date.datetime.astimezone(UTC) if date is not None and date.datetime is not None else None


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return "" if part is None else str(part.get_content())


@endpoint("GET", "/outbox", gives=HTML, problems=(404,))
async def outbox_page(call: Call) -> Answer:
    """List the mails that were kept instead of being sent, newest first."""
    _require_outbox(call)
    found = [(one.name, message_from_bytes(one.path.read_bytes(), policy=policy.default)) for one in _newest(call)]
    mails = [ListedMail(name, mail["subject"] or name, mail["to"] or "", _date(mail)) for name, mail in found]
    return show(call, "outbox.html", mails=mails)


def _newest(call: Call) -> list[outbox.OutboxMail]:
    return outbox.filed(call.site.settings.home)[:200]


@endpoint("GET", "/outbox/{mail}", gives=HTML)
async def get_mail(call: Call) -> Answer:
    """Show a mail as its reader would see it, its text with links, and its source."""
    source, mail = _read(call)
    return show(
        call,
        "outbox_mail.html",
        cache=_PAGE,
        name=call.path["mail"],
        mail=mail,
        date=_date(mail),
        has_html=mail.get_body(("html",)) is not None,
        pieces=_LINK.split(_part(mail, "plain")),
        source=source.decode("utf-8", "replace"),
    )


@endpoint("GET", "/outbox/{mail}/html", gives=HTML)
async def get_mail_html(call: Call) -> Answer:
    """Return a mail's HTML for a frame, without script; its links open in another window."""
    _, mail = _read(call)
    html = re.sub(r"(?i)<head[^>]*>", r'\g<0><base target="_blank">', _part(mail, "html"), count=1)
    return Answer(html.encode("utf-8"), 200, HTML, _FRAME)
