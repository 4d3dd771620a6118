"""`ballotpress mail ingest`: bounces and complaints that come by mail, for a pipe from a mail server."""

import asyncio
from typing import TYPE_CHECKING, BinaryIO

import rich_click as click

from services.cli.database import committer_of, connected
from services.cli.options import json_option
from services.cli.terminal import show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.newsletter.reports import ReportResult

LONGEST_MAIL = 10 * 1024 * 1024


@click.group()
def mail() -> None:
    """Take in reports about mails that were sent."""


@mail.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@json_option
def ingest(file: BinaryIO, as_json: bool) -> None:
    """Read one mail from FILE, or - for stdin; if it is a bounce or complaint, apply it to the reader it concerns.

    Status 0 whatever the mail is, so that a mail server doesn't bounce it.
    """
    applied = asyncio.run(_ingest(find_settings(), file.read(LONGEST_MAIL)))
    show(as_json, applied, *(map(_line, applied) if applied else ["Not a report about a mail of this site"]))


def _line(report: "ReportResult") -> str:
    about = report.reader or "an unknown reader"
    return f"A {report.kind} report about {about}" + ("; no further mail is sent there" if report.suppressed else "")


async def _ingest(settings: Settings, raw: bytes) -> "list[ReportResult]":
    from events.log.vault import Vault
    from services.newsletter import reports

    found = reports.read_mail(raw)
    if not found:
        return []
    async with connected(settings) as connection, committer_of(settings) as committer:
        finder = await Vault(settings.vault_keys).finder(connection)
        return await reports.apply(connection, committer, finder, found)
