"""Ask witnesses to cosign: the client's side of C2SP's tlog-witness, one request a minute and witness while the log moves.

A witness that knows more of this log than we do has seen a history that we lost: then nothing more is signed.
"""

import asyncio
import base64
import logging
import re
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from time import time
from typing import Any, Final
from urllib.error import HTTPError

import msgspec
from asyncpg import Connection

from events.log import postgres
from projections import merkle, proof
from services.proof import store, witnesses
from services.proof.checkpoint import Checkpoint
from services.proof.note import Line, NoteRefused, Verifier, cosigned_at, read_lines
from services.proof.policy import Policy, Witness
from services.proof.store import Log
from services.proof.witnesses import Asked

logger = logging.getLogger(__name__)

PACE: Final = 60.0
PATIENCE: Final = 10.0
"""Seconds."""
MOST_BYTES: Final = 64 * 1024
AHEAD_SECONDS: Final = 300
"""So far may a witness's clock be ahead of ours."""
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


class Reply(msgspec.Struct, frozen=True):
    """What a witness answered: a status and a body; status 0 when it didn't, with the reason as body."""

    status: int
    body: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect: a witness is where its operator said."""


_OPENER: Final = urllib.request.build_opener(_NoRedirects)


def request_body(old: int, hashes: Sequence[bytes], checkpoint: Checkpoint) -> bytes:
    """Return the body of an add-checkpoint: the size that the witness knows, the proof from there, the checkpoint."""
    proof = "".join(f"{base64.b64encode(one).decode()}\n" for one in hashes)
    return f"old {old}\n{proof}\n{checkpoint.note}".encode()


def send(url: str, body: bytes) -> Reply:
    """Send an add-checkpoint to the prefix of a witness; whatever goes wrong is a reply too."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    request = urllib.request.Request(f"{url}/add-checkpoint", body, headers)  # noqa: S310 - an operator named it
    try:
        with _OPENER.open(request, timeout=PATIENCE) as answer:
            return Reply(answer.status, answer.read(MOST_BYTES + 1))
    except HTTPError as error:
        with error:
            return Reply(error.code, error.read(MOST_BYTES))
    except (OSError, HTTPException, ValueError) as error:
        return Reply(0, str(error or type(error).__name__).encode())


def cosignature(body: bytes, text: str, witness: Verifier, now: float) -> Line:
    """Return a witness's verified line in the answer to an add-checkpoint. Raises NoteRefused."""
    try:
        lines = read_lines(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise NoteRefused("the answer isn't UTF-8") from None
    ours = [line for line in lines if witness.is_of(line)]
    if not ours:
        raise NoteRefused("the answer has no line of this witness's key")
    if not all(witness.verifies(text, line) for line in ours):
        raise NoteRefused("the witness's signature is wrong")
    if cosigned_at(ours[0]) > now + AHEAD_SECONDS:
        raise NoteRefused("the witness's time is in the future")
    return ours[0]


class Witnessing:
    """Asks the witnesses of one site's log."""

    def __init__(self, dsn: str, policy: Policy, pace: float = PACE) -> None:
        self._dsn = dsn
        self._policy = policy
        self._pace = pace

    async def run(self) -> None:
        """Ask each minute until cancelled; every failure is logged, and tried again."""
        while True:
            await asyncio.sleep(self._pace)
            try:
                await self.ask_all()
            except postgres.UNAVAILABLE as error:
                logger.warning("the witnesses wait for the database: %r", error)
            except Exception:
                logger.exception("asking the witnesses failed, trying again")

    async def ask_all(self, *, anew: bool = False) -> None:
        """Ask every witness that lacks the last checkpoint to cosign it; `anew` asks those that have it too."""
        connection = await postgres.connect(self._dsn, "witness", seconds=30)
        try:
            state = await store.read(connection)
            if state.log is None or state.last is None:
                return
            known = await witnesses.asked(connection, state.log.number)
            for witness in await witnesses.to_ask(connection, self._policy):
                seen = known.get(witness.verifier.name, Asked())
                if anew or seen.size != state.last.size or seen.failed is not None:
                    await self._ask(connection, state.log, state.last, witness, seen)
        finally:
            await connection.close(timeout=5)

    async def _ask(
        self, connection: "Connection[Any]", log: Log, checkpoint: Checkpoint, witness: Witness, seen: Asked
    ) -> None:
        """Ask one witness, once more with the size that it gives if it knows another than we thought."""
        old = min(seen.size, checkpoint.size)
        reply = await self._send(connection, witness, old, checkpoint)
        if reply.status == 409 and (said := _size_in(reply.body)) is not None and said != old:
            if said > checkpoint.size:
                await self._record(connection, log, witness, Asked(said, f"it knows {said} positions"))
                return
            seen, old = Asked(said), said
            reply = await self._send(connection, witness, old, checkpoint)
        await self._record(connection, log, witness, await self._judged(connection, log, checkpoint, witness, old, reply))

    async def _send(self, connection: "Connection[Any]", witness: Witness, old: int, checkpoint: Checkpoint) -> Reply:
        hashes: Sequence[bytes] = ()
        if 0 < old < checkpoint.size:
            tiles = await proof.tiles(connection, merkle.tiles_for_consistency(old, checkpoint.size))
            hashes = merkle.consistency(old, checkpoint.size, tiles)
        return await asyncio.to_thread(send, witness.url or "", request_body(old, hashes, checkpoint))

    async def _judged(
        self, connection: "Connection[Any]", log: Log, checkpoint: Checkpoint, witness: Witness, old: int, reply: Reply
    ) -> Asked:
        """Return what a reply says of the witness; a right cosignature is recorded.

        That our proof doesn't lead from where it is disputes our history, unless we hold its cosignature from there.
        """
        name = witness.verifier.name
        if reply.status == 200:
            try:
                line = cosignature(reply.body, checkpoint.note.partition("\n\n")[0] + "\n", witness.verifier, time())
            except NoteRefused as error:
                return Asked(old, str(error))
            await witnesses.cosign(connection, log.number, checkpoint.size, line)
            return Asked(checkpoint.size)
        is_fork = reply.status in (409, 422) and not await witnesses.has_cosigned(connection, log.number, old, name)
        why = _SAID.get(reply.status) or f"it answered {reply.status or reply.body.decode('utf-8', 'replace')[:200]}"
        return Asked(old, why, disputed=is_fork and old > 0)

    async def _record(self, connection: "Connection[Any]", log: Log, witness: Witness, seen: Asked) -> None:
        if seen.failed is not None:
            logger.warning("the witness %s didn't cosign: %s", witness.verifier.name, seen.failed)
        await witnesses.note(connection, log.number, witness.verifier.name, seen)


_SAID: Final = {
    400: "it can't read our request",
    403: "it doesn't know our key: give it the vkey of `ballotpress proof key`",
    404: "it doesn't know our log: give it the origin and the vkey",
    409: "it knows another log of this size",
    422: "our proof doesn't lead from where it is",
    429: "we asked it too often",
}


def _size_in(body: bytes) -> int | None:
    """Return the size that a 409 gives; None for anything else."""
    found = _SIZE.fullmatch(body)
    return None if found is None else int(found[1])
