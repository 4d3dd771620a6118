"""The way out for letters: the relay in SMTP_URL, signed if there is a DKIM key; without a relay, the outbox."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parseaddr
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from emails.dkim import Signer
from emails.smtp import Outcome, Relay
from services.newsletter import outbox
from services.newsletter.letters import Letter
from services.newsletter.sender import Transport
from services.settings import Settings

if TYPE_CHECKING:
    from services.tracing.mails import Mails

_FULL_NAME: Final = re.compile(
    r"(?!.*\.(?:local|localdomain|internal|lan|home|arpa|localhost)$)(?:[a-z0-9-]+\.)+[a-z0-9-]*[a-z][a-z0-9-]*", re.IGNORECASE
)
"""A name that others can look up."""


class OutboxTransport:
    """Keeps letters in the outbox, named with their readers' ids."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def deliver(self, letter: Letter) -> Outcome:
        """Keep one letter; without a reply code, since no server took it."""
        await asyncio.to_thread(outbox.keep, self._home, letter.name, letter.message)
        return Outcome("accepted")


class RelayTransport:
    """Sends through a relay."""

    def __init__(self, relay: Relay, signer: Signer | None, tracing: "Mails | None" = None) -> None:
        self._relay = relay
        self._signer = signer
        self._tracing = tracing

    async def deliver(self, letter: Letter) -> Outcome:
        """Sign and send one letter."""
        message = letter.message if self._signer is None else self._signer.sign(letter.message)
        began = time_ns()
        outcome = await self._relay.send(letter.sender, letter.recipient, message)
        if self._tracing is not None:
            said = {"code": outcome.code, "status": outcome.status, "stage": outcome.stage}
            self._tracing.conversation(began, outcome=outcome.kind, **said)
        return outcome


def greeting(settings: Settings, machine: str) -> str:
    """Return the name to greet relays by: the one that is set, else a full name of the machine, of the site, or of the sender.

    Many servers refuse every mail of a client that greets them by `localhost` or by a container's id.
    """
    site = urlsplit(settings.base_url).hostname or ""
    names = (settings.newsletter.ehlo_name or "", machine, site)
    return next((name for name in names if _FULL_NAME.fullmatch(name) or name.startswith("[")), _sender_domain(settings))


def _sender_domain(settings: Settings) -> str:
    return parseaddr(settings.newsletter.sender)[1].rpartition("@")[2]


@asynccontextmanager
async def open_transport(settings: Settings, tracing: "Mails | None" = None) -> AsyncIterator[Transport]:
    """Open the relay, or the outbox if there is none."""
    if settings.smtp_url is None:
        yield OutboxTransport(settings.home)
        return
    dkim = settings.newsletter.dkim
    signer = None if dkim is None else Signer(dkim.domain, dkim.selector, dkim.key_file.read_bytes())
    hello = greeting(settings, await asyncio.to_thread(socket.getfqdn))
    async with Relay(settings.smtp_url, settings.newsletter.connections, hello=hello) as relay:
        yield RelayTransport(relay, signer, tracing)
