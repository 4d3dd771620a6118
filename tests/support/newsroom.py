"""A newsroom for the tests: real commands, real steps of the views, a real sender and a real socket."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from msgspec.structs import replace

from emails.smtp import Relay
from events.commands.ballots import CastVote
from events.commands.catalog import ImportCatalog
from events.commands.subscribers import ConfirmSubscription, RequestSubscription, SetPreferences, Unsubscribe
from events.log.committer import Committer
from events.log.vault import Vault
from services.clock import fresh_id, now
from services.newsletter import issues, ledger, reports
from services.newsletter.ledger import MailOutcome
from services.newsletter.letters import Letters
from services.newsletter.providers import Providers
from services.newsletter.schedule import schedule_of
from services.newsletter.sender import Sender
from services.newsletter.subscribers import new_person
from services.newsletter.tokens import MailTokens
from services.newsletter.transport import RelayTransport
from services.settings import Settings
from services.tracing.opening import open_tracing
from tests.support import catalogs, signing
from tests.support.log import patient
from tests.support.runners import catch_up_all
from tests.support.sink import Sink


async def unwatched() -> None:
    """Look at nothing: the log of a test doesn't go back by itself."""


class Newsroom:
    """One database, one sink, one sender."""

    def __init__(self, settings: Settings, pool: "asyncpg.Pool[Any]", committer: Committer, sink: Sink, relay: Relay) -> None:
        self.settings = settings
        self.database = pool
        self.committer = committer
        self.sink = sink
        self.vault = Vault(settings.vault_keys)
        self.tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
        self.letters = Letters(pool, settings, self.vault, self.tokens)
        self.schedule = schedule_of(settings.newsletter)
        tracing = open_tracing(settings, "worker")
        self.tracing = None if tracing is None else tracing.mails
        self._relay = relay
        self.sender = self.new_sender()

    def new_sender(self, **more: Any) -> Sender:
        """Return the sender of a worker that has just begun."""
        return Sender(
            self.database,
            self.letters,
            RelayTransport(self._relay, None, self.tracing),
            clock=now,
            bounced=self.bounced,
            look=unwatched,
            lease_seconds=30,
            providers=Providers(),
            chunk=10,
            tracing=self.tracing,
            **more,
        )

    async def bounced(self, outcomes: Sequence[MailOutcome]) -> None:
        """Apply what the relay refused."""
        await reports.apply_refused(self.database, self.committer, outcomes)

    async def sign_up(
        self, address: str, *categories: str, visitor: str | None = None, cap: int = 3, zone: str | None = None
    ) -> str | None:
        """Sign an address up; give the subscriber's id if there is one."""
        finder = await self.vault.finder(self.database)
        person = new_person(self.vault, finder, address, zone)
        await self.committer.submit(
            RequestSubscription(person, categories, "form", visitor, mail=fresh_id(), cap=cap, hourly=1000, offered=categories)
        )
        found: str | None = await self.database.fetchval(
            "select person from vault.lookups where mark = $1", finder.mark(address)
        )
        return found

    async def subscribe(self, address: str, *categories: str, visitor: str | None = None, zone: str | None = None) -> str:
        """Sign an address up and confirm it."""
        subscriber = await self.sign_up(address, *categories, visitor=visitor, zone=zone)
        assert subscriber is not None
        await self.committer.submit(ConfirmSubscription(subscriber, 1, "form", "hash"))
        return subscriber

    async def leave(self, subscriber: str) -> None:
        """Unsubscribe a reader."""
        await self.committer.submit(Unsubscribe(subscriber))

    async def prefer(self, subscriber: str, **more: Any) -> None:
        """Set preferences."""
        wanted = {"categories": [], "frequency": "weekly", "paused_until": None, **more}
        await self.committer.submit(SetPreferences(subscriber, offered=wanted["categories"], **wanted))

    async def import_tools(self, *tools: dict[str, Any], pairs: tuple[tuple[str, str], ...] = ()) -> None:
        """Import a catalog of tools and pairs of slugs."""
        await self.committer.submit(ImportCatalog.of(catalogs.file(*tools, comparisons=pairs), fresh_id, "op"))

    async def vote(self, slug: str, ships: int, skips: int) -> list[str]:
        """Let so many new visitors vote; give their ids."""
        voters = [fresh_id() for _ in range(ships + skips)]
        votes = [CastVote(v, slug, "ship" if n < ships else "skip") for n, v in enumerate(voters)]
        await asyncio.gather(*(self.committer.submit(vote) for vote in votes))
        return voters

    async def project(self) -> None:
        """Bring every view up to the log."""
        await catch_up_all(self.settings.database_url)

    async def sign(self, folder: Path) -> None:
        """Sign the public log as the views have it; the signer's second memory is in a folder."""
        dsn = self.settings.database_url
        assert await signing.sign(signing.signer(dsn, folder), dsn)

    async def send_now(self, at: datetime | None = None, *, extra: bool = False) -> int:
        """Compile and plan the running weekly issue; give its number."""
        dsn = self.settings.database_url
        sent = await issues.send_now(self.database, dsn, self.schedule, at or now(), "op", extra=extra)
        return sent[0].issue.number

    async def deliver(self) -> None:
        """Send what is due, and a second time what was put off for a moment."""
        await self.sender.turn()

    async def accounts(self, number: int) -> dict[str, int]:
        """Give an issue's accounts without nils; they must add up to what was planned."""
        counted = await ledger.accounts(self.database, number)
        assert sum(counted.values()) == (await issues.issue(self.database, number)).planned
        return {state: mails for state, mails in counted.items() if mails}

    async def reasons(self, number: int) -> dict[str, str]:
        """Give the reason of each mail of an issue that has one, by reader."""
        rows = await self.database.fetch(
            "select reader, reason from newsletter.mails where issue = $1 and reason is not null", number
        )
        return {row["reader"]: row["reason"] for row in rows}


@asynccontextmanager
async def newsroom(settings: Settings) -> AsyncIterator[Newsroom]:
    """Open a newsroom."""
    sink = Sink()
    port = await sink.start()
    async with (
        asyncpg.create_pool(settings.database_url, min_size=0, max_size=6, server_settings={"timezone": "UTC"}) as pool,
        patient(settings.database_url) as committer,
        Relay(f"smtp://127.0.0.1:{port}", 4) as relay,
    ):
        named = replace(settings, smtp_url=f"smtp://127.0.0.1:{port}")
        yield Newsroom(named, pool, committer, sink, relay)
    await sink.stop()
    await asyncio.sleep(0)
