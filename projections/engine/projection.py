"""What a projection is: its tables and the SQL steps for one window of the log, from a file beside this one.

Tables and checkpoint live in one schema, named after projection and version, and change in one transaction. Statements name no
schema: the connection's search_path says where they work, so that a rebuild runs the same text beside the live tables.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

import msgspec
from asyncpg import Connection

from events.log import postgres

# Every view's checkpoint. `generation` is new with every rebuild, so that caches and cursors can tell. `made_by` is a digest of
# the statements: a rebuild that was cut short is resumed by the same ones only. `caught_up` is set once the view has reached
# the head for the first time. `totals` are what the tables must sum up to at `totals_position`, told by the events alone; null
# until they are first taken from the tables. `drift` says what a runner found wrong when it last compared.
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
    constraint checkpoint_pkey primary key (only_row),
    constraint checkpoint_only_row check (only_row)
);
"""

_BLOCK = re.compile(r"^-- (tables|totals|(?:changes|step \w+) \(([\w, ]+)\)):[^\n]*\n", re.MULTILINE)
_CREATE_LOCK = 0x70726F6A


class Step(msgspec.Struct, frozen=True):
    """A statement of a window `($1, $2]`, leaving out the positions `$3`; it concerns these event types alone."""

    types: frozenset[str]
    sql: str


class Projection:
    """A named, versioned read model."""

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.version = version

    @property
    def schema(self) -> str:
        """Name the schema of the live tables."""
        return f"{self.name}_{self.version}"

    @cached_property
    def _blocks(self) -> list[tuple[str, str, str]]:
        text = (files("projections") / f"{self.name}.sql").read_text("utf-8")
        marks = list(_BLOCK.finditer(text))
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        return [(mark[1], mark[2] or "", text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]

    @cached_property
    def tables(self) -> str:
        """Give the statements that make the tables."""
        return "\n".join(sql for kind, _, sql in self._blocks if kind == "tables")

    @cached_property
    def totals(self) -> str:
        """Give the statement that sums the tables up: (name, total)."""
        return next(sql for kind, _, sql in self._blocks if kind == "totals").rstrip(";")

    @cached_property
    def changes(self) -> Step:
        """Give the statement that tells from a window's events by how much it changes each total: (name, change)."""
        return next(self._steps("changes"))

    @cached_property
    def steps(self) -> Sequence[Step]:
        """Give the statements of a window in their order."""
        return list(self._steps("step"))

    def _steps(self, word: str) -> Iterator[Step]:
        for kind, types, sql in self._blocks:
            if kind.startswith(word):
                yield Step(frozenset(re.split(r",\s*", types)), sql.rstrip(";"))

    @cached_property
    def digest(self) -> str:
        """Identify the statements: tables and steps."""
        return sha256(repr(self._blocks).encode()).hexdigest()[:16]

    async def create(self, connection: "Connection[Any]", schema: str) -> None:
        """Make the tables, empty, in a schema of this name. Leaves the connection's search_path pointing there."""
        # An identifier cannot be a parameter; this one is made of a projection's name and version, never of input.
        await connection.execute(f'create schema "{schema}"')
        await work_in(connection, schema)
        await self.make_tables(connection)

    async def make_tables(self, connection: "Connection[Any]") -> None:
        """Make the tables, empty, where the connection's search_path says."""
        await connection.execute(CHECKPOINT + self.tables)
        await connection.execute("insert into checkpoint (made_by) values ($1)", self.digest)


async def work_in(connection: "Connection[Any]", schema: str) -> None:
    """Let unqualified names mean this schema's tables, for as long as the connection lives."""
    await connection.execute("select set_config('search_path', $1, false)", schema)


async def create_missing(connection: "Connection[Any]", projections: Iterable[Projection]) -> list[str]:
    """Make the views that are not there yet; give their schemas. Safe from two hosts at once."""
    made = []
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", _CREATE_LOCK)
        for projection in projections:
            if await connection.fetchval("select to_regnamespace($1)", projection.schema) is None:
                await projection.create(connection, projection.schema)
                made.append(projection.schema)
    await connection.execute("reset search_path")
    return made


async def connect(dsn: str, schema: str, name: str | None = None, patience: int = 60) -> "Connection[Any]":
    """Open a connection that works in a view's schema, with the projector's time-outs; a statement may take `patience` seconds.

    The server knows it by `name`, or else as one that looks after the schema's view. Its commits don't wait for the disk: a
    window that a crash of the server takes back is folded again, for tables and checkpoint go back together.
    """
    return await postgres.connect(
        dsn,
        name or schema,
        seconds=patience + 10,
        search_path=schema,
        idle_in_transaction_session_timeout="2000",
        lock_timeout="2000",
        statement_timeout=f"{patience}s",
        synchronous_commit="off",
        max_parallel_workers_per_gather="0",  # one core: the site needs the others
    )
