"""The metrics cost more than any page, and strangers may ask for them: that keeps nobody else from being served."""

import asyncio

import pytest

from services.web.http import metrics
from services.web.http.metrics import Readings


class Source:
    """What is read: each reading ends when it is told to, and finds its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.under_way = 0
        self.going = asyncio.Event()

    async def read(self) -> bytes:
        """Count a reading, and wait."""
        self.begun += 1
        self.under_way += 1
        assert self.under_way == 1
        await self.going.wait()
        self.under_way -= 1
        return b"%d" % self.begun


async def test_all_who_ask_during_a_reading_share_the_next_one() -> None:
    """No answer is older than its question, and a crowd costs as much as one."""
    source, readings = Source(), Readings()
    first = asyncio.create_task(readings.next(source.read))
    while not source.begun:
        await asyncio.sleep(0)
    crowd = [asyncio.create_task(readings.next(source.read)) for _ in range(50)]
    await asyncio.sleep(0)
    crowd.pop().cancel()
    source.going.set()
    assert await first == b"1"
    assert set(await asyncio.gather(*crowd)) == {b"2"}
    assert source.begun == 2


async def test_a_reading_rests_longer_than_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again and again has to wait, so most of the time is left for others."""
    now, slept, takes = 100.0, list[float](), iter((0.125, 60.0, 0.0))

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(max(0.0, seconds))
        now += slept[-1]

    async def read() -> bytes:
        nonlocal now
        now += next(takes)
        return b""

    monkeypatch.setattr(metrics, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    readings = Readings()
    for _ in range(3):
        await readings.next(read)
    assert slept == [0.0, 0.5, 1.0]
