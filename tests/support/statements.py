"""Every SQL statement of the product: those of the views' files, and those that stand in modules as constants."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import events
import projections
import services
from projections.registry import PROJECTIONS

_BEGINS = re.compile(r"\s*(select|with|insert|update|delete|create temp)\b", re.IGNORECASE)
_NOT_READ = ("__main__", "embedded", "tracing")
"""Modules that run when they are loaded, that know no SQL, or that need an extra."""


class Statement(NamedTuple):
    """A statement: where it stands, and the schema that its unqualified names mean."""

    name: str
    sql: str
    schema: str


def of_views() -> Iterator[Statement]:
    """Yield each statement of each view's file: steps, totals, changes and scrub."""
    for projection in PROJECTIONS:
        yield Statement(f"{projection.name}: totals", projection.totals, projection.schema)
        yield Statement(f"{projection.name}: changes", projection.changes.sql, projection.schema)
        if projection.scrub:
            yield Statement(f"{projection.name}: scrub", projection.scrub, projection.schema)
        for number, step in enumerate(projection.steps, 1):
            yield Statement(f"{projection.name}: step {number} ({', '.join(sorted(step.types))})", step.sql, projection.schema)


def of_modules() -> Iterator[Statement]:
    """Yield each constant of a module that begins like a statement, once; also those with places to be filled in."""
    seen = set()
    for module in _modules():
        for name, value in vars(module).items():
            for text in _texts(value) if name.strip("_").isupper() else ():
                if _BEGINS.match(text) and text not in seen:
                    seen.add(text)
                    yield Statement(f"{module.__name__}.{name}", text, PROJECTIONS[0].schema)


def _modules() -> Iterator[Any]:
    for package in (events, projections, services):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not any(part in found.name.split(".") for part in _NOT_READ):
                yield importlib.import_module(found.name)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _texts(part)
