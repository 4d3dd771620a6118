"""Whether this site's mail will arrive: the site as the mail check wants it, one check of it, and what is kept of that."""

import asyncio
import logging
import socket
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from jinja2 import TemplateError
from msgspec.structs import replace

from emails.addresses import AddressRefused
from emails.dkim import KeyRefused, Signer, public_key
from emails.message import UnsafeHeader
from emails.rendering import MailTooLarge
from projections.engine.snapshot import ViewsHalted
from services.clock import now
from services.mail_check import store
from services.mail_check.setup import DkimKey, Setup, Specimen
from services.mail_check.store import Checked, Database
from services.newsletter.preview import specimen
from services.newsletter.transport import greeting
from services.setting_groups import Dkim
from services.settings import Settings

logger = logging.getLogger(__name__)

NO_RELAY: Final = "There is no relay (SMTP_URL): mails are kept in the outbox, and there is nothing to check"


def is_public(base_url: str) -> bool:
    """Return whether readers elsewhere may reach a site at this address."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".test", ".internal"))


def is_checked(settings: Settings) -> bool:
    """Return whether the site's mail is checked by itself: it goes to a relay, from a site that readers can reach."""
    return settings.smtp_url is not None and is_public(settings.base_url)


async def check(settings: Settings, database: Database) -> Checked:
    """Check a site that has a relay, keep what was found, and return it; log at once what was right and is wrong."""
    from services.mail_check.dns import Resolver  # these load slowly, and a site without a relay never looks
    from services.mail_check.run import run

    before = await store.read(database)
    resolver = Resolver(settings.mail_check.dns_servers)
    await store.keep(database, await run(await _setup_of(settings), resolver, now()), gates=is_public(settings.base_url))
    checked = await store.read(database)
    known = {line.subject for line in before.lines if line.went_wrong}
    for line in checked.lines:
        if line.went_wrong and line.subject not in known:
            logger.error("mail may not arrive: %s was right and is wrong: %s", line.subject, line.says)
    return checked


async def check_if_due(settings: Settings, database: Database) -> bool:
    """Check once a day, and when an operator has asked for it; return whether this was such a time."""
    if not is_checked(settings) or not await store.begin(database):
        return False
    await check(settings, database)
    return True


async def _setup_of(settings: Settings) -> Setup:
    """Return the site as it is checked."""
    assert settings.smtp_url is not None  # noqa: S101 - there is nothing to check without
    newsletter = settings.newsletter
    key, broken_key = _key_of(newsletter.dkim)
    setup = Setup(
        sender=parseaddr(newsletter.sender)[1],
        hello=greeting(settings, await asyncio.to_thread(socket.getfqdn)),
        relay_url=settings.smtp_url,
        base_url=settings.base_url,
        outgoing=settings.mail_check.outgoing,
        key=key,
        broken_key=broken_key,
    )
    try:
        return replace(setup, specimen=await _specimen_of(settings, key))
    except (MailTooLarge, UnsafeHeader, AddressRefused, ViewsHalted, TemplateError) as error:
        return replace(setup, no_specimen=str(error), is_too_large=isinstance(error, MailTooLarge))


def _key_of(dkim: Dkim | None) -> tuple[DkimKey | None, str | None]:
    """Return the key that signs, and what is wrong with its file."""
    if dkim is None:
        return None, None
    try:
        record, bits = public_key(dkim.key_file.read_bytes())
    except (KeyRefused, OSError) as error:
        return None, f"The file that BALLOTPRESS_DKIM_KEY_FILE names can't be used: {error}"
    return DkimKey(domain=dkim.domain, selector=dkim.selector, record=record, bits=bits), None


async def _specimen_of(settings: Settings, key: DkimKey | None) -> Specimen:
    """Return an issue as it would leave this site."""
    message = await specimen(settings)
    if key is not None and settings.newsletter.dkim is not None:
        message = Signer(key.domain, key.selector, settings.newsletter.dkim.key_file.read_bytes()).sign(message)
    return Specimen(message)
