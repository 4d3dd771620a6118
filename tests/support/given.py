"""Given what happened, when something is asked, then these events follow, or it is refused: rules without a database."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from events.log import ids
from events.log.event import Event


def an_id(number: int) -> str:
    """Make the same id for the same number."""
    return ids.new_id(1_800_000_000_000 + number, number.to_bytes(10, "big"))


class Asked:
    """A state and a rule that was asked of it."""

    def __init__(self, rule: Callable[[], Sequence[Event]]) -> None:
        self._rule = rule

    def then(self, *expected: Event) -> None:
        """Expect exactly these events."""
        assert list(self._rule()) == list(expected)

    def refused(self, error: type[Exception], *args: object) -> None:
        """Expect this refusal, with these arguments."""
        with pytest.raises(error) as caught:
            self._rule()
        assert caught.value.args == args


class Given:
    """The state after some events."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def when(self, rule: Callable[..., Sequence[Event]], *args: Any, **kwargs: Any) -> Asked:
        """Ask a rule of this state."""
        return Asked(lambda: rule(self.state, *args, **kwargs))


def given(evolve: Callable[[Any, Event], Any], start: Any, *events: Event) -> Given:
    """Fold events into a state."""
    state = start
    for event in events:
        state = evolve(state, event)
    return Given(state)
