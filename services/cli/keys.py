"""`ballotpress keys rewrap`: after a new vault key was put first, wrap all personal keys under it."""

import asyncio

import rich_click as click

from services.cli.database import connected
from services.cli.options import json_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings
from services.settings import Settings


@click.group()
def keys() -> None:
    """Look after the vault's keys."""


@keys.command()
@json_option
def rewrap(as_json: bool) -> None:
    """Wrap every personal key under the first of BALLOTPRESS_VAULT_KEYS; then the others can be taken away.

    It may be stopped at any moment and run again.
    """
    rewrapped = asyncio.run(_rewrap(find_settings()))
    show(as_json, {"rewrapped": rewrapped}, f"Rewrapped {counted(rewrapped, 'key')}; all are under the newest vault key")


async def _rewrap(settings: Settings) -> int:
    from events.log.vault import Vault

    async with connected(settings, seconds=60) as connection:
        with progress("Rewrapping keys") as advance:
            return await Vault(settings.vault_keys).rewrap(connection, advance)
