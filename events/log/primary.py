"""Find the server that takes writes among the hosts of a URL, and leave one that was left behind.

Every host is asked at once, with a time-out of its own, so that one that hangs holds nobody up. Of several that take writes
that of the latest timeline holds: each promotion begins a new one. Who has seen a timeline goes to no earlier one any more.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import asyncpg
import msgspec
from asyncpg import Connection
from asyncpg.connect_utils import SessionAttribute

from events.log.hosts import Address, Host

logger = logging.getLogger(__name__)

STAYS_SECONDS: Final = 5.0
"""So long after all hosts were asked, the one that was found is asked alone."""

LOOKUP_SECONDS: Final = 1.0
"""So long the addresses of a name are waited for, so that a name that can't be looked up keeps nobody from the other hosts."""

MOMENT: Final = 0.5
"""Seconds that the other hosts have to say that they take writes too, once one has said so."""

WHAT_TO_DO: Final = "Start the primary; if it is gone for good, promote a standby (docs/operating.md, A failover)"

# A promotion begins a new timeline, which the names of WAL files tell at once; a copy of the server has the same identifier.
_LOOK: Final = """
select (select c.system_identifier from pg_control_system() c) as system,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline
"""


class NoPrimary(ConnectionError):
    """No host of the URL takes writes; the text says of each why not."""


class Server(msgspec.Struct, frozen=True):
    """A server that takes writes. Timeline 0: it doesn't let us see which."""

    host: Host
    system: int = 0
    timeline: int = 0

    def has_left(self, other: "Server") -> bool:
        """Tell whether it took over from another."""
        return self.system == other.system and self.timeline > other.timeline > 0


class LeftBehind(ConnectionError):
    """A server takes writes on a timeline that another has left: it was taken over from."""

    def __init__(self, server: Server, latest: Server) -> None:
        super().__init__(_says_of_two(server, latest))
        self.server = server


class Session(Connection):
    """A connection that knows the server it leads to."""

    __slots__ = ("server",)
    server: Server

    @property
    def is_demoted(self) -> bool:
        """Tell whether the server has said meanwhile that it takes no writes."""
        said = self.get_settings()
        return "on" in (getattr(said, "default_transaction_read_only", ""), getattr(said, "in_hot_standby", ""))


class Primary:
    """One process's memory of where the primary of a URL is, and of its sessions there."""

    def __init__(self, dsn: str, address: Address) -> None:
        self._dsn = dsn
        self._address = address
        self._wanted = SessionAttribute("read-write" if address.attributes == "any" else address.attributes)
        self._chosen: Server | None = None
        self._latest: dict[int, Server] = {}
        self._searched_at = float("-inf")
        self._sessions: WeakSet[Session] = WeakSet()
        self.seen: Sequence[str] = ()
        """What each host was when all were asked last."""
        self.left: Sequence[str] = ()
        """A sentence about each server that takes writes though another has taken over from it."""

    async def open(self, *, timeout: float, **options: Any) -> Session:  # noqa: ASYNC109 - asyncpg's name, which its pools use
        """Open a session at the server that takes writes. Raises NoPrimary, and refusals of another kind as they are."""
        options["connection_class"] = Session
        if self._chosen is not None and monotonic() < self._searched_at + STAYS_SECONDS:
            try:
                return self._keep(await self._attempt(self._chosen.host, min(timeout, MOMENT), options))
            except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError, asyncpg.InterfaceError):
                logger.info("%s is asked no more alone", self._chosen.host)
        return self._keep(await self._search(timeout, options))

    async def look(self, seconds: float, **options: Any) -> Server:
        """Ask every host which takes writes; end the sessions at one that was left behind or demoted. Raises as `open`."""
        session = await self._search(seconds, {**options, "connection_class": Session})
        session.terminate()
        return session.server

    def _keep(self, session: Session) -> Session:
        self._sessions.add(session)
        return session

    async def _search(self, seconds: float, options: dict[str, Any]) -> Session:
        hosts = await self._hosts()
        tasks = [asyncio.create_task(self._attempt(host, seconds, options)) for host in hosts]
        try:
            await _one_and_a_moment(tasks)
            if not (sessions := _opened(tasks)):
                raise _refusal(hosts, tasks)
            self.seen = [f"{host} {_said_of(task)}" for host, task in zip(hosts, tasks, strict=True)]
            chosen = self._choose(sessions)
            self._tell(_errors(tasks), [session.server for session in sessions])
            return chosen
        except BaseException:
            for session in _opened(tasks):
                session.terminate()
            raise
        finally:
            await _end(tasks)

    def _choose(self, sessions: Sequence[Session]) -> Session:
        """Take the session at the latest timeline, the first of these; end the others, and all at servers left behind."""
        chosen = max(sessions, key=lambda session: session.server.timeline)
        for session in sessions:
            if session is not chosen:
                session.terminate()
        if self._chosen != chosen.server:
            logger.info("%s takes writes, on timeline %d", chosen.server.host, chosen.server.timeline)
        self._chosen, self._searched_at = chosen.server, monotonic()
        if chosen.server.timeline:
            self._latest[chosen.server.system] = chosen.server
        self._leave()
        return chosen

    def _tell(self, errors: Sequence[BaseException | None], servers: Sequence[Server]) -> None:
        """Keep what is to be said of servers that were left behind; log what is new of it."""
        assert self._chosen is not None  # noqa: S101 - one has just been chosen
        refused = [f"{error.server.host} {error}" for error in errors if isinstance(error, LeftBehind)]
        left = [f"{one.host} {_says_of_two(one, self._chosen)}" for one in servers if self._chosen.has_left(one)]
        before, self.left = self.left, [*refused, *left]
        for one in self.left:
            if one not in before:
                logger.warning("%s", one)

    def _leave(self) -> None:
        """End the sessions at servers that the chosen one has taken over from, and at those that take no writes any more."""
        for session in list(self._sessions):
            if not session.is_closed() and (
                session.is_demoted or (self._chosen is not None and self._chosen.has_left(session.server))
            ):
                logger.warning("a session at %s is ended: it takes writes no more", session.server.host)
                session.terminate()

    async def _attempt(self, host: Host, seconds: float, options: dict[str, Any]) -> Session:
        async with asyncio.timeout(seconds):
            session: Session = await asyncpg.connect(
                self._dsn, host=host.name, port=host.port, timeout=seconds, target_session_attrs=self._wanted, **options
            )
            try:
                session.server = await _server(session, host)
                self._must_not_be_left(session.server)
            except BaseException:
                session.terminate()
                raise
        return session

    def _must_not_be_left(self, server: Server) -> None:
        latest = self._latest.get(server.system)
        if latest is not None and latest.has_left(server):
            raise LeftBehind(server, latest)

    async def _hosts(self) -> tuple[Host, ...]:
        """Return what to try: for a name with several addresses each of these, as libpq does, if TLS needn't check the name."""
        if self._address.checks_names:
            return self._address.hosts
        found = await asyncio.gather(*map(addresses, self._address.hosts))
        return tuple(dict.fromkeys(one for several in found for one in several))


async def addresses(host: Host) -> tuple[Host, ...]:
    """Return a host once for each of its addresses; as it is if it has one, or can't be looked up."""
    if host.is_address:
        return (host,)
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host.name, host.port or 5432, type=socket.SOCK_STREAM)
    except OSError:
        return (host,)
    several = tuple(dict.fromkeys(Host(str(entry[4][0]), host.port) for entry in found))
    return several if len(several) > 1 else (host,)


async def _server(session: Session, host: Host) -> Server:
    try:
        row = await session.fetchrow(_LOOK)
    except asyncpg.PostgresError:  # hosted servers may refuse to tell
        return Server(host)
    assert row is not None  # noqa: S101 - the statement returns one row
    return Server(host, row["system"] or 0, row["timeline"])


async def _one_and_a_moment(tasks: Sequence["asyncio.Task[Session]"]) -> None:
    """Wait until a task has done well and the others had a moment more, or all have ended."""
    pending = set(tasks)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if any(task.exception() is None for task in done):
            break
    if pending:
        await asyncio.wait(pending, timeout=MOMENT)


def _opened(tasks: Sequence["asyncio.Task[Session]"]) -> list[Session]:
    return [task.result() for task in tasks if task.done() and not task.cancelled() and task.exception() is None]


def _errors(tasks: Sequence["asyncio.Task[Session]"]) -> list[BaseException | None]:
    return [task.exception() if task.done() else None for task in tasks]


async def _end(tasks: Sequence["asyncio.Task[Session]"]) -> None:
    """Cancel the attempts that are still under way, and end what they have opened just now."""
    late = [task for task in tasks if task.cancel()]
    if late:
        await asyncio.wait(late)
    for session in _opened(late):
        session.terminate()


def _refusal(hosts: Sequence[Host], tasks: Sequence["asyncio.Task[Session]"]) -> BaseException:
    """Return why no host will do; a refusal that isn't about the server's state as it is."""
    errors = _errors(tasks)
    for error in errors:
        if isinstance(error, asyncpg.ProtocolViolationError) or not isinstance(
            error, OSError | asyncpg.PostgresError | asyncpg.InternalClientError | asyncpg.InterfaceError
        ):
            return error or NoPrimary("asked no host")
    said = "; ".join(f"{host} {_said(error)}" for host, error in zip(hosts, errors, strict=True))
    return NoPrimary(f"no host of DATABASE_URL takes writes: {said}. {WHAT_TO_DO}")


def _said_of(task: "asyncio.Task[Session]") -> str:
    if not task.done():
        return "does not answer"
    return f"takes writes, timeline {task.result().server.timeline}" if task.exception() is None else _said(task.exception())


def _said(error: BaseException | None) -> str:
    match error:
        case TimeoutError():
            return "does not answer"
        case LeftBehind():
            return str(error)
        case asyncpg.TargetServerAttributeNotMatched():
            return "is a standby or read-only"
        case OSError():
            return f"can't be reached ({error.strerror or error})"
    return f"refuses ({error})"


def _says_of_two(old: Server, new: Server) -> str:
    return (
        f"takes writes on timeline {old.timeline}, which {new.host} has left by timeline {new.timeline}:"
        " stop it, so that nobody writes there"
    )


_PRIMARIES: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Primary]]" = WeakKeyDictionary()


def of(dsn: str, address: Address) -> Primary:
    """Return this process's memory of a URL's primary."""
    ours = _PRIMARIES.setdefault(asyncio.get_running_loop(), {})
    return ours.setdefault(dsn, Primary(dsn, address))
