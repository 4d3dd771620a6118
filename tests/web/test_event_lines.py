"""How operators read events."""

import uuid
from pathlib import Path

import msgspec
import pytest

from events.log.store import RecordedRow
from services.clock import now
from services.web.event_lines import event_line

SAMPLES = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_every_type_has_a_line(sample: Path) -> None:
    """An operator reads what happened, not the name of a type."""
    type_, version = sample.stem.split(".")
    data, none = msgspec.Raw(sample.read_bytes()), msgspec.Raw(b"null")
    row = RecordedRow(1, uuid.uuid4(), 1, type_, int(version), data, none, now())
    one_word_says_it = type_ == "Unsubscribed"
    assert one_word_says_it or event_line(row).line != type_, "say what happened in `_LINES` of services/web/event_lines.py"
