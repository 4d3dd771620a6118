"""The event loop of async tests: uvloop's, as the processes have it, and closed even if something was left open in it."""

import warnings

import uvloop

_unclosed: list[warnings.WarningMessage] = []


class Loop(uvloop.Loop):
    """uvloop warns of what is open, then closes it, and waits for that: for ever, if the warning was raised as an error."""

    def close(self) -> None:
        """Close the loop, and keep its warnings for `raise_unclosed`."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().close()
        _unclosed.extend(caught)


def raise_unclosed() -> None:
    """Raise ResourceWarning if loops were closed with something open in them since the last call."""
    said = "; ".join(str(warning.message) for warning in _unclosed)
    _unclosed.clear()
    if said:
        raise ResourceWarning(said)
