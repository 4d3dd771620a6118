"""Which requests are traced: the share that is set, and of those whose caller asks for it a few a second."""

import random
from collections.abc import Callable

from services.tracing.sampling import ASKED_PER_SECOND, Sampling


def sampling(share: float, clock: Callable[[], float] = lambda: 0.0) -> Sampling:
    """Return a policy whose draws can be repeated."""
    return Sampling(share, draw=random.Random(7).random, clock=clock)


def test_a_share_of_all_is_traced() -> None:
    """Without a parent the share decides; 0 is nothing and 1 everything."""
    some = sampling(0.1)
    assert 80 < sum(some.takes() for _ in range(1000)) < 120
    assert not any(sampling(0).takes() for _ in range(1000))
    assert all(sampling(1).takes() for _ in range(1000))


def test_a_parent_that_is_not_sampled_has_no_traced_child() -> None:
    """Whatever the share is."""
    assert not any(sampling(1).takes(False) for _ in range(100))


def test_strangers_cannot_have_everything_traced() -> None:
    """A flood of parents that are sampled gets a few traces a second, and as many again when a second is over."""
    now = 0.0
    asked = sampling(0, lambda: now)
    assert sum(asked.takes(True) for _ in range(10_000)) == ASKED_PER_SECOND
    now = 0.5
    assert sum(asked.takes(True) for _ in range(10_000)) == ASKED_PER_SECOND / 2
    now = 3600.0
    assert sum(asked.takes(True) for _ in range(10_000)) == ASKED_PER_SECOND
