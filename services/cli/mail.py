"""`ballotpress mail ingest`: bounces and complaints that come by mail, for a pipe from a mail server."""

import asyncio
from typing import TYPE_CHECKING, BinaryIO

import rich_click as click

from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.newsletter.reports import ReportResult

LONGEST_MAIL = 10 * 1024 * 1024


@click.group()
def mail() -> None:
    """Take in what comes back."""


@mail.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ingest(file: BinaryIO, as_json: bool) -> None:
    """Read one mail from FILE, or - for stdin: what it means for the reader whom our mail went to, if it is a report at all.

    Status 0 whatever the mail is, so that a mail server doesn't bounce it.
    """
    settings = find_settings()
    from services.cli.terminal import print_json

    applied = asyncio.run(_ingest(settings, file.read(LONGEST_MAIL)))
    if as_json:
        print_json(applied)
        return
    for one in applied:
        about = one.reader or "nobody we know"
        click.echo(f"A {one.kind} report about {about}" + ("; nothing is sent there any more" if one.suppressed else ""))
    if not applied:
        click.echo("No report about a mail of ours")


async def _ingest(settings: Settings, raw: bytes) -> "list[ReportResult]":
    from events.log import postgres
    from events.log.committer import Committer
    from events.log.vault import Vault
    from events.registry import REGISTRY
    from services.newsletter import reports
    from services.submit import PATIENCE

    found = reports.read_mail(raw)
    if not found:
        return []
    connection = await postgres.connect(settings.database_url, "shell", seconds=60)
    try:
        finder = await Vault(settings.vault_keys).finder(connection)
        async with Committer(settings.database_url, REGISTRY, patience=PATIENCE) as committer:
            return await reports.apply(connection, committer, finder, found)
    finally:
        await connection.close()
