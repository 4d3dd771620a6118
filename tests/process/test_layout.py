"""The rule of this tree: tests stand in their room's folder, and share helpers through `tests.support` alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
SHARED = ("tests.support", "tests.oracle", "tests.benchmarks")  # benchmarks are programs, and tests try them


def imported(file: Path) -> Iterator[str]:
    """Yield the name of every module that a file imports; relative imports are none."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def may_import(file: Path, name: str) -> bool:
    """Return whether a file may import this: what all share, or from its own folder what is no test."""
    folder, module = name.split(".")[1:3]
    return name.startswith(SHARED) or (folder == file.parent.name and not module.startswith(("test_", "conftest")))


def test_helpers_are_imported_from_support_alone() -> None:
    """No file imports from a test or a conftest."""
    files = {file: set(imported(file)) for file in TESTS.rglob("*.py")}
    assert [
        f"{file.relative_to(TESTS)} imports {name}"
        for file, names in files.items()
        for name in sorted(names)
        if name.startswith("tests.") and not may_import(file, name)
    ] == []


CLOCKS = ("monotonic", "perf_counter", "time")
LEAST_BOUND = 30
"""Seconds; a busy machine may take as many for what takes a moment alone."""


def judges_speed(node: ast.AST) -> bool:
    """Return whether a node says that less than some seconds have passed, by a clock that runs while others work."""
    if not isinstance(node, ast.Compare) or not isinstance(node.left, ast.BinOp) or not isinstance(node.left.op, ast.Sub):
        return False
    clock, bound = node.left.left, node.comparators[0]
    is_clock = isinstance(clock, ast.Call) and isinstance(clock.func, ast.Attribute | ast.Name)
    name = getattr(clock.func, "attr", getattr(clock.func, "id", "")) if is_clock else ""  # type: ignore[attr-defined]
    return name in CLOCKS and isinstance(bound, ast.Constant) and float(bound.value) < LEAST_BOUND


def test_no_verdict_hangs_on_speed() -> None:
    """A test waits for what it expects (`wait_for`, `until`) and never says how soon that must be; benchmarks do."""
    assert [
        f"{file.relative_to(TESTS)}:{node.lineno}"
        for file in TESTS.rglob("*.py")
        if "benchmarks" not in file.parts
        for node in ast.walk(ast.parse(file.read_text()))
        if judges_speed(node)
    ] == []


def test_no_test_stands_outside_a_room() -> None:
    """At the root stands the one conftest, and nothing else."""
    assert sorted(file.name for file in TESTS.glob("*.py")) == ["__init__.py", "conftest.py"]
