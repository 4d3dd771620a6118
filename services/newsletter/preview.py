"""The running issue as a mail, for looking at: nothing is kept, planned or sent."""

from email.utils import parseaddr
from typing import Any, Final

import msgspec

from emails.message import Reader, prepare
from emails.message import Sender as From
from emails.rendering import NOTHING_OWN, fill, render_own, render_shared
from events.log import postgres
from events.log.vault import Vault
from services.clock import now
from services.newsletter import facts, issues, subscribers
from services.newsletter.digest import Heading, bookmarked, mail_values
from services.newsletter.facts import Content
from services.newsletter.issues import Edition
from services.newsletter.letters import open_review, read_bookmarks
from services.newsletter.schedule_run import schedule_of
from services.settings import Settings

NOBODY: Final = "reader@example.com"
AUDIENCE: Final = "select reason, count(*) as readers from newsletter.mails where issue = $1 group by reason order by 2 desc"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A mail as it would be, how many would get it, and how many would not, by reason."""

    message: bytes
    html: str
    audience: int
    excluded: dict[str, int]
    quiet: bool


async def preview(settings: Settings, edition: Edition, reader: str | None) -> Preview:
    """Write the mail of the running issue to a reader, or to anybody; all that is kept for it is rolled back."""
    connection = await postgres.connect(settings.database_url, "digest")
    try:
        start, since = await issues.start_of(connection, edition)
        end, said = await issues.compile_content(settings.database_url, start)
        at = now()
        schedule = schedule_of(settings.newsletter)
        transaction = connection.transaction()
        await transaction.start()
        try:
            raw, digest = facts.encode(said)
            number = await connection.fetchval(
                issues.KEEP, edition, schedule.next(at), start, end, since, "preview", raw, digest, True, at
            )
            await issues.plan(connection, number, schedule, at)
            counted = {row["reason"]: row["readers"] for row in await connection.fetch(AUDIENCE, number)}
        finally:
            await transaction.rollback()
        heading = Heading(number=number, edition=edition, period_from=since, period_to=at)
        return await _write(connection, settings, heading, said, reader, counted)
    finally:
        connection.terminate()


async def _write(
    connection: Any, settings: Settings, heading: Heading, said: Content, reader: str | None, counted: dict[str | None, int]
) -> Preview:
    vault = Vault(settings.vault_keys)
    categories: tuple[str, ...] = ()
    own = NOTHING_OWN
    address = NOBODY
    if reader is not None:
        kept = await subscribers.export(connection, vault, reader)
        categories, address = tuple(kept["categories"]), kept["email"] or NOBODY
        tools = (await read_bookmarks(connection, said, [reader])).get(reader, ())
        own = render_own(bookmarked(said, tools, settings.base_url))
    review = await open_review(connection, vault, said.within(categories))
    values = mail_values(heading, said, categories, review, settings)
    shared = render_shared(values)
    name, sender = parseaddr(settings.newsletter.sender)
    domain = sender.rpartition("@")[2]
    nowhere = f"{settings.base_url}/newsletter/preview"  # a preview's links do nothing
    made = Reader(address, f"<preview.{heading.number}@{domain}>", heading.period_to, nowhere, nowhere, own)
    return Preview(
        message=prepare(shared, From(name, sender), f"digest.{domain}").fill(made),
        html=fill(shared, own, nowhere, nowhere).html,
        audience=counted.get(None, 0),
        excluded={reason: readers for reason, readers in counted.items() if reason is not None},
        quiet=values["quiet"],
    )
