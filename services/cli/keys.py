"""`ballotpress keys rewrap`: after a new vault key was put first, wrap all personal keys under it."""

import rich_click as click

from services.cli.database import asynchronous, connected
from services.cli.options import json_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings


@click.group()
def keys() -> None:
    """Look after the vault's keys."""


@keys.command()
@json_option
@asynchronous
async def rewrap(as_json: bool) -> None:
    """Wrap every personal key under the first key in BALLOTPRESS_VAULT_KEYS. After that the other keys may be removed.

    It may be stopped at any moment and run again.
    """
    settings = find_settings()
    from events.log.vault import Vault

    async with connected(settings, seconds=60) as connection:
        with progress("Rewrapping keys") as advance:
            rewrapped = await Vault(settings.vault_keys).rewrap(connection, advance)
    show(as_json, {"rewrapped": rewrapped}, f"Rewrapped {counted(rewrapped, 'key')}; all are under the newest vault key")
