"""A test mail: an issue as its readers get it, sent through the real relay to one address, and known by nobody afterwards.

It is marked in its subject, has no reader's bookmarks, and its links lead to a page that says so: its token is nobody's.
"""

from typing import Final
from urllib.parse import quote

from emails.addresses import read_address
from emails.message import Reader
from events.log.vault import Vault
from services.clock import fresh_id, now
from services.newsletter import issues
from services.newsletter.digest import Digests, StoredIssue, read_issue, sender_of
from services.newsletter.ledger import Database
from services.newsletter.letters import Letter
from services.newsletter.periods import Edition
from services.newsletter.preview import compiled
from services.newsletter.subscribers import find
from services.newsletter.tokens import MailTokens
from services.settings import Settings

MARK: Final = "[Test] "


class NotMailed(Exception):
    """Nothing is mailed to this address; the argument is why it is suppressed."""


async def write_test(settings: Settings, database: Database, edition: Edition, number: int | None, address: str) -> Letter:
    """Write an issue, or the running one, as a test to an address. Raises IssueUnknown, AddressRefused, NotMailed."""
    recipient = read_address(address)
    _, suppressed = await find(database, await Vault(settings.vault_keys).finder(database), recipient)
    if suppressed is not None:
        raise NotMailed(suppressed)
    if number is not None:
        await issues.issue(database, number)
        return await _written(settings, database, await read_issue(database, number), recipient)
    async with compiled(settings, edition) as (connection, running):
        return await _written(settings, connection, running, recipient)


async def _written(settings: Settings, database: Database, issue: StoredIssue, recipient: str) -> Letter:
    tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
    sender = sender_of(settings.newsletter)
    name = f"test-{fresh_id()}"
    digest = await Digests(database, settings, Vault(settings.vault_keys)).prepare(issue, (), mark=MARK)
    unsubscribe, manage = (
        f"{settings.base_url}/newsletter/{page}?token={quote(tokens.test())}" for page in ("unsubscribe", "preferences")
    )
    message = digest.fill(Reader(recipient, f"<{name}@{sender.domain}>", now(), unsubscribe, manage))
    return Letter(sender.address, recipient, message, name)
