"""Any deliverer may be killed at any moment: every message arrives at least once, none out of order, none after `off`.

BALLOTPRESS_KILL_ROUNDS says how many rounds; each kills one of two deliverers a few times.
"""

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import Process

import pytest

from events.commands.webhooks import ReplayWebhook, SwitchWebhook
from services.webhooks.messages import KINDS
from services.webhooks.subscriptions import new_webhook, read_one
from tests.support import survival
from tests.support.catalogs import new_id
from tests.support.log import patient
from tests.support.processes import PATIENCE
from tests.support.receiver import Receiver, receiving
from tests.support.webhooks import SPAN, START, VAULT, Connection, Past, a_tool, a_vote, happen, told

pytestmark = pytest.mark.postgres

ROUNDS = int(os.environ.get("BALLOTPRESS_KILL_ROUNDS", "1"))
TOOLS = 20


async def deliverer(dsn: str) -> Process:
    """Start a deliverer."""
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.doomed_deliverer", dsn)


async def sends_on(receiver: Receiver) -> None:
    """Wait until another message comes; for a while only, since all may have come."""
    before, end = len(receiver.received), time.monotonic() + 5
    while len(receiver.received) == before and time.monotonic() < end:
        await asyncio.sleep(0.02)


@survival.BOTH_WAYS
async def test_at_least_once_in_order_and_nothing_after_off(dsn: str, connection: Connection) -> None:
    """Two deliverers are killed in turn, in the midst of sending, until all is told; then again from the beginning."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    past: Past = []
    for n in range(TOOLS):
        tool = a_tool(past, f"tool-{n}", START + n * SPAN)
        for _ in range(8):
            a_vote(past, START + n * SPAN, tool, "ship")
    await happen(dsn, connection, past)
    whole = await told(connection)
    async with receiving() as receiver, patient(dsn) as committer:
        id_ = new_id()
        await committer.submit(new_webhook(VAULT, id_, receiver.url("tardily"), KINDS, "", "op"))
        wanted = [(one.id_for(id_), one.body) for one in whole]
        running = [await deliverer(dsn), await deliverer(dsn)]
        try:
            for round_ in range(ROUNDS):
                receiver.received.clear()
                await committer.submit(ReplayWebhook(id=id_, by="op", position=1))
                await committer.submit(SwitchWebhook(id=id_, by="op", on=True))
                end = time.monotonic() + PATIENCE
                while (await read_one(connection, id_)).lag:
                    assert time.monotonic() < end, (seed, round_)
                    await sends_on(receiver)  # on a slow machine a start takes longer than any moment that is drawn
                    await asyncio.sleep(chance.uniform(0, 1))
                    victim = chance.randrange(2)
                    running[victim].send_signal(signal.SIGKILL)
                    await running[victim].wait()
                    running[victim] = await deliverer(dsn)
                arrived = [(one.headers["webhook-id"], one.body) for one in receiver.received]
                places = [wanted.index(one) for one in arrived]
                assert places == sorted(places), (seed, round_, places)
                assert set(places) == set(range(len(wanted))), (seed, round_)
            await committer.submit(ReplayWebhook(id=id_, by="op", position=1))
            receiver.received.clear()
            while not receiver.received:
                await asyncio.sleep(0.01)
            await committer.submit(SwitchWebhook(id=id_, by="op", on=False, reason="enough"))
            running[0].send_signal(signal.SIGKILL)
            while (await read_one(connection, id_)).in_flight:
                await asyncio.sleep(0.01)
            count = len(receiver.received)
            await asyncio.sleep(3)
            assert len(receiver.received) == count < len(wanted), seed
        finally:
            for one in running:
                if one.returncode is None:
                    one.kill()
                await one.wait()
