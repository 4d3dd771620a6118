"""What `make bench` promises before it measures anything: each group that it names is there."""

from importlib import import_module

import pytest

from tests.benchmarks import by_hand
from tests.benchmarks.__main__ import GROUPS
from tests.support.runners import catch_up_all
from tests.support.year import fill_year


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_can_be_measured(name: str) -> None:
    """A group imports, with all that it takes from the others, and has a function that measures."""
    assert callable(import_module(f"tests.benchmarks.{name}").measure)


async def test_the_best_statements_make_the_tables_of_the_views(dsn: str) -> None:
    """A rebuild is measured against statements by hand; they would be another task if the tables weren't the same."""
    await fill_year(dsn, 2_000, 20)
    await catch_up_all(dsn)
    await by_hand.make(dsn)
    await by_hand.must_be_equal(dsn)
