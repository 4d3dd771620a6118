"""Read the wall clock and the system's randomness: here alone. Other modules are given a clock and ids."""

import secrets
from datetime import UTC, datetime

from events.log.ids import new_id


def now() -> datetime:
    """Return the present time, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock that others are given


def fresh_id() -> str:
    """Return a new id, made of the present time and 80 random bits."""
    return new_id(int(now().timestamp() * 1000), secrets.token_bytes(10))


def fresh_number(below: int) -> int:
    """Return a number that nobody can guess, from 0 to below this one."""
    return secrets.randbelow(below)
