"""`ballotpress subscribers`: import people who consented elsewhere; export or erase one person's data."""

from pathlib import Path
from typing import Any

import rich_click as click

from services.cli.database import OPERATOR, asynchronous, committer_of, connected, submit
from services.cli.options import confirm, json_option, yes_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings


@click.group()
def subscribers() -> None:
    """Import subscribers; export or erase a person's data."""


@subscribers.command("import")
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@json_option
@asynchronous
async def import_(file: Path, as_json: bool) -> int:
    """Import the file CSV with the columns email and proof (of consent), and optionally categories (separated by ;).

    Each refused row is named on stderr, and the rest is imported. The status is 1 if any row was refused. Known and
    suppressed addresses stay as they are.
    """
    settings = find_settings()
    from events.log.vault import Vault
    from projections import tools
    from services.newsletter.imports import import_subscribers

    def report(line: int, reason: str) -> None:
        click.echo(f"line {line} was refused: {reason}", err=True)

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection, committer_of(settings) as committer:
        finder = await vault.finder(connection)
        offered = [category.name for category in await tools.categories(connection)]
        with progress("Importing") as advance:
            done = await import_subscribers(
                committer, vault, finder, file, OPERATOR, offered=offered, report=report, progress=advance
            )
    said = f"Imported {counted(done.imported, 'subscriber')}; {done.known} known before, {done.refused} refused"
    show(as_json, done, said)
    return 1 if done.refused else 0


@subscribers.command()
@click.argument("email")
@asynchronous
async def export(email: str) -> None:
    """Print everything that is kept about EMAIL, as JSON."""
    settings = find_settings()
    import msgspec

    from events.log.vault import Vault
    from services.newsletter.subscribers import SUPPRESSED_NOTE, find
    from services.newsletter.subscribers import export as export_person

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection:
        person, suppressed = await find(connection, await vault.finder(connection), email)
        kept: Any = {"email": email, "status": None}
        if person is not None:
            kept = await export_person(connection, vault, person)
        elif suppressed:
            kept |= {"suppressed": suppressed, "note": SUPPRESSED_NOTE}
    click.echo(msgspec.json.format(msgspec.json.encode(kept)))


@subscribers.command()
@click.argument("email")
@yes_option
@asynchronous
async def erase(email: str, yes: bool) -> None:
    """Destroy what is kept about EMAIL, and what its visitors wrote. A suppressed address leaves a keyed hash (HMAC)."""
    settings = find_settings()
    confirm("This can't be undone. Erase this person?", yes)
    from events.commands.erasure import EraseVisitor
    from events.commands.subscribers import EraseSubscriber
    from events.log.vault import Vault
    from services.newsletter import outbox
    from services.newsletter.subscribers import find

    async with connected(settings) as connection:
        person, _ = await find(connection, await Vault(settings.vault_keys).finder(connection), email)
    if person is None:
        click.echo("Nothing to erase: this address is unknown")
        return
    erased = await submit(settings, EraseSubscriber(person))
    for visitor in erased.value.visitors:
        await submit(settings, EraseVisitor(visitor, OPERATOR))
    outbox.forget(settings.home, person)
    click.echo("Erased")
