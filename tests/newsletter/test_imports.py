"""A file of subscribers of any size: good rows are imported, each refused row is named, and memory stays as it was.

BALLOTPRESS_CSV_MEGABYTES says how large the file is, beside one broken row of 32 MB.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from asyncpg import Connection

from tests.support.processes import COMMAND
from tests.support.settings import environ

MEGABYTES = float(os.environ.get("BALLOTPRESS_CSV_MEGABYTES", "0.25"))
BROKEN_EVERY = 50
ENDLESS_BYTES = 32_000_000
MOST_MORE_MEGABYTES = 16
"""The memory that a large file may take beyond a file of one row."""

BROKEN = (
    b"reader@@example.com,web form,\n",
    b"nobody@example.com,,\n",
    b"nobody@example.com,web form\n",
    b"nobody@example.com,web form,,\n",
    b'"nobody"@example.com,web form,x\n',
    b"nobody\xff@example.com,web form,\n",
    b"nobody@example.com,web\x00form,\n",
)


def rows(size: int) -> Iterator[tuple[bytes, bool]]:
    """Write rows of so many bytes in all, one in fifty of them broken; tell of each whether it is whole."""
    written = number = 0
    while written < size:
        number += 1
        whole = number % BROKEN_EVERY != 0
        row = b"reader%d@example.com,web form of 2026-03-01 09:15 UTC with double opt-in,\n" % number
        row = row if whole else BROKEN[number // BROKEN_EVERY % len(BROKEN)]
        written += len(row)
        yield row, whole
    yield b"x" * ENDLESS_BYTES + b"@example.com,web form,\n", False
    yield b"last@example.com,web form,\n", True


def write(file: BinaryIO, size: int) -> tuple[int, list[int]]:
    """Write a file; give how many of its rows are whole, and the lines of the others."""
    imported, refused = 0, []
    file.write(b"email,proof,categories\n")
    for line, (row, whole) in enumerate(rows(size), start=2):
        file.write(row)
        if whole:
            imported += 1
        else:
            refused.append(line)
    return imported, refused


def resident_megabytes(pid: int) -> float:
    """Return the most memory that a process has had so far; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0)


async def run_import(dsn: str, file: Path, named: Path) -> tuple[int, str, float]:
    """Import a file as an operator does; give the status, what it said, and its peak of memory in MB."""
    given = environ(dsn, "redis://nobody.invalid", file.parent)
    with named.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            "subscribers",
            "import",
            str(file),
            env=given,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    said = asyncio.create_task(process.communicate())
    peak = 0.0
    while not said.done():
        peak = max(peak, resident_megabytes(process.pid))
        await asyncio.sleep(0.02)
    return await process.wait(), (await said)[0].decode(), peak


@pytest.mark.timeout(3600)
async def test_a_large_file_with_broken_rows_is_imported_in_the_memory_of_a_small_one(
    dsn: str, connection: "Connection[Any]", tmp_path: Path
) -> None:
    """Every whole row is imported, every broken one named by its line alone, and memory doesn't grow with the file."""
    small, large, named = tmp_path / "small.csv", tmp_path / "large.csv", tmp_path / "named"
    small.write_bytes(b"email,proof\nfirst@example.com,web form\n")
    status, said, least = await run_import(dsn, small, named)
    assert (status, said) == (0, "Imported 1 subscriber; 0 known before, 0 refused\n"), named.read_text()
    with large.open("wb") as file:
        imported, refused = write(file, round(MEGABYTES * 1_000_000))
    status, said, most = await run_import(dsn, large, named)
    assert (status, said) == (1, f"Imported {imported} subscribers; 0 known before, {len(refused)} refused\n")
    lines = named.read_text().splitlines()
    assert [int(line.removeprefix("line ").partition(" was refused: ")[0]) for line in lines] == refused
    assert "@" not in named.read_text()
    kept = await connection.fetchval(
        "select count(distinct data->>'subscriber') from log.events where type = 'SubscriberImported'"
    )
    assert kept == imported + 1 == await connection.fetchval("select count(*) from vault.lookups where person is not null")
    assert most - least < MOST_MORE_MEGABYTES, f"{most:.0f} MB, of one row {least:.0f} MB"
