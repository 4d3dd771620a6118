"""Where the schemas of projections are named."""

import re
from pathlib import Path

import pytest

from projections.registry import PROJECTIONS, named

ROOT = Path(__file__).parents[2]
VERSIONED = re.compile(rf"\b({'|'.join(projection.name for projection in PROJECTIONS)})_\d+\.")


def test_a_version_is_written_in_the_registry_alone() -> None:
    """Raising a projection's version changes one line: no statement of the services or the projections names a version."""
    texts = [
        path for room in ("services", "projections") for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".sql")
    ]
    assert len(texts) > 100
    assert [str(path) for path in texts if VERSIONED.search(path.read_text())] == []


def test_a_name_that_no_projection_has_is_refused() -> None:
    """A statement that names an unknown projection fails when its module is imported, not when it first runs."""
    assert named("select from {cards}.tools where a = '{}'") == f"select from {PROJECTIONS[0].schema}.tools where a = '{{}}'"
    with pytest.raises(KeyError):
        named("select from {tables}.tools")
