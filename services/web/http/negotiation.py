"""What a caller would rather have, by its Accept header (RFC 9110, 12.5.1)."""

import re
from typing import Final

_RANGE: Final = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*((?:;[^;]*)*)")
_WEIGHT: Final = re.compile(r";[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?=;|$)", re.IGNORECASE)
_OTHER_WEIGHT: Final = re.compile(r";[ \t]*q=", re.IGNORECASE)


def asks_for(media: str, accept: bytes | None, instead_of: str = "text/html") -> bool:
    """Tell whether a header names a media type, and wants it no less than what is served by default.

    A range such as `*/*` names nothing: whoever sends that alone gets the default, as browsers do.
    """
    if accept is None or media.encode("ascii") not in accept.lower():
        return False
    weights = _weights(accept.decode("latin-1"))
    wanted = weights.get(media, 0.0)
    main, _, _ = instead_of.partition("/")
    default = next((weights[each] for each in (instead_of, f"{main}/*", "*/*") if each in weights), 0.0)
    return wanted > 0 and wanted >= default


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media range in a header; what is no range is passed over."""
    found: dict[str, float] = {}
    for word in accept.split(","):
        if (range_ := _RANGE.fullmatch(word)) and (weight := _weight(range_[2])) is not None:
            name = range_[1].lower()
            found[name] = max(weight, found.get(name, 0.0))
    return found


def _weight(parameters: str) -> float | None:
    if weight := _WEIGHT.search(parameters):
        return float(weight[1])
    return None if _OTHER_WEIGHT.search(parameters) else 1.0
