"""The running issue as a mail, to look at: nothing is kept, planned or sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from asyncpg import Connection

from emails.message import Reader
from emails.rendering import NOTHING_OWN, OwnPart, render_own
from events.log.vault import Vault
from services.clock import now
from services.newsletter import issues, pace
from services.newsletter.digest import Digests, StoredIssue, read_issue, sender_of, within
from services.newsletter.periods import Edition
from services.newsletter.schedule import schedule_of
from services.newsletter.subscribers import opened
from services.newsletter.waiting import PERIOD_DAYS, said_forecast
from services.settings import Settings

NOBODY: Final = "reader@example.com"
AUDIENCE: Final = "select reason, count(*) as readers from newsletter.mails where issue = $1 group by reason order by 2 desc"


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The mail as it would be sent, the number of readers who would get it, and by reason how many would not.

    `days` is how many it takes at the pace that is set, `pace` a sentence on it where it is more than one.
    """

    message: bytes
    html: str
    audience: int
    excluded: dict[str, int]
    quiet: bool
    days: int = 1
    pace: str | None = None


@asynccontextmanager
async def compiled(settings: Settings, edition: Edition) -> AsyncIterator[tuple["Connection[Any]", StoredIssue]]:
    """Compile and plan the running issue, and roll back what is stored when it was looked at."""
    at, schedule = now(), schedule_of(settings.newsletter)
    async with issues.rolled_back(settings.database_url) as connection:
        number = await issues.compile_within(
            connection, settings.database_url, edition, schedule.next(at), at, operator="preview", extra=True
        )
        assert number is not None  # noqa: S101 - an extra issue finds no other in its place
        await issues.plan(connection, number, schedule, at)
        yield connection, await read_issue(connection, number)


async def preview(settings: Settings, edition: Edition, reader: str | None) -> Preview:
    """Write the mail of the running issue to a reader, or to an example address; roll back what is stored on the way."""
    async with compiled(settings, edition) as (connection, issue):
        counts = {row["reason"]: row["readers"] for row in await connection.fetch(AUDIENCE, issue.heading.number)}
        standing = await pace.stand(connection)
        audience = counts.get(None, 0)
        whole, period = standing.forecast(audience), standing.forecast(audience, PERIOD_DAYS[edition])
        made = await _write(connection, settings, issue, reader, counts)
        return msgspec.structs.replace(made, days=whole.days, pace=said_forecast(audience, whole, period))


async def _write(
    connection: Any, settings: Settings, issue: StoredIssue, reader: str | None, counts: dict[str | None, int]
) -> Preview:
    vault = Vault(settings.vault_keys)
    digests = Digests(connection, settings, vault)
    categories: tuple[str, ...] = ()
    own, address = NOTHING_OWN, NOBODY
    if reader is not None:
        state, known = await opened(connection, vault, reader)
        categories, address = state.categories if state else (), known or NOBODY
        own = render_own((await digests.bookmark_lines(issue, [reader])).get(reader, ()), digests.bookmarks_url, digests.look)
    digest = await digests.prepare(issue, categories)
    made = _reader(settings, issue, address, own)
    return Preview(
        message=digest.fill(made),
        html=digest.rendered(made).html,
        audience=counts.get(None, 0),
        excluded={reason: readers for reason, readers in counts.items() if reason is not None},
        quiet=within(issue.content, categories).is_quiet,
    )


async def specimen(settings: Settings) -> bytes:
    """Return the last issue, or where there was none the running one, as a reader would get it; nothing is kept.

    Raises MailTooLarge and UnsafeHeader.
    """
    at, dsn = now(), settings.database_url
    async with issues.rolled_back(dsn) as connection:
        number = await connection.fetchval("select max(number) from newsletter.issues")
        if number is None:
            due_at = schedule_of(settings.newsletter).next(at)
            number = await issues.compile_within(connection, dsn, "weekly", due_at, at, operator="preview", extra=True)
        issue = await read_issue(connection, number)
        digests = Digests(connection, settings, Vault(settings.vault_keys))
        digest = await digests.prepare(issue, ())
        return digest.fill(_reader(settings, issue, NOBODY, NOTHING_OWN))


def _reader(settings: Settings, issue: StoredIssue, address: str, own: OwnPart) -> Reader:
    """Return a reader whose links do nothing."""
    nowhere = f"{settings.base_url}/newsletter/preview"
    message_id = f"<preview.{issue.heading.number}@{sender_of(settings.newsletter).domain}>"
    return Reader(address, message_id, issue.heading.period_to, nowhere, nowhere, own)
