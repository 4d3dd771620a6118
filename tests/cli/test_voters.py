"""`ballotpress voters void|reinstate`: what is shown before is what happens."""

from pathlib import Path
from typing import Any

import pytest

from events.ballots import Choice
from tests.support.shell import Follow, Shell, Vote

pytestmark = pytest.mark.usefixtures("catalog")


SIX_TO_THREE: list[Choice] = ["ship", "ship", "ship", "ship", "ship", "ship", "skip", "skip", "skip"]


async def head(connection: Any) -> int:
    position: int = await connection.fetchval("select position from log.head")
    return position


def settled_nothing(low: float, high: float) -> dict[str, Any]:
    """Give what is said of votes that have settled nothing."""
    return {"settled": None, "settled_interval": [low, high]}


async def test_a_dry_run_shows_what_then_happens_and_appends_nothing(
    shell: Shell, vote: Vote, follow: Follow, connection: Any
) -> None:
    """The dry run leaves the log as it is; the real one answers the same but for its position, and the views agree."""
    voters = await vote("alpha", SIX_TO_THREE)
    before = await head(connection)
    words = ("voters", "void", *voters[4:8], "--reason", "one hand, many names", "--json")
    dry = shell(*words, "--dry-run").json()
    assert await head(connection) == before
    assert dry["tools"] == [
        {
            "slug": "alpha",
            "before": {"ship": 6, "skip": 3, "ship_percent": 67, "verdict": None} | settled_nothing(22.4, 95.8),
            "after": {"ship": 4, "skip": 1, "ship_percent": 80, "verdict": None} | settled_nothing(21.4, 99.9),
        }
    ]
    real = shell(*words).json()
    assert real == dry | {"dry_run": False, "position": before + 6}
    assert await head(connection) == before + 6
    await follow()
    assert tuple(await connection.fetchrow("select ship, skip from cards_4.tallies where slug = 'alpha'")) == (4, 1)


async def test_reinstating_gives_back_what_was_taken(shell: Shell, vote: Vote, connection: Any) -> None:
    """After a void and a reinstatement the tallies are as before; a repeated one changes nothing and says so."""
    voters = await vote("beta", ["skip", "ship"])
    assert "1 ship / 1 skip, 50% ship, too early → no votes" in shell("voters", "void", *voters, "--reason", "x").out
    again = shell("voters", "void", *voters, "--reason", "x")
    assert again.out.startswith("Nothing to do")
    back = shell("voters", "reinstate", *voters, "--reason", "a mistake").out
    assert back.startswith("Reinstated 2 voters with 2 votes on 1 tool; no verdict changes\n  beta: no votes → 1 ship / 1 skip")
    operators = await connection.fetchval("select array_agg(distinct meta->>'operator') from log.events where type ~ 'Voter'")
    assert operators == ["shell"]


async def test_voters_come_from_a_file_or_stdin(shell: Shell, vote: Vote, tmp_path: Path) -> None:
    """`@FILE` and `-` hold an id a line; a line that is none is named, and nothing is done."""
    voters = await vote("alpha", ["ship"] * 3)
    file = tmp_path / "voters"
    file.write_text("\n".join(voters[:2]) + "\n\n")
    assert shell("voters", "void", f"@{file}", "--reason", "x", "--dry-run", "--json").json()["voters"] == 2
    lines = "".join(f"  {voter}\r\n" for voter in voters).encode()
    assert shell("voters", "void", "-", "--reason", "x", "--dry-run", "--json", stdin=lines).json()["voters"] == 3
    shell("voters", "void", "-", "--reason", "x", stdin=lines + b"nobody\n").failed("line 4 of stdin", "nobody")
    shell("voters", "void", "-", "--reason", "x").failed("No voter was named")
    shell("voters", "void", f"@{tmp_path / 'none'}", "--reason", "x").failed("can't be read")
    shell("voters", "void", "-", "--reason", "x", stdin=b"\xff\xfe").failed("UTF-8")


async def test_who_never_came_is_refused(shell: Shell, vote: Vote, connection: Any) -> None:
    """One unknown voter refuses the whole cohort; an empty reason is refused before anything is asked."""
    voters = await vote("alpha", ["ship"])
    before = await head(connection)
    shell("voters", "void", *voters, "A" * 22, "--reason", "x").failed("A" * 22)
    shell("voters", "void", *voters, "--reason", " ").failed("--reason", status=2)
    shell("voters", "void", *voters, "--reason", "two\nlines").failed("--reason", status=2)
    shell("voters", "void", *voters).failed("--reason", status=2)
    assert await head(connection) == before
