"""How far a server's log of changes reaches is told as its standbys tell it, wherever the last record ended."""

from typing import Any

import asyncpg
import pytest

from events.log.wal import WRITTEN

pytestmark = pytest.mark.postgres

EMIT = "select (pg_logical_emit_message(false, '', repeat('x', $1)) - '0/0'::pg_lsn)::bigint"
NEXT = "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
PAGE = 8192
# A record without its text has 56 bytes or a few more.
EMPTY = range(50, 70)


async def test_a_new_file_begins_where_the_last_one_ended(connection: "asyncpg.Connection[Any]") -> None:
    """After a switch of segments what is written ends with a segment, though the next record begins behind a header."""
    segment = await connection.fetchval("select pg_size_bytes(current_setting('wal_segment_size'))")
    await connection.fetchval(EMIT, 100)
    await connection.fetchval("select pg_switch_wal()")
    written, following = await connection.fetchval(f"select {WRITTEN}"), await connection.fetchval(NEXT)
    assert written % segment == 0 and following == written + 40


async def test_a_full_page_is_no_record_more(connection: "asyncpg.Connection[Any]") -> None:
    """What is written is where the last record ended, also when that is the end of a page."""
    at_page_ends = 0
    for empty in EMPTY:
        left = PAGE - await connection.fetchval(EMIT, 1) % PAGE
        ended = await connection.fetchval(EMIT, max(1, left - empty))
        assert await connection.fetchval(f"select {WRITTEN}") == ended
        at_page_ends += await connection.fetchval(NEXT) == ended + 24
    assert at_page_ends
