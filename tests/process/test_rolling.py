"""Two API processes behind one nginx, replaced one after the other under load: no request is lost.

`BALLOTPRESS_TEST_DEPLOYS` sets how often both are replaced. `BALLOTPRESS_TEST_OLD_RELEASE` names the checkout of another
release, with its `.venv`: then the two take turns, each beside the other.
"""

import asyncio
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg

from services.web.http.auth import VisitorTokens
from tests.support import nginx, servers
from tests.support.catalogs import new_id
from tests.support.http import wait_until_ready
from tests.support.log import add_tools, patient
from tests.support.processes import COMMAND, PATIENCE, Process, free_port, start, started, wait_for
from tests.support.settings import SECRET_KEY, UNLIMITED, environ

DEPLOYS = int(os.environ.get("BALLOTPRESS_TEST_DEPLOYS", "1"))
OLD_RELEASE = os.environ.get("BALLOTPRESS_TEST_OLD_RELEASE")
RELEASES = (COMMAND, COMMAND if OLD_RELEASE is None else (str(Path(OLD_RELEASE, ".venv", "bin", "ballotpress")),))
TOOLS = ("one", "two", "three", "four")
DRAIN_SECONDS = 2


class Caller(threading.Thread):
    """A voter who changes its mind without end, on connections that are kept, and reads in between."""

    def __init__(self, port: int, tool: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._tool = tool
        self._ends = threading.Event()
        self._token = VisitorTokens((SECRET_KEY,)).issue(new_id())
        self.answers: Counter[str] = Counter()
        self.votes = 0
        self.last = ""

    def run(self) -> None:
        """Ask until it is told to end; whatever is no success is kept by what it was."""
        connection = self._connect()
        while not self._ends.is_set():
            choice = ("ship", "skip")[self.votes % 2]
            try:
                kind = self._ask(connection, "PUT", f"/v1/tools/{self._tool}/vote", {"choice": choice})
                if kind == "200":
                    self.votes, self.last = self.votes + 1, choice
                kind = self._ask(connection, "GET", f"/v1/tools/{self._tool}")
            except (OSError, http.client.HTTPException) as error:
                self.answers[repr(error)] += 1
                connection.close()
                connection = self._connect()
            self._ends.wait(0.05)  # what is replaced needs the machine, too
        connection.close()

    def end(self) -> None:
        """Have it end, and wait for that."""
        self._ends.set()
        self.join(PATIENCE)

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl._create_unverified_context()  # noqa: S323 -- the certificate is the test's own
        return http.client.HTTPSConnection("127.0.0.1", self._port, context=context, timeout=PATIENCE)

    def _ask(self, connection: http.client.HTTPSConnection, method: str, path: str, body: object = None) -> str:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        answer.read()
        self.answers[str(answer.status)] += 1
        return str(answer.status)


class Servers:
    """API processes, each at a port of its own."""

    def __init__(self, env: Mapping[str, str], count: int) -> None:
        self.ports = [free_port() for _ in range(count)]
        self._env = env
        self._running: dict[int, Process] = {}

    def start(self, port: int, command: Sequence[str | Path] = COMMAND) -> None:
        """Start an API, and wait until it is ready."""
        self._running[port] = start((*command, "api", "--port", str(port)), self._env)
        wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")

    def replace(self, port: int, command: Sequence[str | Path]) -> None:
        """Do what docs/operating.md says of a deploy: SIGTERM, wait for the end, start the new one, wait until it is ready."""
        self._running[port].send_signal(signal.SIGTERM)
        assert self._running[port].wait(PATIENCE) == 0
        self.start(port, command)

    def end(self) -> None:
        """End all that run."""
        for process in self._running.values():
            process.kill()
            process.wait()


@contextmanager
def calling(port: int, tools: Sequence[str]) -> Iterator[list[Caller]]:
    """Have callers vote and read for a while."""
    callers = [Caller(port, tool) for tool in tools]
    for caller in callers:
        caller.start()
    try:
        yield callers
    finally:
        for caller in callers:
            caller.end()


async def prepared(server: servers.Postgres, valkey_url: str) -> str:
    """Make a database with tools, migrated by each release in its turn; return its DSN."""
    dsn = server.dsn("of_deploys")
    await servers.execute(server.dsn(), "create database of_deploys")
    for release in reversed(RELEASES):
        await asyncio.to_thread(
            subprocess.run, (*release, "migrate"), env=environ(dsn, valkey_url), check=True, capture_output=True
        )
    async with patient(dsn) as committer:
        await add_tools(committer, *TOOLS)
    return dsn


async def ballots(dsn: str) -> int:
    """Return how many votes the log holds."""
    connection = await asyncpg.connect(dsn)
    found: int = await connection.fetchval("select count(*) from log.recorded_events where type = 'VoteCast'")
    await connection.close()
    return found


def went_on(callers: Sequence[Caller], votes: int = 20) -> None:
    """Wait until every caller has voted so often again, or one has ended."""
    before = [caller.votes for caller in callers]
    assert wait_for(lambda: all(caller.votes >= n + votes for caller, n in zip(callers, before, strict=True)))


def test_a_rolling_deploy_behind_nginx_loses_no_request(postgres: servers.Postgres, valkey_url: str, tmp_path: Path) -> None:
    """While each process is replaced in turn, every answer is a 200, and each vote that was answered is in the log once."""
    nginx.program()
    database = asyncio.run(prepared(postgres, valkey_url))
    more = {**UNLIMITED, "BALLOTPRESS_TRUSTED_PROXIES": "127.0.0.1", "BALLOTPRESS_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    env = environ(database, valkey_url, **more)
    apis = Servers(env, 2)
    with ExitStack() as stack:
        stack.callback(apis.end)
        for release in set(RELEASES):
            stack.enter_context(started((*release, "projector"), env))
        for port in apis.ports:
            apis.start(port, RELEASES[0])
        front = stack.enter_context(nginx.before(tmp_path, apis.ports[0], nginx.several(apis.ports)))
        with calling(front, TOOLS) as callers:
            for deploy in range(1, DEPLOYS + 1):
                for port in apis.ports:
                    went_on(callers)
                    apis.replace(port, RELEASES[deploy % 2])
            went_on(callers)
        assert sum((caller.answers for caller in callers), Counter()).keys() == {"200"}
        assert asyncio.run(ballots(database)) == sum(caller.votes for caller in callers)
