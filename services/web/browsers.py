"""Which family a browser is of, by what it calls itself: enough to know one's own sessions by, and no more."""

from typing import Final

# The first that stands in the header: most call themselves by several names.
_FAMILIES: Final = (
    (b"Edg", "Edge"),
    (b"OPR/", "Opera"),
    (b"SamsungBrowser/", "Samsung Internet"),
    (b"Firefox/", "Firefox"),
    (b"FxiOS/", "Firefox"),
    (b"CriOS/", "Chrome"),
    (b"Chromium/", "Chromium"),
    (b"Chrome/", "Chrome"),
    (b"Safari/", "Safari"),
)


def family(user_agent: bytes) -> str:
    """Return the family that a User-Agent header names."""
    return next((name for sign, name in _FAMILIES if sign in user_agent), "another browser")
