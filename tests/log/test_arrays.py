"""Arrays cost a new session nothing: the driver knows PostgreSQL's own without asking."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from events.log import postgres

VALUES = {
    "bool": "true", "bytea": r"'\x00ff'", "name": "'n'", "int2": "1", "int4": "2", "int8": "3", "varchar": "'a,b'",
    "float4": "0.5", "float8": "0.25", "inet": "'10.0.0.1'", "timestamp": "'2026-01-02 03:04'", "date": "'2026-01-02'",
    "timestamptz": "'2026-01-02 03:04Z'", "interval": "'1 day'", "numeric": "1.50",
    "uuid": "'00000000-0000-4000-8000-000000000001'", "json": "'[1]'", "jsonb": """'{"a": 1}'""", "text": "'t'",
}  # fmt: skip


@pytest.fixture
async def plain(dsn: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A session whose driver asks the server."""
    session = await asyncpg.connect(dsn)
    yield session
    await session.close()


async def test_a_new_session_asks_for_no_type_of_array(dsn: str, plain: "asyncpg.Connection[Any]") -> None:
    """The statement is all that is sent, and each array is what it is to a driver that asked, there and back."""
    session, sent = await postgres.connect(dsn, "test"), list[str]()
    session.add_query_logger(lambda record: sent.append(record.query))
    queries = [f"select $1::{type_}[] || array[{value}, null]::{type_}[]" for type_, value in VALUES.items()]
    for query in queries:
        there = await session.fetchval(query, [None])
        assert there == await plain.fetchval(query, [None]) and there[1] is not None
        assert await session.fetchval(query, there) == [*there, *there[1:]]
    await session.close()
    assert sent == [query for query in queries for _ in range(2)], "nothing about types"


async def test_a_type_of_the_databases_own_is_asked_for(dsn: str) -> None:
    """A type that only this database has is read as ever."""
    session = await postgres.connect(dsn, "test")
    await session.execute("create type pair as (a integer, b text)")
    assert await session.fetchval("select array[(1, 'b')::pair]") == [(1, "b")]
    await session.close()
