"""A fault in JSON is named so that whoever wrote it can mend it."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from services.json_input import JsonReader, fault_of


class Vote(msgspec.Struct):
    """A list's member with words to choose from."""

    choice: Literal["ship", "skip"]
    how: Annotated[Literal["loud", "quiet"], Meta(description="x")] | None = None


class Votes(msgspec.Struct):
    """A body."""

    votes: list[Vote]


@pytest.mark.parametrize(
    ("raw", "pointer", "words"),
    [(b'{"votes": [{"choice": "maybe"}]}', "/votes/0/choice", "ship, skip"),
     (b'{"votes": [{"choice": "ship", "how": "so"}]}', "/votes/0/how", "loud, quiet")],
)  # fmt: skip
def test_a_word_that_is_not_offered_is_answered_with_those_that_are(raw: bytes, pointer: str, words: str) -> None:
    """However deep it stands."""
    with pytest.raises(msgspec.ValidationError) as caught:
        JsonReader(Votes).read(raw)
    found, detail = fault_of(caught.value, Votes)
    assert found == pointer and detail.endswith(f"; it must be one of {words}")
