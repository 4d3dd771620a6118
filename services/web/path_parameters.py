"""The parameters that paths of this site may have, each with the pattern of its values."""

from collections.abc import Mapping
from typing import Final

from events.log.ids import ID, SLUG

# `$` alone would let a newline follow.
PATTERNS: Final[Mapping[str, str]] = {
    "tool": SLUG,
    "pair": r"^[a-z0-9-]{1,120}-vs-[a-z0-9-]{1,120}$(?!\n)",
    "persona": r"^[^/\x00-\x20][^/\x00-\x1f]{0,79}$(?!\n)",
    "category": r"^[a-z0-9-]{1,80}$(?!\n)",
    "id": ID,
    "visitor": ID,
    "review": ID,
    "webhook": ID,
    "subscriber": ID,
    "provider": r"^[a-z0-9.-]{1,255}$(?!\n)",
    "mail": r"^[A-Za-z0-9_-]{1,160}$(?!\n)",
    "problem": r"^[a-z-]{1,40}$(?!\n)",
    "number": r"^[1-9][0-9]{0,8}$(?!\n)",
    "log": r"^[1-9][0-9]{0,8}$(?!\n)",
    "tile": r"^/?(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?$(?!\n)",
    "card": r"^[a-z0-9-]{1,245}\.png$(?!\n)",
    "badge": r"^[a-z0-9-]{1,120}\.svg$(?!\n)",
    "entry": r"^[1-9][0-9]{0,15}$(?!\n)",
    "sitemap": r"^(pages|(tools|pairs)-[1-9][0-9]{0,15})\.xml$(?!\n)",
    "pack": r"^(0|[1-9][0-9]{0,8})\.jsonl\.gz$(?!\n)",
}
TAILS: Final = frozenset({"tile"})
"""Those that take all the rest of a path."""
