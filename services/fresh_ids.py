"""The one place that makes new ids, of the present time and the system's randomness."""

import secrets

from events.log.ids import new_id
from services.clock import now


def fresh_id() -> str:
    """Make an id that nobody has."""
    return new_id(int(now().timestamp() * 1000), secrets.token_bytes(10))
