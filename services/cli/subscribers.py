"""`ballotpress subscribers`: import people who consented elsewhere; export or erase one person's data."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from services.cli.database import OPERATOR, committer_of, connected, submit
from services.cli.options import confirm, json_option, yes_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.newsletter.imports import Imports


@click.group()
def subscribers() -> None:
    """Import subscribers; export or erase a person's data."""


@subscribers.command("import")
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@json_option
def import_(file: Path, as_json: bool) -> int:
    """Import a CSV file with the columns email and proof (of consent), and optionally categories (separated by ;).

    Each refused row is named on stderr, and the rest is imported; status 1 if any was refused. Known and suppressed
    addresses stay as they are.
    """
    done = asyncio.run(_import(find_settings(), file))
    said = f"Imported {counted(done.imported, 'subscriber')}; {done.known} known before, {done.refused} refused"
    show(as_json, done, said)
    return 1 if done.refused else 0


@subscribers.command()
@click.argument("email")
def export(email: str) -> int:
    """Print everything that is kept about EMAIL, as JSON."""
    settings = find_settings()
    import msgspec

    found = asyncio.run(_export(settings, email))
    click.echo(msgspec.json.format(msgspec.json.encode(found)))
    return 0


@subscribers.command()
@click.argument("email")
@yes_option
def erase(email: str, yes: bool) -> None:
    """Destroy what is kept about EMAIL, and what its visitors wrote. A suppressed address leaves a keyed hash (HMAC)."""
    settings = find_settings()
    confirm("This can't be undone. Erase this person?", yes)
    erased = asyncio.run(_erase(settings, email))
    click.echo("Erased" if erased else "Nothing to erase: this address is unknown")


async def _import(settings: Settings, file: Path) -> "Imports":
    from events.log.vault import Vault
    from services.newsletter.imports import import_subscribers

    def report(line: int, reason: str) -> None:
        click.echo(f"line {line} was refused: {reason}", err=True)

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection, committer_of(settings) as committer:
        finder = await vault.finder(connection)
        with progress("Importing") as advance:
            return await import_subscribers(committer, vault, finder, file, OPERATOR, report=report, progress=advance)


async def _export(settings: Settings, email: str) -> dict[str, Any]:
    from events.log.vault import Vault
    from services.newsletter.subscribers import SUPPRESSED_NOTE, export, find

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection:
        person, suppressed = await find(connection, await vault.finder(connection), email)
        if person is not None:
            return await export(connection, vault, person)
    kept: dict[str, Any] = {"email": email, "status": None}
    return {**kept, "suppressed": suppressed, "note": SUPPRESSED_NOTE} if suppressed else kept


async def _erase(settings: Settings, email: str) -> bool:
    from events.commands.erasure import EraseVisitor
    from events.commands.subscribers import EraseSubscriber
    from events.log.vault import Vault
    from services.newsletter import outbox
    from services.newsletter.subscribers import find

    async with connected(settings) as connection:
        person, _ = await find(connection, await Vault(settings.vault_keys).finder(connection), email)
    if person is None:
        return False
    erased = await submit(settings, EraseSubscriber(person))
    for visitor in erased.value.visitors:
        await submit(settings, EraseVisitor(visitor, OPERATOR))
    outbox.forget(settings.home, person)
    return True
