"""What the tests of views expect of each other's work."""

from collections.abc import Iterator

import pytest

from projections.engine import ranges


@pytest.fixture(autouse=True)
def no_ranges_are_given_up(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which ranges failed: windows make the same tables, so nothing else would tell.

    Whoever expects it clears the log.
    """
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.name == ranges.__name__] == []
