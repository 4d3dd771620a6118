"""From a claimed mail to the bytes that go out: addresses opened, what readers of the same categories share made once.

Everything personal is opened here and now: a reader's review that was erased since the issue was compiled is a fixed line.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from emails.addresses import AddressRefused
from emails.message import Prepared, Reader, UnsafeHeader, prepare, single
from emails.message import Sender as From
from emails.rendering import NOTHING_OWN, MailTooLarge, Own, render, render_own, render_shared
from events.log.vault import Erased, Key, SealBroken, Vault
from projections import reviews, subscribers
from services.newsletter import facts as content
from services.newsletter.digest import Heading, ReviewText, bookmarked, mail_values
from services.newsletter.facts import Content
from services.newsletter.ledger import Claimed, Database, State
from services.newsletter.tokens import CONFIRM_HOURS, SECONDS, MailTokens
from services.settings import Settings

MOST_PREPARED: Final = 200

logger = logging.getLogger(__name__)

READ_ISSUE: Final = "select number, edition, period_from, compiled_at, content from newsletter.issues where number = $1"


class Letter(NamedTuple):
    """A mail ready to go: who it is from and to on the envelope, its bytes, and a name that tells it from all others."""

    sender: str
    recipient: str
    message: bytes
    name: str


class Unwritten(NamedTuple):
    """A mail that can't be: its reader's key is gone, or its address can't stand on an envelope."""

    state: State
    reason: str


ERASED: Final = Unwritten("cancelled", "erased")
UNFIT: Final = Unwritten("rejected", "could not be written")


class Told(msgspec.Struct, frozen=True):
    """An issue as it was kept."""

    heading: Heading
    content: Content


class Links:
    """The addresses in mails, each with a token for one purpose and one reader."""

    def __init__(self, base_url: str, tokens: MailTokens) -> None:
        self._base_url = base_url
        self._tokens = tokens

    def confirm(self, reader: str, round_: int) -> str:
        """Lead to the button that confirms this round."""
        return self._to("confirm", self._tokens.confirm(reader, round_))

    def unsubscribe(self, reader: str) -> str:
        """Lead to the button that unsubscribes; the same for ever."""
        return self._to("unsubscribe", self._tokens.unsubscribe(reader))

    def manage(self, reader: str) -> str:
        """Lead to the reader's preferences."""
        return self._to("preferences", self._tokens.issue("manage", reader))

    def export(self, reader: str) -> str:
        """Lead to a copy of the reader's data."""
        return self._to("export", self._tokens.issue("export", reader))

    def erase(self, reader: str) -> str:
        """Lead to the button that erases the reader."""
        return self._to("erase", self._tokens.issue("erase", reader))

    def _to(self, page: str, token: str) -> str:
        return f"{self._base_url}/newsletter/{page}?token={quote(token)}"


class Letters:
    """Makes the letters of one worker; what was prepared is kept for the next chunk."""

    def __init__(self, database: Database, settings: Settings, vault: Vault, tokens: MailTokens) -> None:
        self._database = database
        self._settings = settings
        self._vault = vault
        name, address = parseaddr(settings.newsletter.sender)
        self._from = From(name, address)
        self._domain = address.rpartition("@")[2]
        self._links = Links(settings.base_url, tokens)
        self._issues: dict[int, Told] = {}
        self._prepared: dict[tuple[object, ...], Prepared] = {}

    async def write(self, mails: Sequence[Claimed], at: datetime) -> dict[Claimed, Letter | Unwritten]:
        """Write the letters of a chunk; one that can't be written doesn't hold up the others."""
        keys = await self._vault.keys_of(self._database, {mail.reader for mail in mails})
        own = await self._own(mails)
        chosen: dict[tuple[int, tuple[str, ...]], Prepared] = {}
        written: dict[Claimed, Letter | Unwritten] = {}
        for mail in mails:
            address = _address(keys.get(mail.reader), mail)
            key = (mail.issue, mail.categories)
            if mail.kind == "digest" and key not in chosen:  # once a chunk: a review erased meanwhile is in no later one
                chosen[key] = await self._prepare(*key)
            if address is None:
                written[mail] = ERASED
                continue
            try:
                if mail.kind == "digest":
                    gap = own.get((mail.issue, mail.reader), NOTHING_OWN)
                    written[mail] = self._digest(mail, address, chosen[key], gap, at)
                else:
                    written[mail] = self._single(mail, address, at)
            except (AddressRefused, UnsafeHeader, MailTooLarge) as error:
                logger.warning("a mail of issue %d can't be written: %s", mail.issue, type(error).__name__)
                written[mail] = UNFIT
        return written

    def message_id(self, mail: Claimed) -> str:
        """Name a mail: the same for the same reader and issue, however often it is written."""
        what = f"issue-{mail.issue}" if mail.issue else f"mail-{mail.mail}"
        return f"<{what}.{mail.reader}@{self._domain}>"

    def _letter(self, mail: Claimed, address: str, message: bytes) -> Letter:
        what = f"issue-{mail.issue}" if mail.issue else f"{mail.kind}-{mail.mail}"
        return Letter(self._from.address, address, message, f"{what}-{mail.reader}")

    def _single(self, mail: Claimed, address: str, at: datetime) -> Letter:
        rendered = render(mail.kind, self._single_values(mail))  # type: ignore[arg-type]
        return self._letter(mail, address, single(rendered, self._from, address, self.message_id(mail), at))

    def _single_values(self, mail: Claimed) -> Mapping[str, Any]:
        match mail.kind:
            case "confirmation":
                return {
                    "confirm_url": self._links.confirm(mail.reader, mail.round + 1),
                    "valid_hours": CONFIRM_HOURS,
                    "categories": list(mail.categories),
                }
            case "preferences":
                return {"manage_url": self._links.manage(mail.reader)}
        return {
            "export_url": self._links.export(mail.reader),
            "erase_url": self._links.erase(mail.reader),
            "valid_hours": SECONDS["export"] // 3600,
        }

    def _digest(self, mail: Claimed, address: str, prepared: Prepared, own: Own, at: datetime) -> Letter:
        reader = Reader(
            address=address,
            message_id=self.message_id(mail),
            date=at,
            unsubscribe_url=self._links.unsubscribe(mail.reader),
            manage_url=self._links.manage(mail.reader),
            own=own,
        )
        return self._letter(mail, address, prepared.fill(reader))

    async def _prepare(self, number: int, categories: tuple[str, ...]) -> Prepared:
        told = await self._told(number)
        said = told.content.within(categories)
        review = await open_review(self._database, self._vault, said)
        key = (number, tuple(sorted(categories)), review)
        if (known := self._prepared.get(key)) is None:
            values = mail_values(told.heading, told.content, categories, review, self._settings)
            known = prepare(render_shared(values), self._from, f"digest.{self._domain}", f"issue-{number}:digest")
            if len(self._prepared) >= MOST_PREPARED:
                self._prepared.clear()
            self._prepared[key] = known
        return known

    async def _told(self, number: int) -> Told:
        if number not in self._issues:
            self._issues[number] = await read_issue(self._database, number)
        return self._issues[number]

    async def _own(self, mails: Sequence[Claimed]) -> dict[tuple[int, str], Own]:
        """Render what changed on the tools that the readers of a chunk bookmarked."""
        found: dict[tuple[int, str], Own] = {}
        for number in {mail.issue for mail in mails if mail.kind == "digest"}:
            said = (await self._told(number)).content
            readers = [mail.reader for mail in mails if mail.issue == number]
            for reader, tools in (await read_bookmarks(self._database, said, readers)).items():
                found[number, reader] = render_own(bookmarked(said, tools, self._settings.base_url))
        return found


def _address(key: Key | None, mail: Claimed) -> str | None:
    if key is None:
        return None
    try:
        return key.open("address", mail.address)
    except SealBroken:
        return None


async def read_issue(database: Database, number: int) -> Told:
    """Read an issue as it was kept."""
    row: Any = await database.fetchrow(READ_ISSUE, number)
    heading = Heading(
        number=row["number"], edition=row["edition"], period_from=row["period_from"], period_to=row["compiled_at"]
    )
    return Told(heading, content.decode(row["content"]))


async def read_bookmarks(database: Database, said: Content, readers: Sequence[str]) -> dict[str, Collection[str]]:
    """Tell which of the tools that an issue has something of these readers bookmarked."""
    changed = [tool.tool for tool in said.changes]
    return dict(await subscribers.read_bookmarks(database, readers, changed))


async def open_review(database: Database, vault: Vault, said: Content) -> ReviewText | None:
    """Open the text of the first review that the content names; None where there is none, or it is gone."""
    if not said.reviews:
        return None
    review = await reviews.read_public(database, said.reviews[0].review)
    if review is None:
        return None
    try:
        key = await vault.key_of(database, review.review)
        name = key.open("name", review.sealed_name) if review.sealed_name else None
        return ReviewText(review.verdict, review.score, key.open("text", review.sealed_text), name)
    except (Erased, SealBroken):
        return None
