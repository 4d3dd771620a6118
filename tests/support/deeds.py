"""What an operator has done so far, as the operators' log tells it."""

from collections.abc import Sequence
from typing import Any

from services.operators import log
from services.operators.deeds import KINDS

MOST = 1_000


async def deeds_of(database: Any, operator: str) -> Sequence[str]:
    """Return the types of what an operator did, the newest first; each has words of its own."""
    found = await log.read(database, log.Asked(kinds=frozenset(KINDS), operator=operator), log.TOP, MOST)
    assert not [one.what for one in found if one.what.startswith("caused ")]
    return [one.type for one in found]
