"""Checking the public log: how many entries `verify.py` recounts in a second, and what a ballot takes of memory."""

import contextlib
import io
import os
import random
import resource
import tempfile
import time
from pathlib import Path

from services.proof import verify
from tests.benchmarks import signing
from tests.benchmarks.table import Row
from tests.support.public_log import PublicLog

ENTRIES = 1_000_000
TOOLS = 500
RUNS = 3


def written(folder: Path) -> tuple[Path, str]:
    """Write a log of votes, every tenth a change of an earlier one; return its export and the key that signed it."""
    log, chance = PublicLog(), random.Random(7)
    tools = [log.tool(f"tool-{n}") for n in range(TOOLS)]
    voted: list[tuple[str, str]] = []
    for n in range(ENTRIES - TOOLS):
        log.minute += n % 200 == 0
        if n % 10 == 9:
            visitor, tool = voted[chance.randrange(len(voted))]
            log.vote(visitor, tool, "skip" if log.stands[tool, visitor] == "ship" else "ship")
        else:
            visitor, tool = str(n), tools[int(TOOLS * chance.random() ** 3)]
            voted.append((visitor, tool))
            log.vote(visitor, tool, "ship" if chance.random() < 0.6 else "skip")
    return log.export(folder / "log.jsonl"), log.signer.vkey


def seconds(export: Path, vkey: str) -> float:
    """Return how long a whole check takes."""
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        assert verify.main([str(export), "--key", vkey]) == 0
    return time.perf_counter() - begun


def peak(export: Path, vkey: str) -> int:
    """Return the most memory that a check takes in a process of its own, in bytes, without what the program itself takes."""
    child = os.fork()
    if not child:
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds(export, vkey)
        Path(f"{export}.peak").write_text(str(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)))
        os._exit(0)
    os.waitpid(child, 0)
    return int(Path(f"{export}.peak").read_text())


def measure() -> list[Row]:
    """Measure every row about the public log."""
    return [*_verifying(), *signing.measure()]


def _verifying() -> list[Row]:
    """Measure both on one log."""
    with tempfile.TemporaryDirectory() as folder:
        maker = os.fork()
        if not maker:  # what makes the log takes memory of its own
            export, vkey = written(Path(folder))
            (Path(folder) / "vkey").write_text(vkey)
            os._exit(0)
        os.waitpid(maker, 0)
        export, vkey = Path(folder, "log.jsonl"), Path(folder, "vkey").read_text()
        ballots = ENTRIES - TOOLS - ENTRIES // 10
        memory = peak(export, vkey) / ballots
        times = sorted(seconds(export, vkey) for _ in range(RUNS))
    rate = ENTRIES / times[len(times) // 2]
    spread = f"{ENTRIES / times[-1]:,.0f}–{ENTRIES / times[0]:,.0f}/s in {RUNS} runs of {ENTRIES:,} entries"
    return [
        Row("`verify.py`, entries a second", 100_000, rate, spread, "/s"),
        Row("`verify.py`, memory a ballot", 250, memory, f"{ballots:,} ballots of {TOOLS} tools", "B", at_least=False),
    ]
