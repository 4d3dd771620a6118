"""The site: everything a process of the API works with, in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from redis.asyncio import Redis

from services.api.addresses import Networks
from services.api.health import Check, database_check
from services.api.limits import Headers, Limit, Limits
from services.api.metrics import Metrics
from services.api.queries import Cursors
from services.api.tokens import OperatorTokens, VisitorTokens
from services.settings import Settings


class Site:
    """The wiring of one process. What needs an event loop is there between `open` and its end only."""

    database: "asyncpg.Pool[asyncpg.Record]"
    valkey: Redis
    limits: Limits

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tokens = VisitorTokens(settings.secret_keys)
        self.operators = OperatorTokens(settings.operator_tokens)
        self.cursors = Cursors(settings.secret_keys)
        self.networks = Networks(settings.trusted_proxies)
        self.metrics = Metrics()
        self.checks: list[Check] = []
        self._visitor_writes = Limit("visitor", settings.writes_per_minute, 60)
        self._network_writes = Limit("network", settings.network_writes_per_minute, 60)
        self._new_visitors = Limit("new-visitors", settings.new_visitors_per_hour, 3600)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open what the process works with, and close it in reverse. PostgreSQL and Valkey may be away meanwhile."""
        async with (
            asyncpg.create_pool(
                self.settings.database_url, min_size=0, max_size=10, timeout=2, command_timeout=5
            ) as self.database,
            Redis.from_url(self.settings.redis_url, socket_connect_timeout=1) as self.valkey,
        ):
            self.limits = Limits(self.valkey)
            self.checks += [database_check(self.database), self.limits.check()]
            try:
                yield
            finally:
                await self.limits.close()

    async def limit_write(self, visitor: str, network: str) -> Headers:
        """Count a visitor's write; TooManyRequests."""
        return await self.limits.take((self._visitor_writes, visitor), (self._network_writes, network))

    async def limit_new_visitor(self, network: str) -> Headers:
        """Count a visitor that is about to be created; TooManyRequests."""
        return await self.limits.take((self._new_visitors, network))
