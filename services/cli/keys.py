"""`ballotpress keys rewrap`: after a new vault key was put first, wrap all personal keys under it."""

import asyncio

import rich_click as click

from services.embedded.start import find_settings
from services.settings import Settings


@click.group()
def keys() -> None:
    """Look after the vault's keys."""


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rewrap(as_json: bool) -> None:
    """Wrap every personal key under the first of BALLOTPRESS_VAULT_KEYS; then the others can be taken away.

    Stopped at any moment it may be run again.
    """
    settings = find_settings()
    from services.cli.terminal import counted, print_json

    rewrapped = asyncio.run(_rewrapped(settings))
    if as_json:
        print_json({"rewrapped": rewrapped})
    else:
        click.echo(f"Rewrapped {counted(rewrapped, 'key')}; all are under the newest vault key")


async def _rewrapped(settings: Settings) -> int:
    from events.log import postgres
    from events.log.vault import Vault
    from services.cli.terminal import progress

    connection = await postgres.connect(settings.database_url, "shell", seconds=60)
    try:
        with progress("Rewrapping keys") as advance:
            return await Vault(settings.vault_keys).rewrap(connection, advance)
    finally:
        await connection.close()
