"""The gate before a site's first issue: it doesn't go while a line of the mail check is red, unless an operator lets it.

A first issue that most servers refuse costs a sender its name, and later ones then fare no better.
"""

from datetime import timedelta
from typing import Final

from services.mail_check import store
from services.mail_check.standing import said_waiting
from services.mail_check.store import Database
from services.newsletter.arrival import check, is_checked
from services.newsletter.periods import time_of
from services.settings import Settings

FRESH: Final = timedelta(minutes=10)
"""So old may a check be that a first issue goes by: who has mended what was red needn't wait a day."""


async def reason_to_wait(settings: Settings, database: Database, fresh: timedelta = FRESH) -> str | None:
    """Return why the first issue may not go, None if it may. Checks anew what was checked longer ago than `fresh`."""
    if not is_checked(settings):
        return None
    checked = await store.read(database)
    if not checked.is_first or checked.waived_at is not None:
        return None
    if checked.checked_at is None or await time_of(database) - checked.checked_at > fresh:
        checked = await check(settings, database)
    return said_waiting(checked)
