"""The worker delivers webhooks, and stops cleanly."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from events.commands.webhooks import ReplayWebhook
from services.webhooks.messages import KINDS
from services.webhooks.subscriptions import new_webhook, read_one
from tests.support.catalogs import new_id
from tests.support.log import patient
from tests.support.processes import PATIENCE
from tests.support.receiver import receiving
from tests.support.settings import environ
from tests.support.stem import forked
from tests.support.webhooks import START, VAULT, Connection, Past, a_tool, a_vote, happen, told

pytestmark = pytest.mark.postgres


async def test_a_worker_delivers_and_finishes_what_it_sends(
    dsn: str, valkey_url: str, connection: Connection, tmp_path: Path
) -> None:
    """A real worker sends all there is; told to stop while a slow server answers, it takes the answer in, and ends with 0."""
    past: Past = []
    tool = a_tool(past, "told")
    for _ in range(8):
        a_vote(past, START, tool, "ship")
    await happen(dsn, connection, past)
    whole = await told(connection)
    id_ = new_id()
    async with receiving() as receiver:
        receiver.answer = lambda received: "ok" if len(receiver.received) == 1 else "late"
        async with patient(dsn) as committer:
            await committer.submit(new_webhook(VAULT, id_, receiver.url(), KINDS, "", "op"))
            await committer.submit(ReplayWebhook(id=id_, by="op", position=1))
        variables = environ(dsn, valkey_url, tmp_path, BALLOTPRESS_WEBHOOK_LOOPBACK="on")
        with forked("worker", environ=variables) as worker:
            end = time.monotonic() + PATIENCE
            while len(receiver.received) < len(whole):
                assert time.monotonic() < end and worker.poll() is None
                await asyncio.sleep(0.05)
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait, PATIENCE) == 0
    assert [(one.headers["webhook-id"], one.body) for one in receiver.received] == [(m.id_for(id_), m.body) for m in whole]
    found = await read_one(connection, id_)
    assert (found.failures, found.in_flight) == (0, False) and found.delivered_at is not None
