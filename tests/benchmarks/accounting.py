"""What processes have cost: their CPU seconds by the kernel's account, each process of a site by itself."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

Costs = Mapping[str, float]
"""CPU seconds by what they were spent on."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, with those of children that have ended; 0 if it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(word) for word in words[11:15]) / _TICKS
    return 0.0


class Account:
    """The costs of one site: the processes named, and PostgreSQL's, less what it does for other databases."""

    def __init__(self, processes: Mapping[str, int], data: Path, others: Iterable[str] = ()) -> None:
        self._processes = processes
        self._postmaster = int((data / "postmaster.pid").read_text().split()[0])
        self._others = [f" {database} ".encode() for database in others]

    def costs(self) -> Costs:
        """Return all costs so far."""
        named = {name: cpu_seconds(pid) for name, pid in self._processes.items()}
        return {**named, "PostgreSQL": sum(map(cpu_seconds, self._server()))}

    def since(self, before: Costs) -> Costs:
        """Return the costs since then."""
        return {name: max(0.0, cost - before[name]) for name, cost in self.costs().items()}

    def _server(self) -> list[int]:
        task = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children")
        return [self._postmaster, *(pid for pid in map(int, task.read_text().split()) if not self._is_of_others(pid))]

    def _is_of_others(self, pid: int) -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            return any(database in title for database in self._others)
        return True
