"""How fast the API is over HTTP: votes and reads by `wrk` on one API process, against constants of the same server."""

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import asyncpg

from services.web.http.auth import VisitorTokens
from tests.benchmarks.table import Row, pairs
from tests.benchmarks.world import durable_postgres, new_database, new_id
from tests.support import servers
from tests.support.http import wait_until_ready
from tests.support.processes import COMMAND, Process, free_port, started
from tests.support.settings import SECRET_KEY, UNLIMITED, environ

# Each request votes with the next token; when all have voted on a tool, the next tool's turn has come.
VOTE_SCRIPT = """
local tokens = {}
for line in io.lines("TOKENS") do tokens[#tokens + 1] = "Bearer " .. line end
local n = START
local choices = { '{"choice":"ship"}', '{"choice":"skip"}' }
request = function()
  n = n + 1
  local tool = (n + math.floor(n / #tokens)) % 1000
  local headers = { ["Authorization"] = tokens[1 + n % #tokens], ["Content-Type"] = "application/json" }
  return wrk.format("PUT", string.format("PATH", tool), headers, choices[1 + n % 2])
end
"""


class Api:
    """One API process on its own port, and the projector that serves it, if its costs are asked for."""

    def __init__(
        self, port: int, process: Process, folder: Path, scheme: str = "http", projector: Process | None = None
    ) -> None:
        self.port = port
        self.scheme = scheme
        self.process = process
        self.projector = projector
        self.folder = folder

    def resident_megabytes(self) -> float:
        """Give the process's resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1000 if found else float("nan")

    def wrk(self, seconds: float, path: str = "/", script: str | None = None, header: str | None = None) -> tuple[float, str]:
        """Run wrk with 64 connections; give requests a second and what it printed. Fails on any error answer."""
        program = shutil.which("wrk")
        assert program, "install wrk to measure HTTP"
        command = [program, "-t1", "-c64", f"-d{seconds:g}s", "--latency"]
        if script is not None:
            (self.folder / "vote.lua").write_text(script)
            command += ["-s", str(self.folder / "vote.lua")]
        if header is not None:
            command += ["-H", header]
        done = subprocess.run(
            [*command, f"{self.scheme}://127.0.0.1:{self.port}{path}"], capture_output=True, text=True, check=True
        )
        assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
        rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
        assert rate, done.stdout
        return float(rate[1]), done.stdout


@contextmanager
def site(dsn: str, valkey: str, folder: Path) -> Iterator[Api]:
    """Run one API process and one projector."""
    port = free_port()
    env = environ(dsn, valkey, **UNLIMITED)
    server = (sys.executable, "-m", "tests.benchmarks.server", str(port))
    with started((*COMMAND, "projector"), env), started(server, env) as process:
        wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")
        yield Api(port, process, folder)


def tokens(folder: Path, count: int) -> Path:
    """Write visitors' tokens, one a line."""
    issuer = VisitorTokens((SECRET_KEY,))
    path = folder / "tokens"
    path.write_text("\n".join(issuer.issue(new_id()) for _ in range(count)))
    return path


class Voting:
    """Votes by wrk, each request another ballot than all before."""

    def __init__(self, api: Api, seconds: float, path: str) -> None:
        self.api = api
        self.seconds = seconds
        self.path = path
        self.sent = 0

    def __call__(self) -> float:
        """Give votes a second."""
        script = VOTE_SCRIPT.replace("TOKENS", str(self.api.folder / "tokens")).replace("START", str(self.sent))
        rate, _ = self.api.wrk(self.seconds, script=script.replace("PATH", self.path))
        self.sent += int(rate * self.seconds) + 1000
        return rate


def measure(seconds: float = 5, runs: int = 5, votes: int = 1_000_000) -> list[Row]:
    """Measure every row about HTTP."""
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        dsn = asyncio.run(new_database(server, "http"))
        tokens(server.folder, 20_000)
        with site(dsn, valkey, server.folder) as api:
            rows = [*_votes(api, seconds, runs), *_reads(api, seconds, runs)]
            rows.append(_memory(api, dsn, votes))
    return rows


def _votes(api: Api, seconds: float, runs: int) -> list[Row]:
    vote = Voting(api, seconds, "/v1/tools/tool-%d/vote")
    constant = Voting(api, seconds, "/bench/tool-%d/limited")
    free = Voting(api, seconds, "/bench/tool-%d/unlimited")
    vote()  # warm: each card is read from the database once
    ratio, detail = pairs(vote, constant, runs)
    rows = [Row("PUT of a vote, 64 connections, against a constant behind the same middleware", 0.75, ratio, detail)]
    ratio, detail = pairs(vote, free, max(1, runs // 2))
    return [*rows, Row("the same, against a constant that isn't limited either", 0.6, ratio, detail)]


def _reads(api: Api, seconds: float, runs: int) -> list[Row]:
    path = "/v1/comparisons/tool-1-vs-tool-2"
    with urlopen(f"http://127.0.0.1:{api.port}{path}") as answer:
        size, etag = len(answer.read()), answer.headers["ETag"]
    constant = _reading(api, seconds, f"/bench/constant/{size}")
    rows = []
    for name, goal, header in (("GET of a comparison", 0.7, None), ("its 304", 0.9, f"If-None-Match: {etag}")):
        ratio, detail = pairs(_reading(api, seconds, path, header), constant, runs)
        rows.append(Row(f"{name}, against a constant of the same {size:,} bytes", goal, ratio, detail))
    return rows


def _reading(api: Api, seconds: float, path: str, header: str | None = None) -> Callable[[], float]:
    return lambda: api.wrk(seconds, path, header=header)[0]


def _memory(api: Api, dsn: str, votes: int) -> Row:
    vote = Voting(api, 20, "/v1/tools/tool-%d/vote")
    vote.sent = 10_000_000
    while (count := asyncio.run(_count(dsn))) < votes:
        vote()
    return Row(
        f"resident memory of the API process after {count:,} votes", 150, api.resident_megabytes(), "", "MB", at_least=False
    )


async def _count(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    count: int = await connection.fetchval("select position from log.head")
    await connection.close()
    return count
