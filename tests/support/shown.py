"""What every public address of a site shows, by one process and by another."""

from collections.abc import Mapping
from typing import NamedTuple

import httpx

from tests.support.routes import all_routes
from tests.support.runners import until

# What differs from process to process, or never ends; and what is one caller's own.
UNEVEN = ("/health/", "/metrics", "/ops", "/v1/ops", "/v1/tallies/live", "/static/", "/schema", "/outbox", "/newsletter/")


class Shown(NamedTuple):
    """What an address was answered."""

    status: int
    etag: str | None
    body: bytes


def addresses(*tools: str) -> list[str]:
    """Return every public address, of each of these tools; pairs are of the first and another."""
    routes = [route for route in all_routes() if route.method == "GET" and not route.path.startswith(UNEVEN)]
    return sorted({
        route.address(tool=tool, pair=f"{tools[0]}-vs-{tool}", badge=f"{tool}.svg", card=f"{tool}.png")
        for tool in tools
        for route in routes
    })  # fmt: skip


async def look(client: httpx.AsyncClient, address: str, **headers: str) -> Shown:
    """Ask for an address."""
    answer = await client.get(address, headers=headers)
    return Shown(answer.status_code, answer.headers.get("etag"), answer.content)


async def shows_alike(one: httpx.AsyncClient, fresh: httpx.AsyncClient, known: Mapping[str, Shown]) -> int:
    """Wait until a process answers every address as a fresh one does, also to who has what was `known`.

    Return how many can't be compared, since a clock's answer differs each time.
    """
    uneven = 0
    for address, before in known.items():
        headers = {"If-None-Match": before.etag} if before.etag else {}

        async def is_alike(address: str = address, before: Shown = before, headers: Mapping[str, str] = headers) -> bool:
            seen, right = await look(one, address, **headers), await look(fresh, address)
            return right.etag == before.etag if seen.status == 304 else seen == right

        if await look(fresh, address) != await look(fresh, address):
            uneven += 1
        else:
            try:
                await until(is_alike)
            except AssertionError:
                raise AssertionError(address, await look(one, address, **headers), await look(fresh, address)) from None
    return uneven
