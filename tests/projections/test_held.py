"""An operator's comparison holds the live view for as long as it lives, and no longer: no rest ends it, and a stall does."""

import asyncio

import asyncpg
import pytest

from events.log.postgres import FAILED
from projections.engine import projection
from projections.engine.projection import holding_live
from tests.support.runners import CARDS


async def test_a_view_is_held_for_as_long_as_it_takes(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the fold beside takes, the transaction that holds the live view isn't ended for resting."""
    monkeypatch.setattr(projection, "HELD_BY_OPERATOR", 1.0)
    async with holding_live(dsn, CARDS):
        await asyncio.sleep(2.5)


async def test_a_stalled_holder_is_ended(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is alive no more, or stopped, lets go of the live view."""
    monkeypatch.setattr(projection, "HELD_BY_OPERATOR", 0.2)
    monkeypatch.setattr(projection, "AWAKE_SECONDS", 30)
    with pytest.raises((*FAILED, asyncpg.InterfaceError)):
        async with holding_live(dsn, CARDS):
            await asyncio.sleep(1)
