"""What the server reads of an id: when it was made, and nothing of any other text."""

from typing import Any

import pytest

from events.log import ids

NONE = ("", "x", "A" * 21, "A" * 23, "A" * 22 + "\n", "A" * 21 + "=", "A" * 21 + "+", "é" * 22, "A" * 10 + "\n" + "A" * 11)


@pytest.mark.parametrize("milliseconds", [0, 1, 1_780_000_000_123, 2**48 - 1])
async def test_the_time_of_an_id(connection: Any, milliseconds: int) -> None:
    """The server finds the millisecond that an id was made in."""
    id_ = ids.new_id(milliseconds, b"\xff" * 10)
    assert await connection.fetchval("select log.made_at($1)", id_) == milliseconds


async def test_no_time_of_anything_else(connection: Any) -> None:
    """A text of another length or with another character was made at no time."""
    rows = await connection.fetch("select t, log.made_at(t) as at from unnest($1::text[]) t", [*NONE, None])
    assert [row["t"] for row in rows if row["at"] is not None] == []
