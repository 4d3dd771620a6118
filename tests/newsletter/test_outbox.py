"""The outbox: for this machine alone, and only where no relay is set."""

from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from services.newsletter import outbox
from tests.support.settings import settings
from tests.support.sites import opened


async def statuses(app: Litestar, peer: str) -> list[int]:
    """Ask from an address for the outbox, a mail in it, and another that isn't there."""
    transport = httpx.ASGITransport(app=app, client=(peer, 4321))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return [(await http.get(path)).status_code for path in ("/outbox", "/outbox/confirmation-x", "/outbox/another")]


@pytest.mark.parametrize(
    ("smtp_url", "expected"),
    [(None, {"127.0.0.1": 200, "::1": 200, "192.0.2.7": 404}), ("smtp://127.0.0.1", {"127.0.0.1": 404})],
)
async def test_only_this_machine_looks_into_the_outbox(
    dsn: str, valkey_url: str, tmp_path: Path, smtp_url: str | None, expected: dict[str, int]
) -> None:
    """Its mails hold working links: nobody else sees them, and with a relay there is none."""
    outbox.keep(tmp_path, "confirmation-x", b"To: x\r\n\r\nhello")
    async with opened(settings(dsn, valkey_url, home=tmp_path, smtp_url=smtp_url)) as app:
        for peer, status in expected.items():
            assert await statuses(app, peer) == [status, status, 404]


def test_a_kept_mail_is_its_owners_and_whole(tmp_path: Path) -> None:
    """Files have mode 0600; a forgotten reader has none left."""
    outbox.keep(tmp_path, "issue-1-ada", b"one")
    outbox.keep(tmp_path, "issue-1-bob", b"two")
    assert {file.path.stat().st_mode & 0o777 for file in outbox.filed(tmp_path)} == {0o600}
    outbox.forget(tmp_path, "ada")
    assert [file.name for file in outbox.filed(tmp_path)] == ["issue-1-bob"]
    assert outbox.read(tmp_path, "../issue-1-bob") is None
