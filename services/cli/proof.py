"""`ballotpress proof`: the public log: how it stands, its key, its entries in a file, and the ways out when it isn't signed."""

import asyncio
import base64
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from services.cli.database import asynchronous, connected, operator_of, submit
from services.cli.files import written
from services.cli.options import Reason, Whole, confirm, json_option, yes_option
from services.cli.terminal import counted, progress, show, utc
from services.embedded.start import find_settings
from services.setting_table import LOG_KEY
from services.settings import Settings, process_environ

if TYPE_CHECKING:
    from asyncpg import Connection

    from services.proof.health import PublicLog
    from services.proof.signer import Keys

VIEW_WITHIN: Final = 30.0
"""Seconds."""


@click.group()
def proof() -> None:
    """Look after the public log, by which everybody can check that nothing in it was rewritten."""


@proof.command()
@json_option
@asynchronous
async def status(as_json: bool) -> int:
    """Show how far the log is signed and published, and what keeps it from being signed; exit 1 if something does."""
    settings = find_settings(needs_keys=False)
    from services.proof import health

    async with connected(settings, seconds=60) as connection:
        log = await health.read(connection)
    wrong = health.said(log)
    show(as_json, {"public_log": log, "problem": wrong and {"what": wrong[0], "advice": wrong[1]}}, *_described(log))
    if wrong is not None and not as_json:
        click.echo(f"! {wrong[0][:1].upper()}{wrong[0][1:]}\n  {wrong[1]}")
    return int(wrong is not None)


def _described(log: "PublicLog | None") -> list[str]:
    if log is None:
        return ["The log was never signed: a projector with BALLOTPRESS_LOG_KEY does so"]
    when = "" if log.signed_at is None else f", {utc(log.signed_at)}"
    return [
        f"log        {log.origin or 'of no name yet'}, at position {log.head}",
        f"signed     up to {log.signed}{when}",
        f"published  up to {log.published}",
    ]


@proof.command()
@click.option("--new", is_flag=True, help="Make a key, announce it in the log, and keep it beside the old one.")
@json_option
@asynchronous
async def key(new: bool, as_json: bool) -> None:
    """Print the public key that the log is signed under, newest first.

    With --new, checkpoints carry both signatures once the projector is started again and an event has come. Take the
    old key out of BALLOTPRESS_LOG_KEY when readers had two issues' time to learn the new one.
    """
    settings = find_settings(needs_keys=False, signs_log=new)
    from services.proof import store

    async with connected(settings, seconds=60) as connection:
        state = await store.read(connection)
        if state.log is None:
            raise click.ClickException("The log was never signed: it has no key yet")
        if new:
            await _add_key(settings, state.log.origin, as_json)
        elif not as_json:
            click.echo("\n".join(state.log.vkeys))
        else:
            show(True, {"vkeys": state.log.vkeys})


async def _add_key(settings: Settings, origin: str, as_json: bool) -> None:
    from events.commands.proof import AddLogKey
    from services.embedded.home import keep_key
    from services.proof.signer import Keys

    if not settings.public_log.log_keys:
        raise click.ClickException(f"Set {LOG_KEY} to the present key: the new one is put before it")
    seeds = [secrets.token_bytes(32), *settings.public_log.log_keys]
    value = ",".join(base64.b64encode(seed).decode() for seed in seeds)
    vkey = Keys(seeds).vkeys(origin)[0]
    is_given = bool(process_environ().get(LOG_KEY))
    is_kept = not is_given and keep_key(settings.home, LOG_KEY, value)  # first: what is announced must not be lost
    receipt = await submit(settings, AddLogKey(vkey, operator_of(settings)))
    said = f"It is in {settings.home / 'secrets'}" if is_kept else f"Set {LOG_KEY}={value}"
    kept = {} if is_kept else {LOG_KEY: value}
    show(
        as_json,
        {"vkey": vkey, "position": receipt.position, **kept},
        vkey,
        f"Announced at position {receipt.position}. {said}; start the projector again, and both sign the next event",
    )


@proof.command()
@click.argument("file", metavar="FILE|-")
@click.option("--to", "last", type=Whole(1, 2**63 - 1), help="Position to end with.  [default: the last published]")
@asynchronous
async def export(file: str, last: int | None) -> None:
    """Write the public entries to FILE, or to stdout with -, a line each; the last line is a manifest with the signed note.

    It is what anybody can fetch, and holds nothing private.
    """
    settings = find_settings(needs_keys=False)
    from services.proof.export import export as write

    async with connected(settings) as connection:
        with written(file) as out, progress("Exporting") as advance:
            manifest = await write(connection, out, advance, last)
    to = "stdout" if file == "-" else file
    click.echo(f"Exported {counted(manifest.size, 'public entry').replace('entrys', 'entries')} to {to}", err=file == "-")


@proof.command()
@click.argument("note")
@json_option
@asynchronous
async def resume(note: str, as_json: bool) -> None:
    """Go on signing from NOTE, the file of the last published checkpoint, after a restore or an import.

    It must be signed by this log's key, and the log must still hold what it says.
    """
    settings = find_settings(needs_keys=False, signs_log=True)
    from services.operators import acts
    from services.proof.recovery import resume as take_up

    async with connected(settings, seconds=60) as connection, connection.transaction():
        checkpoint = await take_up(connection, _keys(settings), _read(note))
        await acts.note(connection, operator_of(settings), "resumed-signing", checkpoint.origin, str(checkpoint.size))
    said = f"The log goes on from {checkpoint}"
    show(as_json, {"origin": checkpoint.origin, "size": checkpoint.size}, said)


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise click.ClickException(f"{name} can't be read: {error.strerror}") from None


@proof.command()
@click.option("--reason", required=True, type=Reason(), help="Why, in one line. It is public for ever.")
@yes_option
@json_option
@asynchronous
async def restart(reason: str, yes: bool, as_json: bool) -> None:
    """Begin a new log, because what was signed is lost for good. The old one, and what is lost, stay visible to everyone.

    Those who voted in the lost part hold proofs of it. Try everything to bring it back first.
    """
    settings = find_settings(needs_keys=False, signs_log=True)
    if not settings.public_log.log_keys:
        raise click.ClickException(f"Set {LOG_KEY}: the new log needs a key")
    from services.proof import recovery
    from services.proof.signing import memory_of

    keys = _keys(settings)
    async with connected(settings, seconds=60) as connection:
        ended = await recovery.ending(connection, keys, memory_of(settings))
        lost = (
            f"{ended.last.size} positions of {ended.last.origin} were signed, and the log still holds the first {ended.common}"
        )
        confirm(f"{lost}. Declare the others lost, for everyone to see?", yes)
        receipt = await submit(settings, ended.command(reason, operator_of(settings)))
        await _view_at(connection, receipt.position or 0)
        log = await recovery.begin_next(connection, keys, settings.base_url, ended)
    said = f"{log.origin} begins; position {receipt.position} says what was lost of {ended.last.origin}"
    show(as_json, {"origin": log.origin, "position": receipt.position, "common": ended.common}, said)


async def _view_at(connection: "Connection[Any]", position: int) -> None:
    """Wait until the view has a position: the first checkpoint of the new log holds the event that says why there is one."""
    from projections import proof as view

    deadline = time.monotonic() + VIEW_WITHIN
    while await view.size(connection) < position:
        if time.monotonic() > deadline:
            raise click.ClickException(
                "The view `proof` doesn't come to the new event: see `ballotpress status`, then run this again"
            )
        await asyncio.sleep(0.2)


def _keys(settings: Settings) -> "Keys":
    from services.proof.signer import Keys

    return Keys(settings.public_log.log_keys)


@proof.group()
def witness() -> None:
    """Those who cosign the log's checkpoints, so that nobody can be shown another log."""


@witness.command()
@click.argument("vkey")
@click.argument("url")
@json_option
@asynchronous
async def add(vkey: str, url: str, as_json: bool) -> None:
    """Ask the witness of key VKEY, at the prefix URL, for a cosignature each minute from now on."""
    settings = find_settings(needs_keys=False)
    from services.operators import acts
    from services.proof import witnesses

    async with connected(settings, seconds=60) as connection, connection.transaction():
        name = await witnesses.add(connection, vkey, url)
        await acts.note(connection, operator_of(settings), "added-witness", name)
    show(as_json, {"witness": name}, f"{name} is asked from now on; `ballotpress proof witness list` says how it answers")


@witness.command()
@click.argument("name")
@json_option
@asynchronous
async def remove(name: str, as_json: bool) -> None:
    """Ask the witness NAME no more, and forget what it said of the log. One that the policy names is asked again."""
    settings = find_settings(needs_keys=False)
    from services.operators import acts
    from services.proof import witnesses

    async with connected(settings, seconds=60) as connection, connection.transaction():
        if not await witnesses.remove(connection, name):
            raise click.ClickException(f"There is no witness {name}: see `ballotpress proof witness list`")
        await acts.note(connection, operator_of(settings), "removed-witness", name)
    show(as_json, {"witness": name}, f"{name} is asked no more")


@witness.command("list")
@json_option
@asynchronous
async def list_(as_json: bool) -> None:
    """List the witnesses, each with how far it cosigned and what its last answer was."""
    settings = find_settings(needs_keys=False)
    from services.proof import witnesses

    async with connected(settings, seconds=60) as connection:
        found = await witnesses.listed(connection, settings.public_log.witness_policy)
    lines = [f"{one.name}  {one.url}\n  {_answered(one.size, one.failed)}" for one in found]
    show(as_json, {"witnesses": msgspec.to_builtins(found)}, *(lines or ["There are none: see docs/operating.md"]))


def _answered(size: int, failed: str | None) -> str:
    cosigned = f"cosigned up to {size}" if size else "hasn't cosigned yet"
    return cosigned if failed is None else f"{cosigned}; the last request failed: {failed}"
