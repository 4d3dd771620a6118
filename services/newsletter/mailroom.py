"""The newsletter's part of the worker: a sender that runs beside arq's jobs, woken by the doorbell, and the minute's tick."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from events.log import postgres
from events.log.committer import Committer
from events.log.tasks import end
from events.log.vault import Vault
from events.registry import REGISTRY
from projections.engine import notify
from services import valkey
from services.clock import now
from services.log_watch import LogWatch
from services.mail_check.standing import LET_IT_GO
from services.newsletter import arrival, first_issue, gone_out, holds, issues, ledger, outbox, pace, periods, reports, restored
from services.newsletter.ledger import MailOutcome
from services.newsletter.letters import Letters
from services.newsletter.look import check_mails, look_of
from services.newsletter.own_hours import OwnHours
from services.newsletter.providers import Providers, exchanges_from
from services.newsletter.schedule import schedule_of
from services.newsletter.sender import Sender
from services.newsletter.sent_marks import MarksUnusable, forget_old, marks_of
from services.newsletter.subscribers import forget_unconfirmed
from services.newsletter.tokens import MailTokens
from services.newsletter.transport import open_transport
from services.settings import Settings

if TYPE_CHECKING:
    from services.tracing.mails import Mails

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 20.0


class Mailroom:
    """Everything one worker needs to send; open between `open` and `close`."""

    database: "asyncpg.Pool[Any]"

    def __init__(self, settings: Settings, tracing: "Mails | None" = None) -> None:
        check_mails(look_of(settings))
        self._settings = settings
        self._tracing = tracing
        self._schedule = schedule_of(settings.newsletter)
        own = OwnHours(Vault(settings.vault_keys), settings.newsletter.hour)
        self._own_hours = own if settings.pace.own_hour else None
        self._pace = pace.plan_of(settings.pace, settings.newsletter)
        self._stack = AsyncExitStack()
        self._providers = _providers_of(settings)
        self._sending: asyncio.Task[None] | None = None
        self._waits_for: str | None = None
        self._marks = marks_of(settings)

    @property
    def is_open(self) -> bool:
        """Tell whether it sends."""
        return self._sending is not None

    @property
    def trouble(self) -> str | None:
        """Return what keeps it from sending; None if nothing does."""
        return self._sender.trouble if self.is_open else None

    async def open(self) -> None:
        """Connect, and begin to send."""
        settings, newsletter = self._settings, self._settings.newsletter
        self.database = await self._stack.enter_async_context(
            # The server ends idle transactions, so that a stalled worker holds no lock for long.
            postgres.pool(settings.database_url, "worker", size=6, seconds=60, idle_in_transaction_session_timeout="5000")
        )
        transport = await self._stack.enter_async_context(open_transport(settings, self._tracing))
        tokens = MailTokens(settings.secret_keys, newsletter.retired_keys)
        letters = Letters(self.database, settings, Vault(settings.vault_keys), tokens)
        dsn = settings.database_url
        rung = notify.Bell(dsn, notify.LOG)
        self._ringing = asyncio.create_task(rung.run())
        self._committer = await self._stack.enter_async_context(Committer(dsn, REGISTRY, on_commit=lambda events: rung.ring()))
        client = await self._stack.enter_async_context(valkey.client(settings.redis_url, socket_timeout=1))
        self._watch = LogWatch(self.database, client, settings.home, self._hold_restored, self._doubt)
        await pace.follow(self.database, self._pace)
        await self._begin_marks()
        self._sender = Sender(
            self.database, letters, transport, clock=now, bounced=self._bounced, look=self._watch.look,
            lease_seconds=newsletter.lease_seconds, providers=self._providers, tracing=self._tracing,
            marks=self._marks,
        )  # fmt: skip
        self._naming = asyncio.create_task(self._providers.run())
        self._sending = asyncio.create_task(self._sender.run())

    async def close(self) -> None:
        """Finish the chunks under way and disconnect."""
        if self._sending is not None:
            self._sender.stop()
            await asyncio.wait([self._sending], timeout=STOP_SECONDS)
            await end(self._sending, self._ringing, self._naming)
        await self._stack.aclose()

    def wake(self) -> None:
        """Wake the sender: there may be something to send."""
        self._sender.wake.set()

    async def tick(self) -> None:
        """Compile and plan the issues that are due, unless the log went back."""
        await self._watch.look()
        await pace.follow(self.database, self._pace)
        if self._own_hours is not None:
            await pace.keep_hours(self.database)
        await holds.tidy(self.database)
        at = await periods.time_of(self.database)
        dsn = self._settings.database_url
        due = await issues.tick(self.database, dsn, self._schedule, at, self._own_hours, self._tracing, self._first_waits)
        if due.editions or due.unplanned:
            await self._doubt()
            self.wake()
        await gone_out.record(self.database, self._committer)

    async def check(self) -> None:
        """Check whether mail will arrive, once a day and when an operator has asked for it."""
        await arrival.check_if_due(self._settings, self.database)

    async def forget(self) -> int:
        """Forget addresses that were never confirmed."""
        forgotten = await forget_unconfirmed(self.database, self._committer, now())
        for reader in forgotten:
            outbox.forget(self._settings.home, reader)
        return len(forgotten)

    async def _begin_marks(self) -> None:
        """Forget old marks, and hold the ledger to the others."""
        if self._marks.folder is None:
            logger.warning(
                "no send marks are kept: set BALLOTPRESS_SENT_MARKS_DIR, so that a restored database sends nothing twice"
            )
        await asyncio.to_thread(forget_old, self._marks.folder)
        await self._doubt()

    async def _doubt(self) -> None:
        """Let the mails be uncertain that are marked as sent while the ledger says that they weren't."""
        try:
            await self._marks.must_be_known(self.database)
            doubted = await restored.doubt(self.database, self._marks.folder)
        except (MarksUnusable, OSError) as error:
            logger.error("the send marks can't be used, and nothing is sent until they can: %s", error)
            return
        if doubted:
            logger.error("%d mails may have been sent in a time that the ledger lacks: they are uncertain", doubted)

    async def _first_waits(self) -> bool:
        """Return whether the first issue waits for the mail check."""
        reason = await first_issue.reason_to_wait(self._settings, self.database)
        if reason is not None and reason != self._waits_for:
            logger.warning("%s: %s", reason, LET_IT_GO)
        self._waits_for = reason
        return reason is not None

    async def _hold_restored(self) -> None:
        """Hold the newsletter if the database may be a backup from before its mails went out: nothing outside tells."""
        if await restored.may_be(self.database, self._schedule):
            logger.error("the newsletter is held: %s", restored.MAY_HAVE_GONE_OUT)
            await ledger.hold(self.database, restored.MAY_HAVE_GONE_OUT)

    async def _bounced(self, outcomes: Sequence[MailOutcome]) -> None:
        """Record what the relay refused for good, and suppress addresses that are dead."""
        await reports.apply_refused(self.database, self._committer, outcomes)


def _providers_of(settings: Settings) -> Providers:
    """Return what names the readers' providers: by DNS too where mail goes to a relay."""
    if settings.smtp_url is None:
        return Providers(None)
    from services.mail_check.dns import Resolver  # it loads slowly

    return Providers(exchanges_from(Resolver(settings.mail_check.dns_servers)))
