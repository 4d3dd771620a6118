"""PostgreSQL: the one place that connects to it, and the one that says which errors mean that it is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from asyncpg import Connection, Pool

from events.log import arrays, hosts, primary

UNAVAILABLE: Final = (
    OSError,  # refused and reset connections, missing sockets, and TimeoutError
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # a connection that is closed, or a pool that is closing
    asyncpg.InternalClientError,  # raised now and then when the backend goes away between two messages
    asyncpg.OperatorInterventionError,  # shutting down, starting up, statement time-out
    asyncpg.InsufficientResourcesError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # a lock not had in time; a database closed while it is restored
    asyncpg.InvalidCatalogNameError,  # the same, between drop and rename
    asyncpg.InvalidAuthorizationSpecificationError,  # a password that is being changed
    asyncpg.TransactionTimeoutError,
    asyncpg.PostgresSystemError,  # the server can't read or write its files
    asyncpg.InvalidCachedStatementError,  # tables that were just switched or restored
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until it is promoted
    asyncpg.TransactionRollbackError,  # deadlocks and serialization failures
)
"""The server or the way to it is at fault, not the statement: the same statement may succeed later."""

SESSION_ENDED: Final = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""The session is gone, with all that it had not committed: the same may succeed at once in another one."""

FAILED: Final = (*UNAVAILABLE, asyncpg.PostgresError)
"""Everything a statement raises, refusals of the server included: for callers that must go on in any case."""

CONNECT_SECONDS: Final = 5.0
"""So long a host may take to answer; every one of them where a URL names several."""

WATCH_SECONDS: Final = 5.0
"""So often a process asks which of several hosts takes writes."""

logger = logging.getLogger(__name__)


class EventsArchived(asyncpg.PostgresError):
    """A statement needs events that are in the archive alone (`log.must_be_here`); asyncpg knows it by its code."""

    sqlstate = "BP002"

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.hint}"


class PoolerBetween(Exception):
    """A pooler stands before the server and drops what a session asks for, so that no promise of ours would hold."""

    def __str__(self) -> str:
        return (
            "DATABASE_URL leads to a pooler such as pgbouncer, which keeps no session's settings and listeners: "
            "name the server itself (every process keeps a few connections of its own)"
        )


# What our promises rest on is never left to the settings of a server, database or role. A peer that vanished without a word is
# noticed within ten seconds. Compiling a statement (`jit`, on by default in Debian's packages) takes a second where running it
# takes a millisecond. Time-outs are each connection's own: a role's would stop the long statements that plan an issue.
_SETTINGS: Final = {
    "timezone": "UTC",
    "default_transaction_isolation": "read committed",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "jit": "off",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "1",
}

# Commits that don't wait for the disk, unless we asked for them; stronger settings than `on` are kept. The other is unknown to
# servers before 17, so it can't be asked for at once. Who asked is looked up only where it isn't known and matters: the server
# makes its whole list of settings for that.
# What stands is said once more, for a value that nobody asked for changes when the server reads its configuration anew.
# A pooler refuses settings that it doesn't know, or is told to drop them: then ours isn't there, and naming it fails.
_MAKE_SURE: Final = """
select current_setting('ballotpress.session'),
       set_config('synchronous_commit',
                  case when current_setting('synchronous_commit') <> 'off' then current_setting('synchronous_commit')
                       when current_setting('ballotpress.session') = 'asynchronous'
                         or (select s.source from pg_settings s where s.name = 'synchronous_commit') = 'client' then 'off'
                       else 'on' end, false),
       case when current_setting('transaction_timeout', true) is null then null
            when current_setting('transaction_timeout', true) = '0'
             or (select s.source from pg_settings s where s.name = 'transaction_timeout') <> 'client'
            then set_config('transaction_timeout', '0', false) end
"""
_KEPT: Final = "ballotpress.session"

# A statement that is kept is planned once for any arguments. If a part of the log is made while the server does that, and the
# statement reads the log by a function that the server expands, the plan passes over the part for as long as it is kept.
# So whoever keeps what it reads has each statement planned for itself; other plans are right once `parts.announce` has run.
ANEW: Final = "force_custom_plan"
"""The `plan_cache_mode` of a session that plans each statement for itself."""
PLAN_ANEW: Final = f"select set_config('plan_cache_mode', '{ANEW}', true)"
"""The same for one transaction."""

UNSAFE: Final = "select name from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off' order by 1"
"""Settings of the server that no session can mend: a power cut may lose what was acknowledged, or break everything."""


async def connect(dsn: str, role: str, *, seconds: float | None = None, **settings: str) -> "Connection[Any]":
    """Open a connection; the server lists it as `ballotpress-ROLE`. Its commits are durable, unless `settings` say otherwise.

    After `seconds` (None: never) a statement raises TimeoutError here. `settings` are the server's, for this session.
    """
    try:
        connection = await _open(
            dsn, timeout=CONNECT_SECONDS, command_timeout=seconds, server_settings=session_settings(role, **settings)
        )
    except asyncpg.ProtocolViolationError as error:
        if "startup parameter" in str(error):
            raise PoolerBetween from None
        raise
    await _make_sure(connection)
    return connection


async def connect_appender(dsn: str) -> "Connection[Any]":
    """Open a connection to append through. A stalled process must not stop the others: the server ends what does not move.

    Each statement is planned once, and goes by an index, also of a part of the log that was empty then.
    """
    return await connect(
        dsn, "log", seconds=10, idle_in_transaction_session_timeout="1500", lock_timeout="2000", statement_timeout="5000",
        plan_cache_mode="force_generic_plan", enable_seqscan="off",
    )  # fmt: skip


async def connect_large(dsn: str) -> "Connection[Any]":
    """Open a connection to append very many events through at once, which takes longer. A stalled process is still ended."""
    return await connect(dsn, "log", idle_in_transaction_session_timeout="5000", lock_timeout="30000")


def pool(
    dsn: str,
    role: str,
    *,
    size: int,
    seconds: float,
    connect_seconds: float = CONNECT_SECONDS,
    reset: "Callable[[Connection[Any]], Awaitable[None]] | None" = None,
    **settings: str,
) -> "Pool[Any]":
    """Make a pool of up to `size` connections like those of `connect`; it opens none before it is used.

    `reset` replaces asyncpg's own, which costs a round trip each time a connection is given back.
    """
    return asyncpg.create_pool(
        dsn, connect=_open, min_size=0, max_size=size, timeout=connect_seconds, command_timeout=seconds, reset=reset or _reset,
        init=_make_sure, server_settings=session_settings(role, **settings),
    )  # fmt: skip


def servers_of(dsn: str) -> primary.Servers:
    """Return what each of several hosts was when this process asked last; nothing of a URL that names one."""
    address = hosts.read(dsn)
    return primary.of(dsn, address).servers if address.must_search else primary.Servers()


async def watch(dsn: str) -> None:
    """Leave a server that was taken over from or takes no writes any more, until cancelled. Does nothing for a URL of one host.

    Sessions there are ended, and whoever had one opens another where the log goes on.
    """
    address = hosts.read(dsn)
    while address.must_search:
        try:
            await primary.of(dsn, address).look(CONNECT_SECONDS, server_settings=session_settings("watch"))
        except FAILED as error:
            logger.info("nobody takes writes: %s", error)
        await asyncio.sleep(WATCH_SECONDS)


async def _open(
    dsn: str | None = None,
    *,
    timeout: float = CONNECT_SECONDS,  # noqa: ASYNC109 - as asyncpg's pools name it
    **options: Any,
) -> "Connection[Any]":
    """Open a session: where a URL names several hosts, at the one that takes writes."""
    if dsn is not None and (address := hosts.read(dsn)).must_search:
        opening: Awaitable[Connection[Any]] = primary.of(dsn, address).open(timeout=timeout, **options)
    else:
        opening = asyncpg.connect(dsn, timeout=timeout, **options)
    session = await opening
    try:
        arrays.know(session)
    except BaseException:
        session.terminate()
        raise
    return session


async def _make_sure(connection: "Connection[Any]") -> None:
    """Let a session's commits wait for the disk, whatever the server, database or role says; and no transaction be too long."""
    try:
        await connection.execute(_MAKE_SURE, timeout=CONNECT_SECONDS)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, asyncpg.UndefinedObjectError):
            raise PoolerBetween from None
        raise


async def _reset(connection: "Connection[Any]") -> None:
    """Take back what a borrower has set; not what we made sure of, which `reset all` gives back to the server or the role."""
    await connection.execute(f"{connection.get_reset_query()}\n{_MAKE_SURE}")


def session_settings(role: str, **settings: str) -> dict[str, str]:
    """Return what each session asks the server for: what our promises rest on, and settings of its own."""
    kept = "asynchronous" if settings.get("synchronous_commit") == "off" else "kept"
    return {**_SETTINGS, _KEPT: kept, "application_name": f"ballotpress-{role}", **settings}
