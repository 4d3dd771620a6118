"""Look at the replicas once, as a command does: whoever reads from them, and whether they can be read from."""

import asyncio
from contextlib import suppress
from typing import Final

from events.log import history, postgres
from events.log.reads import Reads
from services.replicas import look
from services.replicas.look import AtPrimary
from services.replicas.readers import replicas_of
from services.replicas.replica import AHEAD_SECONDS, Replica, Standing
from services.settings import Settings

TRIES: Final = 3
PAUSE_SECONDS: Final = 0.2
"""A replica in step has what was written before so long."""


async def read_standings(settings: Settings, primary: Reads) -> list[Standing]:
    """Return how each replica that the settings name stands; `used` are those that any process reads from."""
    if settings.read_database_url is None:
        return []
    replicas = replicas_of(settings.read_database_url, settings.read_lag_seconds)
    try:
        at = await _at_primary(primary)
        await asyncio.gather(*(_look(replica, at) for replica in replicas))
        for replica in replicas:  # one after the other, for they ask by one session
            await _judge(replica, at, primary)
        return [replica.standing(at) for replica in replicas]
    finally:
        for replica in replicas:
            replica.close()


async def _at_primary(primary: Reads) -> AtPrimary | None:
    with suppress(*postgres.FAILED):
        return await look.at_primary(primary)
    return None


async def _look(replica: Replica, at: AtPrimary | None) -> None:
    """Look until a replica has what the primary had, or has had its chances."""
    for _ in range(TRIES):
        await replica.look()
        if replica.at is None or at is None or replica.at.replayed >= at.written:
            break
        await asyncio.sleep(PAUSE_SECONDS)


async def _judge(replica: Replica, at: AtPrimary | None, primary: Reads) -> None:
    """Say how a replica stands; one that never had what the primary had lags by as long as nothing came."""
    seen = replica.at
    lag = 0.0
    if seen is not None and at is not None and seen.replayed < at.written:
        lag = look.quiet_seconds(seen, at)
    replica.judge(at, lag, is_held=await _is_held(replica, at, primary))
    if replica.is_doubted:  # a commit is sent before it is told
        await asyncio.sleep(AHEAD_SECONDS)
        await replica.look()
        replica.judge(at, lag, is_held=await _is_held(replica, at, primary))


async def _is_held(replica: Replica, at: AtPrimary | None, primary: Reads) -> bool:
    """Return whether a replica's history is the primary's."""
    if replica.at is None or at is None:
        return True
    if look.is_ahead(replica.at, at) and (now := await _at_primary(primary)) is not None and look.is_ahead(replica.at, now):
        return False
    return not look.lacks(replica.at, at) and await history.holds(primary, replica.at.mark)
