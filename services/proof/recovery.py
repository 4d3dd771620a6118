"""The ways out when nothing may be signed: take a signed note back as the last one, or begin a new log openly."""

import base64
import re
from typing import Any, Final

import msgspec
from asyncpg import Connection

from events.commands.proof import RestartLog
from projections import proof
from services.proof import store
from services.proof.checkpoint import Checkpoint, read_text
from services.proof.continuity import NotYet, Refused, first_wrong, must_continue, must_extend
from services.proof.memory import Memory
from services.proof.note import Note, NoteRefused, read_note, verified
from services.proof.signer import Keys, origin_of, verifiers
from services.proof.store import Log, State

_NUMBER: Final = re.compile(r".*/log/([1-9][0-9]{0,8})")


class NotResumed(Exception):
    """The note can't be gone on from; the message says why, and what to do."""


class NothingToRestart(Exception):
    """The log can be signed as it is; the message says so."""


async def resume(connection: "Connection[Any]", keys: Keys, raw: bytes) -> Checkpoint:
    """Record a note that this log's key signed as its last one, if the log still holds what it says; return it.

    Raises NotResumed.
    """
    async with connection.transaction():
        await store.wait_lock(connection)
        state = await store.read(connection)
        checkpoint, log = _ours(state, keys, raw)
        if checkpoint.size > state.head:
            raise NotResumed(
                f"The note says that {checkpoint.size} positions were signed, and the log ends at {state.head}:"
                " bring the lost ones back, or begin a new log by `ballotpress proof restart`"
            )
        for signed in filter(None, (checkpoint, state.last)):
            await _must_hold(connection, state, signed)
        if state.log is None:
            await store.begin(connection, log)
        if checkpoint.size > state.signed:
            await store.insert(connection, log, checkpoint)
    return checkpoint


def _ours(state: State, keys: Keys, raw: bytes) -> tuple[Checkpoint, Log]:
    """Return the checkpoint of a note, with no lines but our own, and the log it is of. Raises NotResumed."""
    try:
        note = read_note(raw)
        claimed = read_text(note)
        vkeys = keys.vkeys(claimed.origin) if state.log is None else state.log.vkeys
        lines = verified(note, verifiers(vkeys))
    except NoteRefused as error:
        raise NotResumed(f"The note can't be gone on from: {error}") from None
    if state.log is not None and claimed.origin != state.log.origin:
        raise NotResumed(f"The note is of {claimed.origin}, and this log is {state.log.origin}")
    number = _NUMBER.fullmatch(claimed.origin)
    log = state.log or Log(int(number[1]) if number else 1, claimed.origin, vkeys, 0)
    return msgspec.structs.replace(claimed, note=str(Note(note.text, lines))), log


async def _must_hold(connection: "Connection[Any]", state: State, signed: Checkpoint) -> None:
    try:
        await must_extend(connection, state, signed)
    except NotYet:
        raise NotResumed(
            f"The view `proof` is at {await proof.size(connection)} of {signed.size}: wait until the projector has caught up"
        ) from None
    except Refused as refusal:
        raise NotResumed(f"{refusal}: {refusal.advice}") from None


class Ending(msgspec.Struct, frozen=True):
    """A log that is given up: its last signed checkpoint, and how much of it the log still holds."""

    log: Log
    last: Checkpoint
    common: int

    def command(self, reason: str, operator: str) -> RestartLog:
        """Return the command that says so in the log."""
        root = base64.b64encode(self.last.root).decode()
        return RestartLog(self.last.origin, self.last.size, root, self.common, reason, operator)


async def ending(connection: "Connection[Any]", keys: Keys, memory: Memory) -> Ending:
    """Return what a restart would give up. Raises NothingToRestart if the log can be signed as it is."""
    state = await store.read(connection)
    held = memory.read()
    if state.log is None or state.last is None:
        raise NothingToRestart(
            "This database knows of no signed log: `ballotpress proof resume NOTE` goes on from a note, and without one"
            " the projector begins"
        )
    await _must_not_be_older(connection, state.log, held, memory)
    is_known = bool({v.key for v in verifiers(state.log.vkeys)} & {v.key for v in verifiers(keys.vkeys(state.log.origin))})
    try:
        await must_continue(connection, state, held, memory.path)
        if is_known:
            raise NothingToRestart("Nothing keeps this log from being signed: there is nothing to restart")
    except NotYet:
        raise NothingToRestart("The view `proof` hasn't caught up yet: wait for it, and look again") from None
    except Refused:
        pass
    last = held if held is not None and held.origin == state.log.origin and held.size > state.last.size else state.last
    return Ending(state.log, last, await _common(connection, state, last))


async def _must_not_be_older(connection: "Connection[Any]", log: Log, held: Checkpoint | None, memory: Memory) -> None:
    """Check that no later log was signed than the database knows of: a second one would get its number, and belie it.

    Raises NothingToRestart.
    """
    if held is None or held.origin in {log.origin, *await store.former_origins(connection, log.number)}:
        return
    raise NothingToRestart(
        f"{memory.path} says that {held.origin} was signed, and this database knows of nothing after {log.origin}: restore one"
        " that belongs to the file"
    )


async def _common(connection: "Connection[Any]", state: State, last: Checkpoint) -> int:
    """Return the largest signed size that the tree still begins with; 0 if there is none."""
    assert state.log is not None  # noqa: S101 - a log that was never signed can't end
    seen = await proof.size(connection)
    kept = [*await store.roots(connection, state.log.number), (last.size, last.root)]
    found = await first_wrong(connection, [one for one in kept if one[0] <= seen])
    return kept[found - 1][0] if found else 0


async def begin_next(connection: "Connection[Any]", keys: Keys, base_url: str, ended: Ending) -> Log:
    """Record the incarnation that follows a log; it is signed from now on. Return it."""
    async with connection.transaction():
        await store.wait_lock(connection)
        origin = origin_of(base_url, ended.log.number + 1)
        log = Log(ended.log.number + 1, origin, keys.vkeys(origin), 0)
        await store.end(connection, ended.log, ended.common)
        await store.begin(connection, log)
        await store.allow(connection)
    return log
