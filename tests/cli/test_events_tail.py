"""`ballotpress events tail`."""

import json
from typing import IO

import pytest

from tests.support.shell import Shell, Vote

pytestmark = pytest.mark.usefixtures("catalog")


def read_line(stream: "IO[bytes] | None") -> bytes:
    """Read the next line that a process prints."""
    assert stream is not None
    return stream.readline()


async def test_the_last_ten_are_shown(shell: Shell, vote: Vote) -> None:
    """Without a position it begins ten events before the head, with one there; a line an event."""
    await vote("alpha", ["ship"] * 8)
    shown = shell("events", "tail", "--no-follow", status=0).out.splitlines()
    assert [int(line.split()[0]) for line in shown] == list(range(4, 14))
    assert shown[-1].split()[3] == "VoteCast"
    entries = [json.loads(line) for line in shell("events", "tail", "--from", "6", "--no-follow", "--json").out.splitlines()]
    assert [entry["position"] for entry in entries] == list(range(6, 14))
    assert entries[0]["data"]["choice"] == "ship"
    assert shell("events", "tail", "--from", "99", "--no-follow", status=0).out == ""
    shell("events", "tail", "--from", "0").failed("--from", status=2)


async def test_it_follows_the_log(shell: Shell, vote: Vote) -> None:
    """What is appended later is shown soon after; Ctrl-C ends it."""
    with shell.started("events", "tail", "--from", "5", "--json") as process:
        assert json.loads(read_line(process.stdout))["position"] == 5
        for position in (6, 7):
            await vote("beta", ["skip"])
            assert json.loads(read_line(process.stdout))["position"] == position
        process.send_signal(2)
        out, err = process.communicate()
        assert (out, err, process.returncode) == (b"", b"\n", 130)


@pytest.mark.parametrize("words", [("events", "tail"), ("status", "--json", "--watch")], ids=" ".join)
async def test_a_reader_that_leaves_ends_it_quietly(shell: Shell, words: tuple[str, ...]) -> None:
    """Once nobody reads its output, a command ends silently, even while it follows a log in which nothing happens."""
    with shell.started(*words) as process:
        assert read_line(process.stdout)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


async def test_a_reader_that_leaves_in_the_middle_ends_an_export_quietly(shell: Shell, vote: Vote) -> None:
    """Of a log that no pipe holds, what is not read is not written, and nothing is said of it."""
    await vote("alpha", ["ship"] * 600)
    with shell.started("events", "export", "-") as process:
        assert read_line(process.stdout)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


async def test_a_pipe_to_head_is_quiet(shell: Shell) -> None:
    """`ballotpress events tail | head -1` prints one line and ends."""
    ran = shell.piped("events", "tail", into="head -1")
    assert ran.out.count("\n") == 1
    assert (ran.err, ran.status) == ("", 0)
