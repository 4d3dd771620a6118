"""A projection: its tables, the SQL steps for one window of the log, and the schemas that hold them.

Tables and checkpoint live in one schema, named after projection and version, and change in one transaction. Statements name no
schema: the connection's search_path says where they work, so that a rebuild runs the same text beside the live tables.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence, Set
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

import msgspec
from asyncpg import Connection

from events import quarantine
from events.log import postgres
from events.log.store import ALLOW_SECONDS

# Every projection's checkpoint.
# `generation` is new with every rebuild, so that caches and cursors can tell.
# `made_by` is a digest of the statements: only the same statements resume a rebuild that was cut short.
# `caught_up` is set once the projection has reached the head for the first time.
# `totals` are what the tables must sum up to at `totals_position`, by the events alone; null until first taken from the tables.
# `drift` is what a runner found wrong when it last compared.
# `seen_*` are the mark of an event that was folded: a view whose log went back must not go on (`events.log.history`).
CHECKPOINT = """
create table checkpoint (
    only_row        boolean     not null default true,
    position        bigint      not null default 0,
    generation      text        not null default encode(uuid_send(gen_random_uuid()), 'hex'),
    made_by         text        not null,
    caught_up       boolean     not null default false,
    halted_position bigint,
    halted_error    text,
    halted_since    timestamptz,
    totals          jsonb,
    totals_position bigint,
    drift           text,
    drift_since     timestamptz,
    seen_position   bigint      not null default 0,
    seen_at         timestamptz,
    seen_stream     uuid,
    constraint checkpoint_pkey primary key (only_row),
    constraint checkpoint_only_row check (only_row)
);
"""

_TYPED = r"(?:changes|step \w+|part \w+) \((\*|[\w, ]+)\)"
_BLOCK = re.compile(rf"^-- (tables|indexes|totals|scrub|parts|merged \w+|{_TYPED}):[^\n]*\n", re.MULTILINE)
_CREATE_LOCK = 0x70726F6A

# A comparison of whole tables takes as long as the log is long.
PATIENCE_SECONDS = 24 * 3600

HELD_SECONDS = 2.0
"""For how long a stalled projector may hold up others."""
HELD_BY_OPERATOR = 10.0
"""For how long a stalled rebuild or comparison may hold up the live view."""
IDLE_SECONDS = 600.0
AWAKE_SECONDS = 0.5

LOCK_CLASS = 0x6270  # of the advisory locks on rebuilds; the second key is a hash of the schema's name

ROOM: Final = {"work_mem": "64MB", "temp_buffers": "64MB"}
"""To sort and hash in, for a rebuild's or a comparison's session."""

EXISTS = "select to_regnamespace($1) is not null"
TAKE = "select pg_try_advisory_lock($1, hashtext($2))"
IS_TAKEN = """
select exists (
    select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.granted and l.classid::bigint = $1::integer
      and l.objid::bigint = hashtext($2)::bigint & 4294967295)
"""


class RebuildRunning(Exception):
    """Another rebuild of this projection is running."""


ALL = frozenset({"*"})


class Step(msgspec.Struct, frozen=True):
    """A named statement for a window `($1, $2]` without the positions `$3`; it concerns these event types, or all (`*`)."""

    name: str
    types: frozenset[str]
    sql: str

    def concerns(self, present: Set[str]) -> bool:
        """Return whether any of these types is the statement's."""
        return self.types == ALL or not self.types.isdisjoint(present)


class Projection:
    """A named, versioned read model.

    `exact_totals` names the totals that hold even after positions were passed over: those whose events carry the whole change.
    """

    def __init__(self, name: str, version: int, *, exact_totals: Collection[str] = ()) -> None:
        self.name = name
        self.version = version
        self.exact_totals = exact_totals
        self.schema = f"{name}_{version}"
        self.next_schema = f"{self.schema}_next"  # where a rebuild is made
        self.previous_schema = f"{self.schema}_prev"  # the tables kept by the last switch
        self.gone_schema = f"{self.schema}_gone"  # tables about to be dropped

    @property
    def whole(self) -> bool:
        """Whether nothing can be passed over; then its statements know no `$3`."""
        return self.name in quarantine.WHOLE

    @cached_property
    def _blocks(self) -> list[tuple[str, str, str]]:
        texts = [files("projections") / f"{self.name}{rest}.sql" for rest in ("", "_ranges")]
        return [block for text in texts if text.is_file() for block in _blocks_of(text.read_text("utf-8"))]

    @cached_property
    def tables(self) -> str:
        """Return the statements that make the tables."""
        return "\n".join(sql for kind, _, sql in self._blocks if kind == "tables")

    @cached_property
    def indexes(self) -> str:
        """Return the statements that make the indexes which no step needs; they leave those alone that are there."""
        return "\n".join(sql for kind, _, sql in self._blocks if kind == "indexes")

    @cached_property
    def totals(self) -> str:
        """Return the statement that sums the tables up: (name, total)."""
        return next(sql for kind, _, sql in self._blocks if kind == "totals").rstrip(";")

    @cached_property
    def scrub(self) -> str | None:
        """Return the statement that compares a part of the tables with the log: (part, wrong). None if there is none.

        $1 is the part's number, or any larger number, which means some part.
        """
        return next((sql.rstrip(";") for kind, _, sql in self._blocks if kind == "scrub"), None)

    @cached_property
    def changes(self) -> Step:
        """Return the statement that sums up how a window's events change each total: (name, change)."""
        return next(self._steps("changes"))

    @cached_property
    def steps(self) -> Sequence[Step]:
        """Return the statements of a window in their order."""
        return list(self._steps("step "))

    @cached_property
    def part_tables(self) -> str:
        """Return the statements that make the tables of parts; empty for a view that is folded window by window alone."""
        return next((sql for kind, _, sql in self._blocks if kind == "parts"), "")

    @cached_property
    def parts(self) -> Sequence[Step]:
        """Return the statements that put what a range of the log holds into tables of parts, whatever other ranges hold.

        One may also name `$4`, the end of the last range.
        """
        return list(self._steps("part "))

    @cached_property
    def merging(self) -> Sequence[str]:
        """Return the statements that make the tables when all ranges are in the parts, in the order of the file.

        A `merged` one stands for the step of its name; the other steps take the ranges together as one window.
        """
        merged = {kind.partition(" ")[2] for kind, _, _ in self._blocks if kind.startswith("merged ")}
        words = {kind: kind.split(" ", 2)[:2] for kind, _, _ in self._blocks}
        return [
            sql.rstrip(";")
            for kind, _, sql in self._blocks
            if words[kind][0] == "merged" or (words[kind][0] == "step" and words[kind][1] not in merged)
        ]

    def _steps(self, word: str) -> Iterator[Step]:
        for kind, types, sql in self._blocks:
            if kind.startswith(word):
                name = kind.partition(" (")[0].removeprefix(word).strip()
                yield Step(name, frozenset(re.split(r",\s*", types)), sql.rstrip(";"))

    @cached_property
    def digest(self) -> str:
        """Return a digest of all statements, tables and steps."""
        return sha256(repr(self._blocks).encode()).hexdigest()[:16]

    def window(self, start: int, end: int, dropped: Sequence[int]) -> tuple[int | Sequence[int], ...]:
        """Return the arguments of a step: the window, and the positions to pass over unless nothing can be."""
        return (start, end) if self.whole else (start, end, dropped)

    async def create(self, connection: "Connection[Any]", schema: str, *, indexed: bool = True) -> None:
        """Make the tables, empty, in a new schema. Leaves the connection's search_path pointing there."""
        await connection.execute(await _formatted(connection, "create schema %I", schema))
        await work_in(connection, schema)
        await self.make_tables(connection)
        if indexed:
            await self.make_indexes(connection)

    async def make_indexes(self, connection: "Connection[Any]") -> None:
        """Make the indexes which no step needs, unless they are there, in the schema of the connection's search_path."""
        if self.indexes:
            await connection.execute(self.indexes)

    async def make_tables(self, connection: "Connection[Any]") -> None:
        """Make the tables, empty, in the schema of the connection's search_path."""
        await connection.execute(CHECKPOINT + self.tables)
        await connection.execute("insert into checkpoint (made_by) values ($1)", self.digest)


def _blocks_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Return the statements of a file: the kind of each, its types, and its SQL."""
    marks = list(_BLOCK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        yield mark[1], mark[2] or "", text[mark.end() : end].strip()


async def create_missing(connection: "Connection[Any]", projections: Iterable[Projection]) -> list[str]:
    """Make the projections that are missing and return their schemas. Safe from two hosts at once."""
    made = []
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _CREATE_LOCK)
        for projection in projections:
            if not await connection.fetchval(EXISTS, projection.schema):
                await projection.create(connection, projection.schema)
                made.append(projection.schema)
    await connection.execute("reset search_path")
    return made


async def connect(
    dsn: str, schema: str, role: str | None = None, patience: int = 60, idle: float = HELD_SECONDS, **settings: str
) -> "Connection[Any]":
    """Open a connection that works in a schema, with the projector's time-outs; a statement may take `patience` seconds, and
    a transaction rest for `idle` between two.

    Its commits are asynchronous: after a crash of the server tables and checkpoint roll back together, and the window is folded
    again. Without a `role` the connection counts as a runner of the schema's projection. `settings` are the server's.
    """
    return await postgres.connect(
        dsn,
        role or schema,
        seconds=patience + 10,
        search_path=schema,
        idle_in_transaction_session_timeout=_milliseconds(idle),
        lock_timeout="2000",
        statement_timeout=f"{patience}s",
        synchronous_commit="off",
        max_parallel_workers_per_gather="0",  # one core: the site needs the others
        # A runner's windows are alike, and the server would plan most statements anew for each: by its guess a window is large.
        # The runner sees to it that no plan passes over a new part; others plan each statement for itself.
        plan_cache_mode="force_custom_plan" if role else "force_generic_plan",
        **settings,
    )


async def connect_patiently(dsn: str, schema: str) -> "Connection[Any]":
    """Open a connection for rebuilding or comparing in a schema. Its transactions hold up nobody, unless they `lock_live`."""
    return await connect(dsn, schema, "replay", PATIENCE_SECONDS, IDLE_SECONDS, **ROOM)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


async def work_in(connection: "Connection[Any]", schema: str) -> None:
    """Let unqualified names mean this schema's tables, for as long as the connection lives."""
    await connection.execute("select set_config('search_path', $1, false)", schema)


@asynccontextmanager
async def only_one(dsn: str, projection: Projection) -> "AsyncIterator[None]":
    """Hold the one place of a rebuild of this projection. Raises RebuildRunning when it is taken."""
    connection = await postgres.connect(dsn, "replay")
    try:
        if not await connection.fetchval(TAKE, LOCK_CLASS, projection.schema):
            raise RebuildRunning(projection.name)
        yield
    finally:
        await connection.close()


@asynccontextmanager
async def holding_live(dsn: str, projection: Projection) -> AsyncIterator[None]:
    """Hold the live checkpoint for a moment, on a connection of its own; readers don't wait."""
    connection = await connect_patiently(dsn, projection.schema)
    try:
        async with connection.transaction():
            await lock_live(connection, projection)
            async with _awake(connection):
                yield
    finally:
        await connection.close()


@asynccontextmanager
async def _awake(connection: "Connection[Any]") -> AsyncIterator[None]:
    """Keep a transaction busy for as long as the block takes, so that the server ends it only if its process stalls."""
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            await connection.execute("select")
            with suppress(TimeoutError):
                async with asyncio.timeout(AWAKE_SECONDS):
                    await done.wait()

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        done.set()
        await task


async def lock_live(connection: "Connection[Any]", projection: Projection) -> None:
    """Lock the live checkpoint until the transaction ends, which may not rest for long; readers don't wait."""
    await connection.execute(ALLOW_SECONDS, _milliseconds(HELD_BY_OPERATOR))
    await connection.execute(await _formatted(connection, "select from %I.checkpoint for update", projection.schema))


async def commit_durably(connection: "Connection[Any]") -> None:
    """Let this transaction commit synchronously, because it is reported to an operator."""
    await connection.execute("set local synchronous_commit to on")


async def live_position(connection: "Connection[Any]", projection: Projection) -> int:
    """Return the position of the live checkpoint."""
    statement = await _formatted(connection, "select position from %I.checkpoint", projection.schema)
    position: int = await connection.fetchval(statement)
    return position


async def inherit_caught_up(connection: "Connection[Any]", projection: Projection) -> None:
    """Mark the tables of the connection's search_path as caught up, if the live ones are."""
    statement = "update checkpoint set caught_up = caught_up or (select c.caught_up from %I.checkpoint c)"
    await connection.execute(await _formatted(connection, statement, projection.schema))


async def rename(connection: "Connection[Any]", schema: str, name: str) -> None:
    """Rename a schema."""
    await connection.execute(await _formatted(connection, "alter schema %I rename to %I", schema, name))


async def drop(connection: "Connection[Any]", schema: str) -> None:
    """Drop a schema with everything in it, if it exists."""
    await connection.execute(await _formatted(connection, "drop schema if exists %I cascade", schema))


async def _formatted(connection: "Connection[Any]", statement: str, *names: str) -> str:
    """Return the statement with these identifiers in it, quoted by the server."""
    formatted: str = await connection.fetchval("select format($1, variadic $2::text[])", statement, names)
    return formatted
