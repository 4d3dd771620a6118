"""What PostgreSQL does for a statement: the nodes of its plan, and the rows that its scans read."""

import json
from collections.abc import Iterator
from typing import Any

from tests.support.runners import Connection


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


async def touched(connection: Connection, sql: str, *arguments: object) -> int:
    """Run a statement with a plan for any arguments; give the number of rows that its scans read."""
    await connection.execute("set plan_cache_mode = force_generic_plan")
    (row,) = await connection.fetch(f"explain (analyze, timing off, summary off, format json) {sql}", *arguments)
    scans = [node for node in nodes(json.loads(row[0])[0]["Plan"]) if node["Node Type"].endswith("Scan")]
    return round(sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in scans))


async def generic(connection: Connection, sql: str) -> dict[str, Any]:
    """Return the plan of a statement for any arguments. Raises what the server says of one that it can't plan."""
    await connection.execute("set plan_cache_mode = force_generic_plan")
    try:
        await connection.execute(f"prepare probe as {sql}")
        wanted = await connection.fetchval(
            "select cardinality(parameter_types) from pg_prepared_statements where name = 'probe'"
        )
        arguments = f"({', '.join(['null'] * wanted)})" if wanted else ""
        explained = await connection.fetchval(f"explain (format json, verbose) execute probe{arguments}")
    finally:
        if await connection.fetchval("select exists (select from pg_prepared_statements where name = 'probe')"):
            await connection.execute("deallocate probe")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan
