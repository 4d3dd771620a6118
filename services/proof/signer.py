"""The signer: a checkpoint at most once a second while the log moves, after proof that it extends the last one.

Any number may run: the place is a lock in the database, taken anew for each step. A step that is cut short anywhere leaves
either nothing, or a checkpoint that is stored and will be published by whoever comes next.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from asyncpg import Connection

from events.log import postgres
from projections import merkle, proof
from projections.merkle import HashMissing
from services.proof import store, witnesses
from services.proof.checkpoint import Checkpoint, sign
from services.proof.continuity import NotYet, Refused, must_continue
from services.proof.memory import Memory, MemoryUnusable
from services.proof.note import KeyMalformed, Signer, Verifier, read_vkey
from services.proof.policy import NO_QUORUM, Policy
from services.proof.replicas import Replicas
from services.proof.store import Log, State

logger = logging.getLogger(__name__)

PACE: Final = 1.0
"""Seconds between two signatures, at least."""
REFUSED_PACE: Final = 5.0
PRUNE_SECONDS: Final = 3600.0


class Keys(msgspec.Struct, frozen=True):
    """The seeds of the keys that sign, newest first."""

    seeds: Sequence[bytes]

    def signers(self, origin: str) -> list[Signer]:
        """Return what signs for a log, newest first."""
        return [Signer(origin, seed) for seed in self.seeds]

    def vkeys(self, origin: str) -> list[str]:
        """Return the public keys for a log, newest first."""
        return [str(signer.verifier) for signer in self.signers(origin)]


def origin_of(base_url: str, number: int) -> str:
    """Return the origin of an incarnation of the log of a site."""
    return f"{urlsplit(base_url).netloc}/log/{number}"


def verifiers(vkeys: Collection[str]) -> list[Verifier]:
    """Return what these vkeys spell; one that spells none signs nothing."""
    found = []
    for vkey in vkeys:
        try:
            found.append(read_vkey(vkey))
        except KeyMalformed as error:
            logger.warning("a key of the log is passed over: %s", error)
    return found


class Signing:
    """Signs one site's log. Its owner sets `wake` when a view has moved; `on_publish` is called after each publication.

    `before` is awaited whenever the database was away: it may be another one.
    """

    def __init__(
        self,
        dsn: str,
        keys: Keys,
        base_url: str,
        memory: Memory,
        *,
        policy: Policy = NO_QUORUM,
        delay: float = 0.0,
        before: Callable[[], Awaitable[None]] | None = None,
        on_publish: Callable[[], None] = lambda: None,
    ) -> None:
        self.wake = asyncio.Event()
        self._dsn = dsn
        self._keys = keys
        self._base_url = base_url
        self._memory = memory
        self._policy = policy
        self._before = before
        self._replicas = Replicas(delay)
        self._on_publish = on_publish
        self._known: tuple[Log | None, Checkpoint | None] | None = None
        self._next_prune = 0.0

    async def run(self) -> None:
        """Sign until cancelled; every failure is logged, and tried again."""
        while True:
            try:
                connection = await connect(self._dsn)
                try:
                    self._known = None  # it may be another database: everything is looked at
                    if self._before is not None:
                        await self._before()
                    await self._follow(connection)
                finally:
                    connection.terminate()
            except postgres.UNAVAILABLE as error:
                logger.warning("the signer waits for the database: %r", error)
            except Exception:
                logger.exception("the signer failed, trying again")
            await asyncio.sleep(PACE)

    async def _follow(self, connection: "Connection[Any]") -> None:
        while True:
            self.wake.clear()
            refused = not await self.turn(connection)
            if monotonic() >= self._next_prune:
                self._next_prune = monotonic() + PRUNE_SECONDS
                await store.prune(connection)
            await asyncio.sleep(REFUSED_PACE if refused else PACE)
            try:
                async with asyncio.timeout(PACE):
                    await self.wake.wait()
            except TimeoutError:
                pass

    async def turn(self, connection: "Connection[Any]") -> bool:
        """Sign and publish what is new; return False if that is refused, which is recorded once."""
        state = await store.read(connection)
        safe = await self._replicas.safe(connection, await proof.size(connection), monotonic())
        if self._is_settled(state, safe):
            return True
        try:
            if await self._sign(connection, safe):
                await self._publish(connection)
        except NotYet:
            return True
        except (Refused, MemoryUnusable, HashMissing) as refusal:
            await self._record(connection, state, refusal)
            return False
        if state.refusal is not None:
            await store.allow(connection)
            logger.warning("the public log is signed again")
        return True

    def _is_settled(self, state: State, safe: int) -> bool:
        """Return whether nothing has moved since the last look, which an idle site's looks find without any lock."""
        if state.refusal is not None or (state.log, state.last) != self._known or state.head < state.signed:
            return False
        if state.log is None:
            return safe == 0
        return safe <= state.signed == state.log.published_size and state.log.unwitnessed_since is None

    async def _sign(self, connection: "Connection[Any]", safe: int) -> bool:
        """Check all that was signed, and sign what is new. Return False if another signer is at work.

        Raises Refused, NotYet, MemoryUnusable.
        """
        async with connection.transaction():
            if not await store.try_lock(connection):
                return False
            state = await store.read(connection)
            held = await asyncio.to_thread(self._memory.read)
            await must_continue(connection, state, held, self._memory.path)
            if safe > state.signed:
                await self._sign_next(connection, state, safe)
            self._known = (state.log, state.last)  # until it is read again: what was just signed isn't settled
        return True

    async def _sign_next(self, connection: "Connection[Any]", state: State, size: int) -> None:
        log = state.log
        if log is None:
            origin = origin_of(self._base_url, 1)
            log = Log(1, origin, self._keys.vkeys(origin), 0)
            await store.begin(connection, log)
        signers = await self._signers(connection, log, size)
        tiles = await proof.tiles(connection, merkle.tiles_for_root(size))
        root = merkle.root(size, tiles)
        if state.last is not None:
            await _must_prove(connection, state.last, size, root)
        await store.insert(connection, log, sign(log.origin, size, root, signers))

    async def _signers(self, connection: "Connection[Any]", log: Log, size: int) -> list[Signer]:
        """Return our keys that the log has announced up to a size, newest first. Raises Refused without any."""
        announced = await store.announced(connection, size)
        known = {verifier.key for verifier in verifiers([*log.vkeys, *announced])}
        ours = self._keys.signers(log.origin)
        signers = [signer for signer in ours if signer.verifier.key in known]
        if not signers:
            raise Refused(
                "the keys in BALLOTPRESS_LOG_KEY have never been announced in the log",
                "bring the former key back, or, if it is lost, begin a new log: `ballotpress proof restart --reason TEXT`",
            )
        vkeys = [str(signer.verifier) for signer in signers]
        if more := [vkey for vkey in log.vkeys if vkey not in vkeys]:
            vkeys += more
        if vkeys != list(log.vkeys):
            await store.add_keys(connection, log, vkeys)
        return signers

    async def _publish(self, connection: "Connection[Any]") -> None:
        """Put the last checkpoint into the second memory, and then let one be served. Raises MemoryUnusable."""
        async with connection.transaction():
            if not await store.try_lock(connection):
                return
            state = await store.read(connection)
            if state.log is None or state.last is None:
                return
            if await asyncio.to_thread(self._memory.read) != state.last:
                await asyncio.to_thread(self._memory.write, state.last)
            known = await witnesses.to_ask(connection, self._policy) if self._policy.asks else ()
            choice = await witnesses.choose(connection, state, self._policy, known)
            if choice.size is not None:
                await store.publish(connection, state.log, choice.size, is_met=choice.is_met)
        state = await store.read(connection)
        self._known = (state.log, state.last)
        self._on_publish()

    async def _record(self, connection: "Connection[Any]", state: State, refusal: Exception) -> None:
        what = str(refusal) if not isinstance(refusal, HashMissing) else f"the view `proof` lacks a tile: {refusal}"
        advice = 'see docs/operating.md, "The public log"'
        if isinstance(refusal, Refused):
            advice = refusal.advice
        elif isinstance(refusal, HashMissing):
            advice = "`ballotpress verify proof` names the rows, `ballotpress replay proof` mends them"
        if state.refusal is None or state.refusal.what != what:
            logger.error("the public log isn't signed: %s", what)
            await store.refuse(connection, what, advice)


async def connect(dsn: str) -> "Connection[Any]":
    """Open a signer's connection: what it commits is on the disk, and a stalled signer loses its place."""
    return await postgres.connect(
        dsn,
        "signer",
        seconds=70,
        idle_in_transaction_session_timeout="5000",
        lock_timeout="2000",
        statement_timeout="60s",
        plan_cache_mode=postgres.ANEW,
    )


async def _must_prove(connection: "Connection[Any]", last: Checkpoint, size: int, root: bytes) -> None:
    """Check the proof that a new tree begins with the last signed one. Raises Refused."""
    tiles = await proof.tiles(connection, merkle.tiles_for_consistency(last.size, size))
    hashes = merkle.consistency(last.size, size, tiles)
    if not merkle.verify_consistency(last.size, size, hashes, last.root, root):
        raise Refused(
            f"the proof from size {last.size} to {size} doesn't lead to the root",
            "`ballotpress verify proof` names the rows, `ballotpress replay proof` mends them",
        )
