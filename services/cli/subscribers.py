"""`ballotpress subscribers`: import those who consented elsewhere, and a person's data: its copy, its erasure."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from services.embedded.start import find_settings
from services.settings import Settings


@click.group()
def subscribers() -> None:
    """Import subscribers; give or erase a person's data."""


@subscribers.command("import")
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(file: Path, as_json: bool) -> int:
    """Import a CSV file with the columns email and proof (of consent), and categories (separated by ;) if you like.

    Each refused row is named on stderr, and the rest is imported; status 1 if any was refused. Known and suppressed
    addresses stay as they are.
    """
    settings = find_settings()
    from services.cli.terminal import counted, print_json, progress
    from services.newsletter.imports import import_subscribers

    def report(line: int, reason: str) -> None:
        click.echo(f"line {line} was refused: {reason}", err=True)

    with progress("Importing") as advance:
        done = asyncio.run(import_subscribers(settings, file, report, advance))
    if as_json:
        print_json(done)
    else:
        click.echo(f"Imported {counted(done.imported, 'subscriber')}; {done.known} known before, {done.refused} refused")
    return 1 if done.refused else 0


@subscribers.command()
@click.argument("email")
def export(email: str) -> int:
    """Print as JSON what is kept about EMAIL."""
    settings = find_settings()
    import msgspec

    found = asyncio.run(_export(settings, email))
    click.echo(msgspec.json.format(msgspec.json.encode(found)))
    return 0


@subscribers.command()
@click.argument("email")
@click.option("--yes", is_flag=True, help="Don't ask.")
def erase(email: str, yes: bool) -> None:
    """Destroy what is kept about EMAIL, and what the visitors it joined wrote. A suppressed address keeps its HMAC alone."""
    settings = find_settings()
    if not yes and sys.stdin.isatty():
        click.confirm("This can't be undone. Erase this person?", abort=True, err=True)
    if asyncio.run(_erase(settings, email)):
        click.echo("Erased")
    else:
        click.echo("Nothing to erase: nobody is known by this address")


async def _export(settings: Settings, email: str) -> dict[str, Any]:
    from events.log import postgres
    from events.log.vault import Vault
    from services.newsletter import subscribers

    vault = Vault(settings.vault_keys)
    connection = await postgres.connect(settings.database_url, "shell", seconds=60)
    try:
        person, suppressed = await subscribers.find(connection, await vault.finder(connection), email)
        if person is not None:
            return await subscribers.export(connection, vault, person)
        kept: dict[str, Any] = {"email": email, "status": None}
        return {**kept, "suppressed": suppressed, "note": subscribers.SUPPRESSED_NOTE} if suppressed else kept
    finally:
        await connection.close()


async def _erase(settings: Settings, email: str) -> bool:
    from events.commands.erasure import EraseVisitor
    from events.commands.subscribers import EraseSubscriber
    from events.log import postgres
    from events.log.vault import Vault
    from services.newsletter import outbox, subscribers
    from services.submit import OPERATOR, submit

    connection = await postgres.connect(settings.database_url, "shell", seconds=60)
    try:
        person, _ = await subscribers.find(connection, await Vault(settings.vault_keys).finder(connection), email)
    finally:
        await connection.close()
    if person is None:
        return False
    erased = await submit(settings, EraseSubscriber(person))
    for visitor in erased.value.visitors:
        await submit(settings, EraseVisitor(visitor, OPERATOR))
    outbox.forget(settings.home, person)
    return True
