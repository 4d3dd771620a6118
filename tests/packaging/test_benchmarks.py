"""What `make bench` promises before it measures anything: each group that it names is there."""

from importlib import import_module

import pytest

from tests.benchmarks.__main__ import GROUPS


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_can_be_measured(name: str) -> None:
    """A group imports, with all that it takes from the others, and has a function that measures."""
    assert callable(import_module(f"tests.benchmarks.{name}").measure)
