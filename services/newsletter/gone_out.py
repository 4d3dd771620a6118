"""Record in the log that issues have gone out, once each, for whoever follows it."""

from typing import Final

from events.commands.issues import RecordIssueSent
from events.issues import IssueSent
from events.log.committer import Committer
from services.newsletter.ledger import Database

AT_ONCE: Final = 10
# Counted before the log is locked: an issue may have a million mails.
UNRECORDED: Final = """
select i.number as issue, i.edition, i.planned,
       (select count(*) from newsletter.mails m where m.issue = i.number and m.state = 'accepted') as accepted
from newsletter.issues i where i.state = 'settled' and not i.sent_recorded order by i.number limit $1
"""


async def record(database: Database, committer: Committer) -> int:
    """Record which issues have gone out since; return their number."""
    rows = await database.fetch(UNRECORDED, AT_ONCE)
    for row in rows:
        await committer.submit(RecordIssueSent(IssueSent(**row)))
    return len(rows)
