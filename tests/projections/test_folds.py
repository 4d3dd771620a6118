"""The oracle and the views are about the same events; compared here by their lists alone, before any history is folded."""

from collections.abc import Iterable

import pytest

from events.registry import REGISTRY
from projections.engine.projection import Projection, Step
from projections.registry import PROJECTIONS
from tests.oracle.fold import FOLDS


def test_every_view_has_a_fold() -> None:
    """What a view holds is written a second time, in plain Python."""
    assert list(FOLDS) == [projection.name for projection in PROJECTIONS], "fold each view in FOLDS of tests/oracle/fold.py"


def named(steps: Iterable[Step]) -> frozenset[str]:
    """Give the types that statements are for; `*` means all that there are."""
    return frozenset(type_ for type_ in REGISTRY.types for step in steps if step.concerns({type_}))


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
def test_a_fold_takes_the_events_that_the_steps_name(projection: Projection) -> None:
    """A type that a step or the drift watch names is a concern of the fold, and what changes a total is in a step too."""
    steps = named(projection.steps)
    concerns = {type_.__name__ for type_ in FOLDS[projection.name].concerns}
    assert named([projection.changes]) <= steps, "a step must name each type of `-- changes`"
    assert steps <= concerns, f"fold these too, and name them in `concerns`: {sorted(steps - concerns)}"
