"""Issues that are planned for readers, and what the site, its commands and its metrics say of them."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from unittest.mock import patch

from services.settings import OperatorToken
from services.status.model import Problem
from services.status.read import read_status
from tests.support.newsroom import Newsroom
from tests.support.processes import PATIENCE
from tests.support.runners import until
from tests.support.settings import environ
from tests.support.shell import Ran, run_inside
from tests.support.sites import client

EDITOR = OperatorToken(name="editor", scopes=frozenset({"digest"}), token="token-of-an-editor-of-the-tests")


async def planned(room: Newsroom, readers: int) -> tuple[int, list[str]]:
    """Plan an issue for so many readers; give its number and them."""
    return await planned_for(room, [f"reader{n}@example.com" for n in range(readers)])


async def planned_for(room: Newsroom, addresses: Sequence[str]) -> tuple[int, list[str]]:
    """Plan an issue for readers with these addresses; give its number and them."""
    subscribers = [await room.subscribe(address) for address in addresses]
    await room.project()
    await room.deliver()  # the confirmations, which nobody needs any more
    return await room.send_now(), subscribers


def run(room: Newsroom, *words: str) -> Ran:
    """Run a command on the newsroom's site."""
    given = room.settings
    return Ran(run_inside(words, b"", environ(given.database_url, given.redis_url, given.home)))


async def problems(room: Newsroom) -> Sequence[Problem]:
    """Return the problems that `status` shows."""
    async with room.database.acquire() as connection:
        return (await read_status(connection, room.schedule)).problems


async def told_of_refusals(room: Newsroom) -> tuple[str | None, float, float]:
    """Return what readiness says of held providers, and from the metrics how many are and how many readers were refused."""
    patient = {f"services.web.{module}.PATIENCE_SECONDS": PATIENCE for module in ("gauges", "http.checks")}
    async with AsyncExitStack() as stack:
        for name, seconds in patient.items():
            stack.enter_context(patch(name, seconds))
        site = await stack.enter_async_context(client(room.settings))

        async def is_ready() -> bool:
            return (await site.get("/health/ready")).status_code == 200

        await until(is_ready)
        reasons = (await site.get("/health/ready")).json().get("reasons", [])
        metrics = (await site.get("/metrics")).text
    held = next((reason.removeprefix("refusals: ") for reason in reasons if reason.startswith("refusals: ")), None)
    found = dict(re.findall(r'ballotpress_mail_about_us\{of="(\w+)"\} (\S+)', metrics))
    return held, float(found["held_providers"]), float(found["refused_readers"])
