"""The outbox in a browser: a newcomer can confirm from it, and nobody elsewhere can read it."""

import re
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from services.newsletter import outbox
from tests.support.settings import settings
from tests.support.sites import opened

LINK = "http://127.0.0.1:8000/newsletter/confirm?token=" + "abc-DEF_123." * 12
NAME = "confirmation-AaIBaD4Jdt2r0cFH3ftnxQ"


@pytest.fixture
async def http(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A browser on this machine, and one mail in the outbox."""
    mail = EmailMessage()
    mail["Subject"], mail["To"], mail["From"] = "One step left", "ada@example.com", "digest@example.com"
    mail["Message-ID"] = "<mail-1@example.com>"
    mail.set_content(f"Open this page:\n\n{LINK}\n", cte="quoted-printable")
    mail.add_alternative(f'<html><head></head><body><a href="{LINK}">Confirm</a></body></html>', subtype="html")
    outbox.keep(tmp_path, NAME, mail.as_bytes())
    async with opened(settings(dsn, valkey_url, home=tmp_path)) as app:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 4321))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
            yield made


async def test_a_newcomer_confirms_from_the_outbox(http: httpx.AsyncClient) -> None:
    """The list says subject and reader; the mail's page has the whole link to follow; its frame runs no script."""
    listed = await http.get("/outbox")
    assert "One step left" in listed.text and "ada@example.com" in listed.text
    (href,) = re.findall(r'href="(/outbox/[^"]+)"', listed.text)
    page = await http.get(href)
    assert f'<a href="{LINK}">' in page.text and "Message-ID" in page.text
    frame = await http.get(f"{href}/html")
    assert f'href="{LINK}"' in frame.text and '<base target="_blank">' in frame.text
    policy = frame.headers["content-security-policy"]
    assert "sandbox" in policy and "allow-scripts" not in policy and "allow-same-origin" not in policy


@pytest.mark.parametrize(
    "headers",
    [{"x-forwarded-for": "203.0.113.9"}, {"x-forwarded-for": "unknown"}, {"forwarded": "for=127.0.0.1"}, {"via": "1.1 proxy"},
     {"host": "evil.example"}, {"host": "evil.example:8000"}, {"host": "127.0.0.1.evil.example"}, {"x-real-ip": "127.0.0.1"}],
)  # fmt: skip
async def test_nobody_elsewhere_reads_the_outbox(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """What came through a proxy, or under a name that isn't this machine's own, finds no outbox."""
    for path in ("/outbox", f"/outbox/{NAME}", f"/outbox/{NAME}/html"):
        assert (await http.get(path, headers=headers)).status_code == 404
