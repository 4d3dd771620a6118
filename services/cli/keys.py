"""`ballotpress keys rewrap|sweep`: wrap all personal keys under a new vault key; remove destroyed ones from the disk."""

import rich_click as click

from services.cli.database import asynchronous, connected, operator_of
from services.cli.options import json_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings


@click.group()
def keys() -> None:
    """Look after the vault's keys."""


@keys.command()
@json_option
@asynchronous
async def sweep(as_json: bool) -> int:
    """Remove the bytes of destroyed keys from the database's files, part by part. A worker does it daily.

    Meanwhile who signs up or sends a review may wait for a moment. It may be stopped at any time and run again; the status is
    1 if some are left. Backups and archived WAL aren't reached: `rewrap`, and the old vault key destroyed, makes what is in
    them unreadable.
    """
    from events.log.leftovers import remove_leftovers

    with progress("Sweeping the vault") as report:
        swept = await remove_leftovers(find_settings(needs_keys=False).database_url, None, report)
    said = "No destroyed key is on disk any more" if swept.parts else "There was nothing to remove"
    if swept.left:
        said = f"{counted(swept.left, 'part')} of the vault may still hold destroyed keys, being in use: run this again"
    show(as_json, {"swept": bool(swept.parts) and not swept.left, "parts": swept.parts, "left": swept.left}, said)
    return 1 if swept.left else 0


@keys.command()
@json_option
@asynchronous
async def rewrap(as_json: bool) -> None:
    """Wrap every personal key under the first key in BALLOTPRESS_VAULT_KEYS. After that the other keys may be removed.

    It goes in batches, and may be stopped at any moment and run again; `ballotpress status` says while some are left.
    """
    settings = find_settings()
    from events.log.vault import Vault
    from services.operators import acts

    async with connected(settings, seconds=60) as connection:
        await acts.note(connection, operator_of(settings), "rewraps-keys", "vault")  # first: it may be stopped half-way
        with progress("Rewrapping keys") as advance:
            rewrapped = await Vault(settings.vault_keys).rewrap(connection, advance)
    show(as_json, {"rewrapped": rewrapped}, f"Rewrapped {counted(rewrapped, 'key')}; all are under the newest vault key")
