"""The processes that `up` and docker-compose run: api, projector and worker; and migrate, which runs once."""

import asyncio

import rich_click as click

from services.cli.database import asynchronous
from services.cli.options import Whole
from services.cli.terminal import counted
from services.embedded.start import find_settings
from services.loading import loading


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=Whole(1, 65535), help="Port to listen on.")
def api(host: str, port: int) -> None:
    """Serve the site and its API over HTTP."""
    settings = find_settings()
    with loading():
        from services.starting import require_vault_keys
        from services.web.app import run

    asyncio.run(require_vault_keys(settings))
    run(settings, host, port)


@click.command()
def projector() -> None:
    """Keep the views up with the log, and sign it. A second projector stands by until the first ends."""
    settings = find_settings(signs_log=True)
    with loading():
        from services import logs
        from services.projector import run

    logs.configure(settings.log_format)
    run(settings)


@click.command()
def worker() -> None:
    """Do what is due: the newsletter, webhooks, calls to caches, room in the log; clear what is out of date."""
    settings = find_settings()
    with loading():
        from services import logs
        from services.starting import require_vault_keys
        from services.worker import run

    logs.configure(settings.log_format)
    asyncio.run(require_vault_keys(settings))
    run(settings)


@click.command()
@click.option(
    "--citus", "on_citus", is_flag=True, help="Spread the log, which must be empty, over the servers that Citus knows."
)
@asynchronous
async def migrate(*, on_citus: bool) -> None:
    """Bring the database to the current schema. It is safe to run twice, and from two hosts at once.

    Once its log is spread over several servers, it stays so: later migrations need no `--citus`.
    """
    settings = find_settings(needs_keys=False)
    from services.migrate import migrate as bring_up_to_date

    ran = await bring_up_to_date(settings.database_url, settings.log_part_size, on_citus=on_citus)
    done = f"Ran {counted(ran, 'migration')}; the" if ran else "Nothing to do: the"
    click.echo(f"{done} database has the current schema{', and its log is spread over several servers' if on_citus else ''}")
