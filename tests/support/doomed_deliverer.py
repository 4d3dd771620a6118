"""A deliverer of webhooks in a process of its own, whose leases are short: `python -m tests.support.doomed_deliverer DSN`."""

import sys

import asyncpg
import uvloop

from events.log.vault import Vault
from services.webhooks import posting
from services.webhooks.deliverer import Deliverer
from services.webhooks.posting import Poster
from tests.support.settings import VAULT_KEY

LEASE_SECONDS = 2.0


async def deliver(dsn: str) -> None:
    """Deliver until killed."""
    posting.DEADLINE = 1.0  # type: ignore[misc] - below the lease, as ten seconds are below thirty
    async with asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool:
        poster = Poster(allow_loopback=True)
        await Deliverer(pool, Vault([VAULT_KEY]), poster, most_failures=1000, lease_seconds=LEASE_SECONDS).run()


if __name__ == "__main__":
    uvloop.run(deliver(sys.argv[1]))
