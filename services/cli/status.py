"""`ballotpress status`: the state of the log, the views and the mails, and what to do about each problem."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich_click as click

from services.cli.database import connected
from services.cli.errors import sentence
from services.cli.options import json_option
from services.cli.terminal import counted, must_be_read, show, utc
from services.embedded.start import find_settings
from services.settings import Settings
from services.sizes import size

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from services.replicas.replica import Standing
    from services.status.model import Account, ProjectionStatus, Rebuild, Status

WATCH_EVERY = 2.0
"""Seconds."""


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Show the status again every 2 seconds, until Ctrl-C.")
def status(as_json: bool, watch: bool) -> int:
    """Show the head of the log, the state of the views, and each problem with what to do about it.

    The exit status is 0 when nothing is wrong, and 1 when something needs an operator: the lines that begin with `!`.
    """
    settings = find_settings(needs_keys=False)
    wrong = _show(settings, as_json, watch)
    while watch:
        time.sleep(WATCH_EVERY)
        must_be_read()
        _show(settings, as_json, watch)
    return int(wrong)


def _show(settings: Settings, as_json: bool, watch: bool) -> bool:
    """Show the status once, and return whether something is wrong."""
    from rich.console import Console

    try:
        seen = asyncio.run(_read(settings))
    except Exception as error:
        if not watch or (message := sentence(error)) is None:
            raise
        click.echo(message, err=True)  # keep watching: the operator wants to see it come back
        return True
    if as_json:
        show(as_json, seen)
        return bool(seen.problems)
    console = Console(markup=False, highlight=False)
    if watch:
        console.clear()
    console.print(_described(seen), soft_wrap=not console.is_terminal)
    return bool(seen.problems)


async def _read(settings: Settings) -> "Status":
    from events.log.vault import Vault
    from services.newsletter.schedule import schedule_of
    from services.replicas.once import read_standings
    from services.status.read import read_status
    from services.valkey import client

    valkey = client(settings.redis_url)
    vault = Vault(settings.vault_keys) if settings.vault_keys else None
    async with connected(settings, seconds=60) as connection, valkey:
        home, dsn, schedule = settings.home, settings.database_url, schedule_of(settings.newsletter)
        replicas = await read_standings(settings, connection)
        return await read_status(connection, schedule, valkey, vault=vault, data=home, dsn=dsn, replicas=replicas)


def _described(status: "Status") -> "Group":
    from rich.console import Group
    from rich.text import Text

    from services.status.parts import said as said_parts

    parts: list[Text | Table] = [Text(line) for line in _lines(status)]
    parts += [Text(f"parts   {line}") for line in said_parts(status.parts)]
    if status.views:
        parts.append(_table(("view", "position", "behind", "seconds", "state"), map(_view_cells, status.views)))
    parts += [Text(_rebuild_line(rebuild)) for rebuild in status.rebuilds]
    if status.ledger is not None:
        parts += [Text(_account_line(account)) for account in status.ledger.issues]
    if status.disk:
        parts.append(_table(("on disk", "table", "indexes"), _disk_cells(status)))
    if status.day is not None:
        from services.status.day import said

        parts += [Text(f"day     {line}") for line in said(status.day)]
    problems = [Text(f"! {problem.what}\n  {problem.advice}") for problem in status.problems]
    return Group(*parts, *(problems or [Text("Nothing is stuck")]))


def _lines(status: "Status") -> Iterator[str]:
    if status.head is not None:
        since = "" if status.head.recorded_at is None else f", {utc(status.head.recorded_at)}"
        events = counted(status.head.events_last_minute, "event")
        yield f"log     position {status.head.position}{since}; {events} in the last minute"
    for server in status.servers:
        yield f"server  {server}"
    if status.unsafe:
        yield f"server  {' and '.join(status.unsafe)} off: a power cut may lose what was acknowledged, or break everything"
    if status.public_log is not None:
        signed = "" if status.public_log.signed_at is None else f" {utc(status.public_log.signed_at)}"
        yield f"proof   {status.public_log.origin} signed up to {status.public_log.signed}{signed}"
    yield f"schema  migration {status.schema.migration} of {status.schema.current}"
    if status.queue is not None and status.queue.reachable:
        tick = "" if status.queue.tick_seconds is None else f"; the clock ticked {status.queue.tick_seconds:.0f} s ago"
        yield f"queue   {counted(status.queue.jobs, 'job')}, {counted(status.queue.workers, 'worker')}{tick}"
    if status.ledger is not None:
        singles = ", ".join(f"{count} {state}" for state, count in status.ledger.singles.items())
        paused = "" if status.ledger.paused_at is None else f"paused since {utc(status.ledger.paused_at)}; "
        yield f"mail    {paused}single mails: {singles or 'none waiting'}"
    if (found := status.mail_check) is not None and found.checked_at is not None:
        wrong = f"{len(found.wrong)} wrong" + (f" ({', '.join(found.wrong)})" if found.wrong else "")
        yield f"arrives {found.right} right, {wrong}, {found.unknown} unknown, as of {utc(found.checked_at)}"
    if status.backups is not None:
        yield f"backup  {status.backups.said}"
    for replica in status.replicas:
        yield f"replica {_replica_line(replica)}"
    yield from _process_lines(status)


def _process_lines(status: "Status") -> Iterator[str]:
    """Return a line for each process of ours, and for each of the database's that waits or is waited for."""
    for process in status.processes:
        where = f"{process.pid} on {process.host}, release {process.release}"
        state = "left" if process.has_left else "runs" if process.lives else "gone"
        yield f"{state}    {process.kind} {where}, seen {process.silent_seconds:.0f} s ago"
    for transaction in status.transactions:
        waits = f", waits for {', '.join(map(str, transaction.waits_for))}" if transaction.waits_for else ""
        blocks = f", blocks {', '.join(map(str, transaction.blocks))}" if transaction.blocks else ""
        name = transaction.application or "unnamed"
        yield f"process {transaction.pid} {name} {transaction.state} {transaction.age_seconds:.0f} s{waits}{blocks}"


def _replica_line(replica: "Standing") -> str:
    behind = "" if replica.lag is None else f", {counted(replica.lag, 'event')} ({replica.lag_seconds or 0:.1f} s) behind"
    readers = "1 process" if replica.readers == 1 else f"{replica.readers} processes"
    state = f"not read from: {replica.why}" if replica.why else f"read by {readers}"
    return f"{replica.name}{behind}; {state}"


def _view_cells(view: "ProjectionStatus") -> tuple[str, ...]:
    state = "up to date" if view.lag == 0 else "following"
    if view.halt is not None:
        state = f"halted at {view.halt.position}"
    elif view.drift is not None:
        state = "drifted"
    elif not view.caught_up:
        state = "being built"
    return view.name, str(view.position), str(view.lag), f"{view.lag_seconds:.1f}", state


def _rebuild_line(rebuild: "Rebuild") -> str:
    said = {
        "running": f"is being rebuilt, at position {rebuild.position} of {rebuild.target}",
        "stopped": f"was being rebuilt, to position {rebuild.position} of {rebuild.target}",
        "kept": f"is kept from before, for `ballotpress replay --rollback {rebuild.view}`",
        "older": f"is of an earlier version, at position {rebuild.position}",
        "newer": f"is of a later version, at position {rebuild.position}",
    }
    return f"beside  {rebuild.schema} {said[rebuild.kind]}"


def _account_line(account: "Account") -> str:
    mails = ", ".join(f"{count} {state}" for state, count in account.mails.items())
    return f"issue   {account.issue} ({account.edition}) {account.state}: {account.planned} planned; {mails or 'no mails'}"


def _disk_cells(status: "Status") -> Iterator[tuple[str, ...]]:
    for table in status.disk[:12]:
        yield table.table, size(table.bytes), size(table.index_bytes)


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> "Table":
    from rich.table import Table

    table = Table(*heads, box=None, pad_edge=False, padding=(0, 3, 0, 0), show_edge=False)
    for row in rows:
        table.add_row(*row)
    return table
