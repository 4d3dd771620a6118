"""How the public log stands: what is signed and published, what isn't yet, and what an operator must do."""

from datetime import datetime
from typing import Final

import msgspec

from events.log.reads import Reads
from services.proof import store

UNSIGNED_SECONDS: Final = 60.0
"""So long may the log move without a signature."""
SINCE: Final = 29
"""The migration from which on there is a public log."""

_UNSIGNED: Final = """
select coalesce(extract(epoch from now() - e.recorded_at), 0)::float8 from log.events e where e.position = $1
"""


class PublicLog(msgspec.Struct, frozen=True):
    """The public log: how far it is signed and published, and for how long its first unsigned event has waited.

    `refused` says why nothing is signed, `advice` what to do; both are None while all is well. `unwitnessed_since` is set while
    what is published has fewer cosignatures than the policy asks for.
    """

    origin: str
    head: int
    signed: int
    published: int
    signed_at: datetime | None
    unsigned_seconds: float
    unwitnessed_since: datetime | None = None
    refused: str | None = None
    advice: str | None = None


async def read(database: Reads) -> PublicLog | None:
    """Return how the public log stands; None if it was never signed and nothing refuses to."""
    state = await store.read(database)
    if state.log is None and state.refusal is None:
        return None
    waits = 0.0 if state.head <= state.signed else await database.fetchval(_UNSIGNED, state.signed + 1)
    log, refusal = state.log, state.refusal
    return PublicLog(
        origin="" if log is None else log.origin,
        head=state.head,
        signed=state.signed,
        published=0 if log is None else log.published_size,
        signed_at=state.signed_at,
        unsigned_seconds=waits or 0.0,
        unwitnessed_since=None if log is None else log.unwitnessed_since,
        refused=None if refusal is None else refusal.what,
        advice=None if refusal is None else refusal.advice,
    )


def said(log: PublicLog | None) -> tuple[str, str] | None:
    """Return what is wrong with the public log, and what to do about it; None if nothing is."""
    if log is None:
        return None
    if log.refused is not None:
        return f"the public log isn't signed any more: {log.refused}", log.advice or ""
    if log.unsigned_seconds > UNSIGNED_SECONDS:
        what = f"the public log is signed up to {log.signed} of {log.head}, and hasn't been for {log.unsigned_seconds:.0f} s"
        return what, "see the projector's log: it needs BALLOTPRESS_LOG_KEY, and the view `proof` must not have halted"
    if log.unwitnessed_since is not None:
        what = (
            f"fewer witnesses cosign the public log than the policy asks for, since {log.unwitnessed_since:%Y-%m-%d %H:%M} UTC"
        )
        return what, "`ballotpress proof witness list` says what they answer"
    return None
