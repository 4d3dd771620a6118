"""Processes that are started before `migrate` was run say so, serve nothing wrong, and go on by themselves once it was."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.migrate import migrate
from tests.support import calling, servers
from tests.support.http import OPERATOR_TOKENS, Site, operators, wait_until_ready
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.routes import Route, all_routes
from tests.support.settings import UNLIMITED, environ
from tests.support.shell import Shell
from tests.support.stem import forked

pytestmark = pytest.mark.postgres

RUN_IT = "run `ballotpress migrate`"
BODIES = ("POST", "PUT", "PATCH")


@pytest.fixture
def empty(postgres: servers.Postgres) -> Iterator[str]:
    """A database that nothing of ours is in."""
    asyncio.run(servers.execute(postgres.dsn(), "create database unmigrated"))
    yield postgres.dsn("unmigrated")
    asyncio.run(servers.execute(postgres.dsn(), "drop database unmigrated with (force)"))


def is_alive(client: httpx.Client) -> bool:
    """Tell whether the process answers at all."""
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def answer(site: Site, route: Route, visitor: str) -> tuple[int, str]:
    """Call a route as whoever may; give the status, and the body unless it goes on and on."""
    token = OPERATOR_TOKENS["all"] if "/ops" in route.path else visitor
    headers = {"authorization": f"Bearer {token}", "accept": "*/*" if route.path.startswith("/v1/") else "text/html"}
    body = {"choice": "ship"} if route.method in BODIES else None
    with site.client.stream(route.method, route.address(), json=body, headers=headers) as got:
        site.client.cookies.clear()
        return got.status_code, got.read().decode() if got.status_code >= 500 else ""


def test_an_api_says_what_to_run_and_goes_on_once_it_was(empty: str, valkey_url: str, tmp_path: Path) -> None:
    """Every route of pages, programs and operators answers without a defect; what needs the database names the command."""
    environment = environ(empty, valkey_url, **UNLIMITED, BALLOTPRESS_OPERATOR_TOKENS=operators())
    port, log = free_port(), tmp_path / "output"
    base = f"http://127.0.0.1:{port}"
    with (
        forked("api", "--port", str(port), environ=environment, output=log),
        calling.Client(base_url=base, timeout=PATIENCE) as client,
    ):
        assert wait_for(lambda: is_alive(client)), log.read_text()
        site = Site(client)
        visitor = site.visitor()
        ready = site.anyone.get("/health/ready")
        assert ready.status_code == 503 and RUN_IT in ready.json()["detail"]
        vote = visitor.put("/v1/tools/x/vote", {"choice": "ship"})
        assert (vote.status_code, vote.json()["type"], vote.headers["retry-after"]) == (503, "/problems/unmigrated", "5")
        assert "`ballotpress migrate`" in vote.json()["detail"]
        found = {route: answer(site, route, visitor.token or "") for route in all_routes()}
        assert {route: said for route, (status, said) in found.items() if status not in range(500) and status != 503} == {}
        named = [route for route, (status, said) in found.items() if status == 503 and "ballotpress migrate" in said]
        assert {"/", "/v1/tools", "/v1/bookmarks/{tool:str}", "/v1/ops/events"} <= {route.path for route in named}
        assert "Traceback" not in log.read_text() and "request failed" not in log.read_text()
        asyncio.run(migrate(empty))
        with forked("projector", environ=environment, output=log):
            wait_until_ready(base, log.read_text)
            assert visitor.put("/v1/tools/x/vote", {"choice": "ship"}).status_code == 404


def test_commands_say_what_to_run(empty: str, valkey_url: str, tmp_path: Path) -> None:
    """Commands that read and that write name the command; `status` lists it among what is wrong."""
    shell = Shell(tmp_path / "home", empty, valkey_url)
    for words in ("events tail", "webhooks list", "digest status", "digest pause", "replay", "verify"):
        ran = shell(*words.split(), status=1)
        assert "ballotpress migrate" in ran.out + ran.err, (words, ran.out, ran.err)
        assert "Traceback" not in ran.err
    assert "run `ballotpress migrate`" in shell("status", status=1).out
