"""Find the server that takes writes among the hosts of a URL, and leave one that was left behind.

Every host is asked at once, with a time-out of its own, so that one that hangs holds nobody up. Of several that take writes
that of the latest timeline holds: each promotion begins a new one. Who has seen a timeline goes to no earlier one any more, and
who knows a log goes to no server that holds another.
"""

import asyncio
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet

import asyncpg
from asyncpg import Connection
from asyncpg.connect_utils import SessionAttribute

from events.log.hosts import Address, Host
from events.log.identity import NotOne, Server, pick

logger = logging.getLogger(__name__)

STAYS_SECONDS: Final = 5.0
"""So long after all hosts were asked, the one that was found is asked alone."""

LOOKUP_SECONDS: Final = 1.0
"""So long the addresses of a name are waited for, so that a name that can't be looked up keeps nobody from the other hosts."""

MOMENT: Final = 0.5
"""Seconds that the other hosts have to say that they take writes too, once one has said so."""

# What a server says to a wrong user, password or database.
_NAMED_WRONGLY: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
CORRECT_IT: Final = "Correct DATABASE_URL"
WHAT_TO_DO: Final = "Start the primary; if it is gone for good, promote a standby (docs/operating.md, A failover)"
NAME_IT: Final = (
    "Name the primary in DATABASE_URL too; if it is gone for good, promote a standby (docs/operating.md, A failover)"
)
"""What to do where all that is named are standbys."""

# A promotion begins a new timeline, which the names of WAL files tell at once; a copy of the server has the same identifier.
_LOOK: Final = """
select (select c.system_identifier from pg_control_system() c) as system,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer as timeline
"""
# What a hosted server says that doesn't tell; and a database that has no log yet, or one of an earlier release.
_WITHHELD: Final = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError)
_NO_LOG: Final = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError)
_LOG: Final = "select i.id, h.position > 0 from log.identity i cross join log.head h"


class NoPrimary(ConnectionError):
    """No host of the URL takes writes; the text says of each why not."""


class LeftBehind(ConnectionError):
    """A server takes writes on a timeline that another has left: it was taken over from."""

    def __init__(self, server: Server, latest: Server) -> None:
        super().__init__(_says_of_two(server, latest))
        self.server = server


class Stranger(ConnectionError):
    """A server takes writes that neither is a copy of ours nor holds our log."""

    def __init__(self, server: Server, ours: Server) -> None:
        super().__init__(_says_of_strange(ours))
        self.server = server


class Servers(NamedTuple):
    """What each host was when all were asked last; and a sentence about each that something is to be done about.

    `left` take writes though another has taken over from them, `strange` take writes and hold another log, `missing` are of no
    use: they don't answer, or refuse.
    """

    seen: Sequence[str] = ()
    left: Sequence[str] = ()
    strange: Sequence[str] = ()
    missing: Sequence[str] = ()


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
        self._known: Server | None = None
        self._latest: dict[int, Server] = {}
        self._searched_at = float("-inf")
        self._sessions: WeakSet[Session] = WeakSet()
        self.servers = Servers()

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
        named = await self._hosts()
        hosts = tuple(dict.fromkeys(one for several in named for one in several))
        tasks = [asyncio.create_task(self._attempt(host, seconds, options)) for host in hosts]
        try:
            await _one_and_a_moment(tasks)
            if not (sessions := _opened(tasks)):
                raise _refusal(hosts, tasks)
            chosen = self._choose(sessions)
            self._tell(named, dict(zip(hosts, tasks, strict=True)), [session.server for session in sessions])
            return chosen
        except BaseException:
            for session in _opened(tasks):
                session.terminate()
            raise
        finally:
            await _end(tasks)

    def _choose(self, sessions: Sequence[Session]) -> Session:
        """Take the session at the server that holds our log; end the others, and all at those left behind. Raises NoPrimary."""
        try:
            picked = pick([session.server for session in sessions], self._known)
        except NotOne as error:
            raise NoPrimary(_says_of_several(error.servers)) from None
        chosen = next(session for session in sessions if session.server is picked)
        for session in sessions:
            if session is not chosen:
                session.terminate()
        if self._chosen != chosen.server:
            logger.info("%s takes writes, on timeline %d", chosen.server.host, chosen.server.timeline)
        self._chosen, self._searched_at = chosen.server, monotonic()
        if chosen.server.log is not None:
            self._known = chosen.server
        if chosen.server.timeline:
            self._latest[chosen.server.system] = chosen.server
        self._leave()
        return chosen

    def _tell(
        self, named: Iterable[Sequence[Host]], tasks: "Mapping[Host, asyncio.Task[Session]]", servers: Sequence[Server]
    ) -> None:
        """Keep what is to be said of the servers; log what is new of those that shouldn't be among them."""
        assert self._chosen is not None  # noqa: S101 - one has just been chosen
        chosen, before = self._chosen, {*self.servers.left, *self.servers.strange}
        errors, seen = _errors(tasks.values()), {host: f"{host} {_said_of(task)}" for host, task in tasks.items()}
        missing = [seen[several[0]] for several in named if all(_is_missing(tasks[one]) for one in several)]
        left = [f"{error.server.host} {error}" for error in errors if isinstance(error, LeftBehind)]
        left += [f"{one.host} {_says_of_two(one, chosen)}" for one in servers if chosen.has_left(one)]
        strange = [f"{error.server.host} {error}" for error in errors if isinstance(error, Stranger)]
        strange += [
            f"{one.host} {_says_of_strange(chosen)}"
            for one in servers
            if None not in (one.family, chosen.family) and one.family != chosen.family
        ]
        self.servers = Servers([*seen.values()], left, strange, missing)
        for said in (*left, *strange):
            if said not in before:
                logger.warning("%s", said)

    def _leave(self) -> None:
        """End the sessions at servers that the chosen one has taken over from, and at those that take no writes any more."""
        for session in list(self._sessions):
            if not session.is_closed() and (session.is_demoted or self._is_past(session.server)):
                logger.warning("a session at %s is ended: the log isn't written there", session.server.host)
                session.terminate()

    def _is_past(self, server: Server) -> bool:
        """Tell whether the chosen server has taken over from another, or that one holds another log."""
        return self._chosen is not None and (self._chosen.has_left(server) or server.is_strange_to(self._chosen))

    async def _attempt(self, host: Host, seconds: float, options: dict[str, Any]) -> Session:
        async with asyncio.timeout(seconds):
            session: Session = await asyncpg.connect(
                self._dsn, host=host.name, port=host.port, timeout=seconds, target_session_attrs=self._wanted, **options
            )
            try:
                session.server = await _server(session, host)
                self._must_be_ours(session.server)
            except BaseException:
                session.terminate()
                raise
        return session

    def _must_be_ours(self, server: Server) -> None:
        """Check that a server wasn't left behind, and doesn't hold another log. Raises LeftBehind, Stranger."""
        latest = self._latest.get(server.system)
        if latest is not None and latest.has_left(server):
            raise LeftBehind(server, latest)
        if self._known is not None and server.is_strange_to(self._known):
            raise Stranger(server, self._known)

    async def _hosts(self) -> Sequence[tuple[Host, ...]]:
        """Return what to try of each name: all addresses that it stands for, as libpq does, if TLS needn't check the name."""
        if self._address.checks_names:
            return [(host,) for host in self._address.hosts]
        return await asyncio.gather(*map(addresses, self._address.hosts))


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
    except _WITHHELD:
        return Server(host, 0, 0, *await _log(session))
    assert row is not None  # noqa: S101 - the statement returns one row
    return Server(host, row["system"] or 0, row["timeline"], *await _log(session))


async def _log(session: Session) -> tuple[UUID | None, bool]:
    """Return the identity of a server's log, and whether it has events; None where there is none, or of an earlier release."""
    try:
        row = await session.fetchrow(_LOG)
    except _NO_LOG:
        return None, False
    return (None, False) if row is None else (row[0], row[1])


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


def _errors(tasks: Iterable["asyncio.Task[Session]"]) -> list[BaseException | None]:
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
    return NoPrimary(f"no host of DATABASE_URL takes writes: {said}. {_what_to_do(errors)}")


def _what_to_do(errors: Sequence[BaseException | None]) -> str:
    if any(isinstance(error, _NAMED_WRONGLY) for error in errors):
        return CORRECT_IT
    return NAME_IT if all(isinstance(error, asyncpg.TargetServerAttributeNotMatched) for error in errors) else WHAT_TO_DO


def _is_missing(task: "asyncio.Task[Session]") -> bool:
    """Tell whether a host is neither primary nor standby, and nothing else is said of it."""
    if not task.done():
        return True
    is_told_of = isinstance(task.exception(), asyncpg.TargetServerAttributeNotMatched | LeftBehind | Stranger)
    return task.exception() is not None and not is_told_of


def _said_of(task: "asyncio.Task[Session]") -> str:
    if not task.done():
        return "does not answer"
    return f"takes writes, timeline {task.result().server.timeline}" if task.exception() is None else _said(task.exception())


def _said(error: BaseException | None) -> str:
    match error:
        case TimeoutError():
            return "does not answer"
        case LeftBehind() | Stranger():
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


def _says_of_strange(ours: Server) -> str:
    return f"takes writes, but is no copy of {ours.host}: nothing is written there. Take it out of DATABASE_URL"


def _says_of_several(servers: Sequence[Server]) -> str:
    names = ", ".join(str(one.host) for one in servers)
    return (
        f"several hosts of DATABASE_URL take writes and are no copies of each other: {names}."
        " Name only the one with your log, and its standbys"
    )


_PRIMARIES: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Primary]]" = WeakKeyDictionary()


def of(dsn: str, address: Address) -> Primary:
    """Return this process's memory of a URL's primary."""
    ours = _PRIMARIES.setdefault(asyncio.get_running_loop(), {})
    return ours.setdefault(dsn, Primary(dsn, address))
