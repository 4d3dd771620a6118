"""Measure this checkout against another one, in pairs within one run: `python -m tests.benchmarks.against FOLDER [PART …]`.

FOLDER is a checkout of another revision with its `.venv`: `git worktree add FOLDER REVISION && make -C FOLDER install`.
Both serve from one PostgreSQL and one Valkey, with a database each, and take turns. Parts: votes, cpu, reads, append, replay;
and `jobs`, which is `replay` by two jobs alone, against the other's replay and against the same tables made by hand.
A ratio above 1 says that this checkout is faster, but for `cpu`: there it costs more. `BALLOTPRESS_BENCH_EVENTS` sets how long
the replayed log is (1 million), `_PAIRS` and `_SECONDS` how often and how long all others are measured (8, 5).
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from urllib.request import Request, urlopen

import asyncpg
import msgspec
from redis import Redis

from tests.benchmarks import by_hand
from tests.benchmarks.accounting import Account, Costs
from tests.benchmarks.growth import bytes_an_event
from tests.benchmarks.http import Api, Voting, tokens
from tests.benchmarks.replay import rebuild_all, timed
from tests.benchmarks.table import machine
from tests.benchmarks.world import durable_postgres
from tests.support import servers
from tests.support.http import wait_until_ready
from tests.support.processes import free_port, started, wait_for
from tests.support.settings import UNLIMITED, environ

PARTS = ("votes", "cpu", "reads", "append", "replay")
PAIRS = int(os.environ.get("BALLOTPRESS_BENCH_PAIRS", "8"))
SECONDS = float(os.environ.get("BALLOTPRESS_BENCH_SECONDS", "5"))
REST_SECONDS = 1.5  # the views have followed by then: what they cost belongs to the votes before
TOOLS = 5_000

APPEND = """
import sys, uvloop
from tests.benchmarks.append import vote_rate
print(uvloop.run(vote_rate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
"""

# What fills a database is a side's own, since its committer may use what a later migration made.
FILL = """
import sys, uvloop
from tests.benchmarks.world import AddTools, committer
async def fill():
    async with committer(sys.argv[1]) as running:
        await running.submit(AddTools(1000))
    return 0
print(uvloop.run(fill()))
"""

FILL_YEAR = """
import sys, uvloop
try:
    from tests.support.year import fill_year
except ImportError:
    from tests.benchmarks.year import fill_year
print(uvloop.run(fill_year(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
"""

VIEWS = """
try:
    from projections.registry import PROJECTIONS
except ImportError:
    from projections import PROJECTIONS
print(*(projection.name for projection in PROJECTIONS))
"""


class Side(msgspec.Struct, frozen=True):
    """A checkout, and the environment of its processes, which names a database of their own and the checkout's modules."""

    folder: Path
    env: dict[str, str]

    def command(self, *words: str) -> tuple[str, ...]:
        """Return a command of this checkout's own `ballotpress`."""
        return (self._python, "-P", "-m", "services.cli", *words)

    def run(self, *words: str) -> None:
        """Run a command to its end."""
        subprocess.run(self.command(*words), env=self.env, check=True, stdout=subprocess.DEVNULL)

    def evaluate(self, program: str, *words: str) -> float:
        """Run a program with this checkout's modules; return the number it prints."""
        return float(self.print(program, *words))

    def print(self, program: str, *words: str) -> str:
        """Run a program with this checkout's modules; return what it prints."""
        command = (self._python, "-P", "-c", program, *words)
        return subprocess.run(command, env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout

    @property
    def _python(self) -> str:
        return str(self.folder / ".venv" / "bin" / "python")


Sides = Sequence[Side]
Line = tuple[str, float, str]


def main(folder: Path, parts: Sequence[str]) -> None:
    """Measure the parts and print a table."""
    checkouts = (Path.cwd(), folder.resolve())
    lines: list[Line] = []
    with durable_postgres() as server, servers.valkey() as (valkey, _):
        for part in parts:
            print(f"measuring {part} …", file=sys.stderr, flush=True)
            made = asyncio.run(_databases(server, part, checkouts[1], valkey))
            sides = [Side(at, _environ(at, dsn, valkey)) for at, dsn in zip(checkouts, made, strict=True)]
            sides[0].run("migrate")
            lines += _MEASURES[part](sides, server.folder)
    print(f"On {machine()}:\n\n| measure | this against the other | |\n|---|---|---|")
    print("\n".join(f"| {name} | {ratio:.2f} × | {detail} |" for name, ratio, detail in lines))


async def _databases(server: servers.Postgres, part: str, other: Path, valkey: str) -> tuple[str, str]:
    """Return two equal databases, ours and theirs, as the other revision migrated them; ours is still to be migrated on."""
    ours, theirs = f"ours_{part}", f"theirs_{part}"
    dsn = server.dsn(theirs)
    await servers.execute(server.dsn(), f"create database {theirs}")
    side = Side(other, _environ(other, dsn, valkey))
    side.run("migrate")
    if part in ("jobs", "replay"):
        side.evaluate(FILL_YEAR, dsn, str(_replayed()), str(TOOLS))
    else:
        side.evaluate(FILL, dsn)
    await servers.execute(server.dsn(), f"create database {ours} template {theirs}")
    return server.dsn(ours), dsn


def _replayed() -> int:
    """Return the number of events of the log that is replayed."""
    return int(os.environ.get("BALLOTPRESS_BENCH_EVENTS", "1_000_000"))


def _environ(folder: Path, dsn: str, valkey: str) -> dict[str, str]:
    return environ(dsn, valkey, **UNLIMITED) | {"PYTHONPATH": str(folder)}


@contextmanager
def _serving(sides: Sides, folder: Path) -> Iterator[list[Api]]:
    """Run an API and a projector of each side, side by side; the one that isn't measured rests."""
    with ExitStack() as stack:
        apis = []
        for n, side in enumerate(sides):
            port, kept = free_port(), folder / f"side-{n}"
            kept.mkdir(exist_ok=True)
            tokens(kept, 20_000)
            projector = stack.enter_context(started(side.command("projector"), side.env))
            process = stack.enter_context(started(side.command("api", "--port", str(port)), side.env))
            wait_until_ready(f"http://127.0.0.1:{port}", lambda: "the API is not ready")
            apis.append(Api(port, process, kept, projector=projector))
        yield apis


def _turns(name: str, rates: Sequence[Callable[[], float]], runs: int = PAIRS, *, seconds: bool = False) -> Line:
    """Measure both sides in turn; a ratio above 1 is in this side's favour, of rates and of seconds alike."""
    taken: list[list[float]] = [[], []]
    for run in range(runs):
        for n in (0, 1) if run % 2 == 0 else (1, 0):
            taken[n].append(rates[n]())
    ours, theirs = taken
    ratios = [b / a if seconds else a / b for a, b in zip(ours, theirs, strict=True)]
    unit = " s" if seconds else "/s"
    shown = ".2f" if seconds else ",.0f"
    spread = f"{min(ratios):.2f}–{max(ratios):.2f} in {runs} pairs"
    return name, median(ratios), f"{median(ours):{shown}}{unit} against {median(theirs):{shown}}{unit}; {spread}"


def _cpu(sides: Sides, folder: Path) -> list[Line]:
    """Measure CPU a vote of all processes: API, projector, and PostgreSQL and Valkey as far as they serve the side."""
    databases = [side.env["DATABASE_URL"].partition("@/")[2].partition("?")[0] for side in sides]
    with _serving(sides, folder) as apis:
        accounts = [
            Account(_pids(api, sides[0]), folder / "data", others=[name for name in databases if name != own])
            for api, own in zip(apis, databases, strict=True)
        ]
        voting = [Voting(api, SECONDS, "/v1/tools/tool-%d/vote") for api in apis]
        for vote in voting:
            vote()
        each: list[list[Costs]] = [[], []]
        for run in range(PAIRS):
            for n in (0, 1) if run % 2 == 0 else (1, 0):
                each[n].append(_cost_of_a_vote(voting[n], accounts[n], sides[n].env["DATABASE_URL"]))
    return [_costs_line(f"CPU a vote over HTTP, 64 connections: {name}", name, *each) for name in each[0][0]]


def _pids(api: Api, side: Side) -> dict[str, int]:
    assert api.projector is not None
    valkey = Redis.from_url(side.env["REDIS_URL"])
    return {"API": api.process.pid, "projector": api.projector.pid, "Valkey": valkey.info("server")["process_id"]}


def _cost_of_a_vote(vote: Callable[[], float], account: Account, dsn: str) -> Costs:
    """Return the microseconds of a vote by process."""
    first, before = asyncio.run(_head(dsn)), account.costs()
    vote()
    sleep(REST_SECONDS)
    spent, votes = account.since(before), asyncio.run(_head(dsn)) - first
    each = {name: 1e6 * seconds / votes for name, seconds in spent.items()}
    return {**each, "all": sum(each.values())}


async def _head(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    position: int = await connection.fetchval("select position from log.head")
    await connection.close()
    return position


def _costs_line(measure: str, name: str, ours: Sequence[Costs], theirs: Sequence[Costs]) -> Line:
    """Return a line of costs: unlike a rate's, a ratio below 1 is in this side's favour."""
    ratios = [a[name] / max(b[name], 0.1) for a, b in zip(ours, theirs, strict=True)]
    a, b = median(one[name] for one in ours), median(one[name] for one in theirs)
    return measure, median(ratios), f"{a:.0f} µs against {b:.0f} µs; {min(ratios):.2f}–{max(ratios):.2f} in {len(ratios)} pairs"


def _votes(sides: Sides, folder: Path) -> list[Line]:
    with _serving(sides, folder) as apis:
        voting = [Voting(api, SECONDS, "/v1/tools/tool-%d/vote") for api in apis]
        for vote in voting:
            vote()  # warm: each card is read from the database once
        return [_turns("PUT of a vote, 64 connections", voting)]


def _reads(sides: Sides, folder: Path) -> list[Line]:
    path = "/v1/comparisons/tool-1-vs-tool-2"
    with _serving(sides, folder) as apis:
        etags = []
        for api in apis:
            with urlopen(f"http://127.0.0.1:{api.port}{path}") as answer:
                etags.append(answer.headers["ETag"])
        full = [_reading(api, path) for api in apis]
        unchanged = [_reading(api, path, f"If-None-Match: {etag}") for api, etag in zip(apis, etags, strict=True)]
        pages = [_reading(api, "/compare/tool-1-vs-tool-2", "Accept: text/html") for api in apis]
        lists = [_reading(api, "/v1/tools?sort=community") for api in apis]
        return [
            _turns("GET of a comparison", full),
            _turns("its 304", unchanged),
            _turns("a compare page", pages),
            _turns("a page of tools by the community's verdict", lists),
        ]


def _reading(api: Api, path: str, header: str | None = None) -> Callable[[], float]:
    return lambda: api.wrk(SECONDS, path, header=header)[0]


def _append(sides: Sides, folder: Path) -> list[Line]:
    """Measure votes of one process, and of several with one caller each."""

    def appending(side: Side, callers: int, processes: int = 1) -> Callable[[], float]:
        words = (APPEND, side.env["DATABASE_URL"], str(callers), str(SECONDS))

        def run() -> float:
            with ThreadPoolExecutor(processes) as pool:
                return sum(pool.map(lambda _: side.evaluate(*words), range(processes)))

        return run

    return [_turns(f"votes appended, {n} callers", [appending(side, n) for side in sides]) for n in (1, 4, 16, 64, 256)] + [
        _turns(f"votes appended, {n} processes of one caller", [appending(side, 1, n) for side in sides]) for n in (2, 4)
    ]


_AGAIN = ("replay", "--dry-run", "--pause", "0")


def _timed(side: Side, *words: str) -> Callable[[], float]:
    def run() -> float:
        began = monotonic()
        side.run(*words)
        return monotonic() - began

    return run


def _follow(sides: Sides) -> None:
    """Let each side's views follow the log to its end."""
    for side in sides:
        with started(side.command("projector"), side.env):
            dsn = side.env["DATABASE_URL"]
            assert wait_for(lambda dsn=dsn: asyncio.run(_are_at_head(dsn)), seconds=3600), "the views did not catch up"


async def _are_at_head(dsn: str) -> bool:
    """Tell whether the newest version of every view in a database is at the log's head, whichever revision made it."""
    connection = await asyncpg.connect(dsn)
    try:
        head = await connection.fetchval("select position from log.head")
        newest: dict[str, int] = {}
        for view in await connection.fetch("select schemaname from pg_tables where tablename = 'checkpoint'"):
            position = await connection.fetchval(f"select position from {view['schemaname']}.checkpoint")  # noqa: S608 - ours
            name = view["schemaname"].rpartition("_")[0]
            newest[name] = max(position, newest.get(name, 0))
        return bool(newest) and all(position == head for position in newest.values())
    finally:
        await connection.close()


def _jobs(sides: Sides, folder: Path) -> list[Line]:
    """Measure two jobs against one, and against the best statements for the same tables in two sessions."""
    _follow(sides)
    ours, theirs = sides
    dsn = ours.env["DATABASE_URL"]
    alone = asyncio.run(by_hand.make(dsn))
    both = [_timed(ours, *_AGAIN, "--jobs", "2", *_views_of(theirs)), _timed(theirs, *_AGAIN)]
    hand = [
        lambda: asyncio.run(timed(rebuild_all(dsn, jobs=2))),
        lambda: asyncio.run(by_hand.side_by_side(dsn, alone)),
    ]
    size = asyncio.run(bytes_an_event(dsn, _replayed()))
    return [
        (
            f"{size.measure}, against the goal of {size.goal:g}",
            size.value / size.goal,
            f"{size.value:.0f} bytes, {size.detail}",
        ),
        _turns("rebuilding every view that both have: 2 jobs against all of the other's replay", both, PAIRS, seconds=True),
        _turns("rebuilding every view: 2 jobs against the best statements in two sessions", hand, PAIRS, seconds=True),
    ]


def _replay(sides: Sides, folder: Path) -> list[Line]:
    _follow(sides)
    lines = [
        _turns("rebuilding the tallies (cards)", [_timed(side, *_AGAIN, "cards") for side in sides], 5, seconds=True),
        _turns("rebuilding every view", [_timed(side, *_AGAIN) for side in sides], 5, seconds=True),
        _turns("verify of everything", [_timed(side, "verify") for side in sides], 3, seconds=True),
    ]
    with _serving(sides, folder) as apis:
        asked = ("tally as of a time", "tally?as_of=2026-07-01T12:34:56Z"), ("its history", "tally/history?every=day")
        return lines + [
            _turns(f"{name}, 200 tools one after another", [_asking(api, path) for api in apis], 5, seconds=True)
            for name, path in asked
        ]


def _views_of(side: Side) -> list[str]:
    """Return the names of a side's views."""
    return side.print(VIEWS).split()


def _asking(api: Api, path: str) -> Callable[[], float]:
    def run() -> float:
        began = monotonic()
        for n in range(200):
            with urlopen(Request(f"http://127.0.0.1:{api.port}/v1/tools/tool-{n * n % TOOLS}/{path}")) as answer:
                answer.read()
        return monotonic() - began

    return run


_MEASURES: dict[str, Callable[[Sides, Path], list[Line]]] = {
    "votes": _votes, "cpu": _cpu, "reads": _reads, "append": _append, "replay": _replay, "jobs": _jobs,
}  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or PARTS)
