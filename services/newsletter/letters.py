"""Write each mail for its reader: open the address, add links with tokens, and build the bytes to send."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

from emails.addresses import AddressRefused
from emails.message import PreparedDigest, Reader, UnsafeHeader, single
from emails.rendering import Mail, MailTooLarge, render, render_own
from events.log.vault import Key, SealBroken, Vault
from services.newsletter.digest import BookmarkLines, Digests, sender_of
from services.newsletter.ledger import ClaimedMail, Database, State
from services.newsletter.tokens import CONFIRM_HOURS, SECONDS, MailTokens
from services.settings import Settings

logger = logging.getLogger(__name__)


class Letter(NamedTuple):
    """A mail ready to go: its envelope's sender and recipient, its bytes, and a name that no other mail has."""

    sender: str
    recipient: str
    message: bytes
    name: str


class NoLetter(NamedTuple):
    """The state and reason of a mail that can't be written."""

    state: State
    reason: str


ERASED: Final = NoLetter("cancelled", "erased")
UNFIT: Final = NoLetter("rejected", "could not be written")


class Letters:
    """Writes the letters of one worker."""

    def __init__(self, database: Database, settings: Settings, vault: Vault, tokens: MailTokens) -> None:
        self._database = database
        self._vault = vault
        self._digests = Digests(database, settings, vault)
        self._from = sender_of(settings.newsletter)
        self._base_url = settings.base_url
        self._tokens = tokens

    async def write(self, mails: Sequence[ClaimedMail], at: datetime) -> dict[ClaimedMail, Letter | NoLetter]:
        """Write the letters of a chunk; one that can't be written doesn't hold up the others."""
        keys = await self._vault.keys_of(self._database, {mail.reader for mail in mails})
        digests = await self._digests.read([mail for mail in mails if mail.kind == "digest"])
        return {mail: self._write(mail, keys.get(mail.reader), digests.get(mail), at) for mail in mails}

    def message_id(self, mail: ClaimedMail) -> str:
        """Return a mail's Message-ID: the same for the same reader and issue, however often it is written."""
        name = f"issue-{mail.issue}" if mail.issue else f"mail-{mail.mail}"
        return f"<{name}.{mail.reader}@{self._from.domain}>"

    def _write(
        self, mail: ClaimedMail, key: Key | None, digest: tuple[PreparedDigest, BookmarkLines] | None, at: datetime
    ) -> Letter | NoLetter:
        address = _address(key, mail)
        if address is None:
            return ERASED
        try:
            message = self._single(mail, address, at) if digest is None else self._filled(mail, address, *digest, at)
        except (AddressRefused, UnsafeHeader, MailTooLarge) as error:
            logger.warning("a mail of issue %d can't be written: %s", mail.issue, type(error).__name__)
            return UNFIT
        name = f"issue-{mail.issue}" if mail.issue else f"{mail.kind}-{mail.mail}"
        return Letter(self._from.address, address, message, f"{name}-{mail.reader}")

    def _filled(self, mail: ClaimedMail, address: str, digest: PreparedDigest, lines: BookmarkLines, at: datetime) -> bytes:
        return digest.fill(
            Reader(
                address=address,
                message_id=self.message_id(mail),
                date=at,
                unsubscribe_url=self._link("unsubscribe", self._tokens.unsubscribe(mail.reader)),
                manage_url=self._link("preferences", self._tokens.issue("manage", mail.reader)),
                own=render_own(lines, self._digests.bookmarks_url, self._digests.look),
                complaint_id=self._tokens.complaint(mail.reader),
            )
        )

    def _single(self, mail: ClaimedMail, address: str, at: datetime) -> bytes:
        kind = cast(Mail, mail.kind)
        rendered = render(kind, self._single_values(kind, mail), self._digests.look)
        return single(rendered, self._from, address, self.message_id(mail), at)

    def _single_values(self, kind: Mail, mail: ClaimedMail) -> Mapping[str, Any]:
        match kind:
            case "confirmation":
                return {
                    "confirm_url": self._link("confirm", self._tokens.confirm(mail.reader, mail.round + 1)),
                    "valid_hours": CONFIRM_HOURS,
                }
            case "preferences":
                return {"manage_url": self._link("preferences", self._tokens.issue("manage", mail.reader))}
            case "export":
                return {
                    "export_url": self._link("export", self._tokens.issue("export", mail.reader)),
                    "erase_url": self._link("erase", self._tokens.issue("erase", mail.reader)),
                    "valid_hours": SECONDS["export"] // 3600,
                }

    def _link(self, page: str, token: str) -> str:
        return f"{self._base_url}/newsletter/{page}?token={quote(token)}"


def _address(key: Key | None, mail: ClaimedMail) -> str | None:
    if key is None:
        return None
    try:
        return key.open("address", mail.address)
    except SealBroken:
        return None
