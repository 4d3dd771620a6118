"""Client puzzles, solved as any program would that has read the API's document."""

from collections.abc import Mapping
from hashlib import pbkdf2_hmac
from typing import Any


def solution_of(puzzle: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that brings the solution of a refusal's `puzzle` along."""
    assert puzzle["algorithm"] == "PBKDF2/SHA-256"
    for number in range(puzzle["most"]):
        key = pbkdf2_hmac("sha256", str(number).encode(), puzzle["salt"].encode(), puzzle["cost"]).hex()
        if key.startswith(puzzle["wanted"]):
            return {"Ballotpress-Puzzle": f"{puzzle['token']}:{key}"}
    raise AssertionError("the puzzle has no solution")
