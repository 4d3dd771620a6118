"""Where researchers look for the address to report a weakness to (RFC 9116)."""

from datetime import UTC, datetime, timedelta

from services.clock import now
from services.settings import read_settings
from tests.support.settings import settings, variables
from tests.support.sites import client

PATH = "/.well-known/security.txt"


async def test_the_settings_address_is_told(dsn: str, valkey_url: str) -> None:
    """Each address is a Contact; the text names itself, and ends within a year, and not within a month."""
    contacts = ("mailto:security@example.org", "https://example.org/report")
    given = settings(dsn, valkey_url, security_contacts=contacts, base_url="https://example.org")
    async with client(given) as http:
        answer = await http.get(PATH)
    fields = [line.split(": ", 1) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert [value for name, value in fields if name == "Contact"] == list(contacts)
    assert ["Canonical", f"https://example.org{PATH}"] in fields
    ends = datetime.strptime(dict(fields)["Expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert timedelta(days=30) < ends - now() < timedelta(days=365)


async def test_without_an_address_there_is_no_text(dsn: str, valkey_url: str) -> None:
    """A site that names none answers 404, so nobody writes to somebody else."""
    async with client(settings(dsn, valkey_url)) as http:
        assert (await http.get(PATH)).status_code == 404


def test_addresses_are_read_from_the_environment() -> None:
    """Several stand side by side, newest wish first."""
    word = "mailto:security@example.org, https://example.org/report"
    read = read_settings({**variables("postgresql://h/d", "redis://h"), "BALLOTPRESS_SECURITY_CONTACT": word})
    assert read.security_contacts == ("mailto:security@example.org", "https://example.org/report")
