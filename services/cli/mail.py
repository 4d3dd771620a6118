"""`ballotpress mail ingest`: take a bounce or complaint that came by mail, from a mail server's pipe."""

from typing import TYPE_CHECKING, BinaryIO

import rich_click as click

from services.cli.database import asynchronous, committer_of, connected
from services.cli.options import json_option
from services.cli.terminal import show
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from services.newsletter.reports import ReportResult

LONGEST_MAIL = 10 * 1024 * 1024
"""Bytes; the rest of a longer mail is ignored."""


@click.group()
def mail() -> None:
    """Take in reports about mails that this site sent."""


@mail.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@json_option
@asynchronous
async def ingest(file: BinaryIO, as_json: bool) -> None:
    """Read one mail from FILE, or from stdin with -. If it is a bounce or complaint, apply it to the reader it concerns.

    The status is 0 for every mail, so that a mail server doesn't bounce it.
    """
    settings = find_settings()
    from events.log.vault import Vault
    from services.newsletter import reports
    from services.newsletter.tokens import MailTokens

    applied: list[ReportResult] = []
    tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
    if found := reports.read_mail(file.read(LONGEST_MAIL), tokens):
        async with connected(settings) as connection, committer_of(settings) as committer:
            finder = await Vault(settings.vault_keys).finder(connection)
            applied = await reports.apply(connection, committer, finder, found)
    show(as_json, applied, *(map(_line, applied) if applied else ["Not a report about a mail of this site"]))


def _line(report: "ReportResult") -> str:
    about = report.reader or "an unknown reader"
    then = "; no further mail is sent there" if report.suppressed else "; it blames this site" if report.about_us else ""
    return f"A {report.kind} report about {about}{then}"
