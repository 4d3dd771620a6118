"""Whether a statement reads the log alone: what Citus can plan for sure, said of PostgreSQL's own plan.

A plan falls into parts that Citus plans one by one: the statement itself, each of its CTEs and scalar subqueries, each side
of a union. A part that scans the log's table may scan nothing else, by no function of ours and with no subquery for each row.
"""

import re
from collections.abc import Iterator
from typing import Any

TABLE = "events"
# The one that is on each server: see `events/log/citus.py`.
_OURS = re.compile(r"\b(?!log\.must_be_here)(log|newsletter|integrity|proof|vault)\.\w+\(")
_SET = frozenset({"Append", "Merge Append", "SetOp"})

Node = dict[str, Any]


def faults(plan: Node, sql: str) -> list[str]:
    """Return what is wrong with each part of a statement's plan that reads the log not alone."""
    found = [fault for part in _parts(plan) if _reads_log(part) for fault in _faults(part)]
    if reads_log(plan):
        found += [f"calls {call[0]}…) where the events may be" for call in _OURS.finditer(sql)]
    return found


def reads_log(plan: Node) -> bool:
    """Return whether a plan scans the log's table anywhere."""
    return any(_reads_log(part) for part in _parts(plan))


def _parts(plan: Node) -> Iterator[list[Node]]:
    """Yield the nodes of each part of a plan."""
    begun = [plan]
    while begun:
        part: list[Node] = []
        _gather(begun.pop(), part, begun)
        yield part


def _gather(node: Node, part: list[Node], others: list[Node]) -> None:
    part.append(node)
    for child in node.get("Plans", []):
        if child.get("Parent Relationship") == "InitPlan" or node["Node Type"] in _SET:
            others.append(child)
        else:
            _gather(child, part, others)


def _reads_log(part: list[Node]) -> bool:
    return any(node.get("Relation Name") == TABLE and node.get("Schema") == "log" for node in part)


def _faults(part: list[Node]) -> Iterator[str]:
    tables = [node["Relation Name"] for node in part if "Relation Name" in node and node["Node Type"] != "ModifyTable"]
    if tables != [TABLE]:
        yield f"reads {', '.join(tables)} together"
    for node in part:
        if node["Node Type"] == "Function Scan":
            yield f"reads the function {node.get('Function Name', node.get('Alias'))} beside the log"
        if node["Node Type"] == "ModifyTable":
            yield f"writes {node['Relation Name']} from the log"
        if node.get("Parent Relationship") == "SubPlan":
            yield "has a subquery for each event"
