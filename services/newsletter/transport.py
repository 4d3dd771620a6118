"""The way out for letters: the relay in SMTP_URL, signed if there is a DKIM key; without a relay, the outbox."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from emails.dkim import Signer
from emails.smtp import Outcome, Relay
from services.newsletter import outbox
from services.newsletter.letters import Letter
from services.newsletter.sender import Transport
from services.settings import Settings


class OutboxTransport:
    """Keeps letters in the outbox, named with their readers' ids."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def deliver(self, letter: Letter) -> Outcome:
        """Keep one letter."""
        await asyncio.to_thread(outbox.keep, self._home, letter.name, letter.message)
        return Outcome("accepted", 250)


class RelayTransport:
    """Sends through a relay."""

    def __init__(self, relay: Relay, signer: Signer | None) -> None:
        self._relay = relay
        self._signer = signer

    async def deliver(self, letter: Letter) -> Outcome:
        """Sign and send one letter."""
        message = letter.message if self._signer is None else self._signer.sign(letter.message)
        return await self._relay.send(letter.sender, letter.recipient, message)


@asynccontextmanager
async def open_transport(settings: Settings) -> AsyncIterator[Transport]:
    """Open the relay, or the outbox if there is none."""
    if settings.smtp_url is None:
        yield OutboxTransport(settings.home)
        return
    dkim = settings.newsletter.dkim
    signer = None if dkim is None else Signer(dkim.domain, dkim.selector, dkim.key_file.read_bytes())
    async with Relay(settings.smtp_url, settings.newsletter.connections) as relay:
        yield RelayTransport(relay, signer)
