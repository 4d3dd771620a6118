"""The site: everything a web process works with, in one place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

import asyncpg
from redis.asyncio import Redis

from events.log import postgres
from events.log.committer import Committer
from events.log.ids import ID, SLUG
from events.log.store import Log
from events.log.vault import Finder, Vault
from events.registry import REGISTRY
from projections.engine import notify
from services.clock import now
from services.newsletter import issues
from services.newsletter.schedule import schedule_of
from services.newsletter.tokens import MailTokens
from services.settings import Settings
from services.web.card_cache import Cards
from services.web.http import call
from services.web.http.auth import OperatorTokens, VisitorTokens
from services.web.http.checks import Check, database_check
from services.web.http.cursors import Cursors
from services.web.http.endpoints import PATH_PATTERNS
from services.web.http.limits import Headers, Limit, Limits
from services.web.http.metrics import Metrics
from services.web.http.networks import Networks
from services.web.live import Live
from services.web.wait import ViewProgress, schema_check, view_checks

# `$` alone would let a newline follow.
PATH_PATTERNS.update(
    tool=SLUG,
    pair=r"^[a-z0-9-]{1,120}-vs-[a-z0-9-]{1,120}$(?!\n)",
    persona=r"^[^/\x00-\x20A-Z][^/\x00-\x1fA-Z]{0,79}$(?!\n)",
    id=ID,
    visitor=ID,
    mail=r"^[A-Za-z0-9_-]{1,160}$(?!\n)",
    problem=r"^[a-z-]{1,40}$(?!\n)",
    number=r"^[1-9][0-9]{0,8}$(?!\n)",
)


async def _leave(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Leave a connection as it is: our statements set nothing, and asyncpg's reset costs a round trip each time."""


class LimitsAway(Exception):
    """Valkey doesn't answer, so what must be counted can't be."""


class Site:
    """The wiring of one process. What needs an event loop exists only while the site is open."""

    database: "asyncpg.Pool[asyncpg.Record]"
    valkey: Redis
    limits: Limits
    log: Log
    committer: Committer
    cards: Cards
    live: Live
    views: ViewProgress

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokens = VisitorTokens(settings.secret_keys)
        self.operators = OperatorTokens(settings.operator_tokens)
        self.cursors = Cursors(settings.secret_keys)
        self.networks = Networks(settings.trusted_proxies)
        self.metrics = Metrics()
        self.vault = Vault(settings.vault_keys)
        self.checks: list[Check] = []
        self._visitor_writes = Limit("visitor", settings.writes_per_minute, 60)
        self._network_writes = Limit("network", settings.network_writes_per_minute, 60)
        self._new_visitors = Limit("new-visitors", settings.new_visitors_per_hour, 3600)
        self.mail_tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
        self.schedule = schedule_of(settings.newsletter)
        self._finder: Finder | None = None
        self._signups = Limit("sign-ups", settings.newsletter.signups_per_hour, 3600)
        self._signups_in_all = Limit("sign-ups-in-all", settings.newsletter.signups_in_all_per_hour, 3600)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open everything, and close it in reverse. PostgreSQL and Valkey may be away meanwhile."""
        async with (
            postgres.pool(
                self.settings.database_url, "web", size=10, seconds=5, connect_seconds=2, reset=_leave
            ) as self.database,
            Redis.from_url(self.settings.redis_url, socket_connect_timeout=1) as self.valkey,
        ):
            self.limits = Limits(self.valkey)
            self.log = Log(self.database, REGISTRY)
            self.cards = Cards(self.database, version("ballotpress"))
            self.live = Live(self.cards)
            self.views = ViewProgress(self.database)
            self.checks += [
                database_check(self.database),
                schema_check(self.database),
                *view_checks(self.database),
                self.limits.check(),
                Check("newsletter", False, self._late_issue),
            ]
            try:
                async with self._append():
                    yield
            finally:
                await self.limits.close()

    @asynccontextmanager
    async def _append(self) -> AsyncIterator[None]:
        """Run the committer and the tasks that keep this process in step with the log and the views."""
        dsn = self.settings.database_url
        rung = notify.Bell(dsn, notify.LOG)
        tasks = [
            asyncio.create_task(rung.run()),
            asyncio.create_task(notify.listen(dsn, notify.VIEWS, self._views_moved)),
            asyncio.create_task(self.cards.run()),
            asyncio.create_task(self.live.run()),
        ]
        try:
            async with Committer(dsn, REGISTRY, on_commit=rung.ring) as self.committer:
                yield
        finally:
            self.live.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _late_issue(self) -> str | None:
        return await issues.late(self.database, self.schedule, now())

    async def late_editions(self) -> Sequence[str]:
        """Return the editions so late that they wait for an operator."""
        return (await issues.look(self.database, self.schedule, now())).late

    def _views_moved(self) -> None:
        self.cards.wake.set()
        self.views.wake()

    async def reach(self, position: int | None) -> None:
        """Wait until views and cached cards have reached a position (None: any). Raises ViewsBehind after 2 s."""
        if position is not None:
            await self.views.reach(position)
            await self.cards.refresh()

    async def limit_write(self, visitor: str, network: str) -> Headers:
        """Count a visitor's write. Raises TooManyRequests."""
        return await self.limits.take((self._visitor_writes, visitor), (self._network_writes, network))

    async def limit_signup(self, network: str) -> Headers:
        """Count a sign-up. Raises TooManyRequests, and LimitsAway while sign-ups can't be counted."""
        headers = await self.limits.take((self._signups, network), (self._signups_in_all, "all"))
        if not headers:
            raise LimitsAway
        return headers

    async def finder(self) -> Finder:
        """Return what finds a person by an address; read once."""
        if self._finder is None:
            self._finder = await self.vault.finder(self.database)
        return self._finder

    async def limit_new_visitor(self, network: str) -> Headers:
        """Count a visitor that is about to be created. Raises TooManyRequests."""
        return await self.limits.take((self._new_visitors, network))


class Call(call.Call):
    """A request, with everything that this process works with."""

    __slots__ = ()

    @property
    def site(self) -> Site:
        """What this process works with."""
        return self.scope["site"]  # type: ignore[typeddict-item, no-any-return]
