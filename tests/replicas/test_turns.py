"""A turn to a replica goes by what was known of the primary as it began, whatever becomes of that meanwhile."""

from typing import Any

import pytest

from services.replicas.readers import Readers
from services.replicas.replica import Replica
from tests.support.replicas import Open
from tests.support.runners import until

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def elsewhere(readers: Readers) -> bool:
    """Tell whether a replica is read from."""
    return readers.are_elsewhere


async def test_a_primary_that_falls_silent_amid_the_turn_is_caught_up_with(
    readers: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it showed before is waited for, though nobody has been able to look at it since reads were drained."""
    caught = 0
    drain, catch_up = Readers._drain, Replica.catch_up

    async def drain_then_lose(self: Readers) -> None:
        await drain(self)
        self.primary = None

    async def count(self: Replica, size: int, position: int) -> None:
        nonlocal caught
        caught += 1
        await catch_up(self, size, position)

    monkeypatch.setattr(Readers, "_drain", drain_then_lose)
    monkeypatch.setattr(Replica, "catch_up", count)
    async with readers() as made:
        await until(lambda: elsewhere(made))
        assert caught


async def test_a_primary_that_comes_back_amid_the_turn_keeps_the_reads(readers: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that was gone to because it was away may lack what it shows now: the turn is tried anew."""
    turns = 0
    look_at_primary, begin = Readers._look_at_primary, Replica.begin

    async def silent(self: Readers) -> None:
        self.primary = None

    async def come_back(self: Replica, reset: Any) -> None:
        nonlocal turns
        await begin(self, reset)
        await look_at_primary(made)
        turns += 1

    async def tried() -> bool:
        return turns > 1 or made.are_elsewhere

    monkeypatch.setattr(Readers, "_look_at_primary", silent)
    monkeypatch.setattr(Replica, "begin", come_back)
    async with readers() as made:
        await until(tried)
        assert not made.are_elsewhere
