"""`ballotpress mail`: check whether mail will arrive, and take in a bounce or complaint from a mail server's pipe."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Final

import rich_click as click

from services.cli.database import asynchronous, committer_of, connected, operator_of
from services.cli.options import json_option
from services.cli.terminal import show
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from services.mail_check.store import Checked, KeptLine
    from services.newsletter.reports import ReportResult

MARKS: Final = {"right": "✓", "wrong": "✗", "unknown": "?", "note": "·"}
LONGEST_MAIL = 10 * 1024 * 1024
"""Bytes; the rest of a longer mail is ignored."""


@click.group()
def mail() -> None:
    """Check whether mail will arrive, and take in reports about mails that this site sent."""


@mail.command()
@json_option
@asynchronous
async def check(as_json: bool) -> int:
    """Check what others look up or look at before they take this site's mail: SPF, DKIM, DMARC, names, TLS, headers and size.

    Nothing is sent. Each line is right, wrong, unknown or a note, with the DNS record to publish. The status is 1 if one is
    wrong.
    """
    settings = find_settings()
    from services.newsletter import arrival

    if settings.smtp_url is None:
        show(as_json, {"checked_at": None, "lines": []}, arrival.NO_RELAY)
        return 0
    async with connected(settings) as connection:
        checked = await arrival.check(settings, connection)
    show(as_json, checked, *(text for line in checked.lines for text in _found(line)), _summary(checked))
    return int(bool(checked.wrong))


@mail.command()
@click.option("--reason", metavar="TEXT", help="Why the first issue may go.")
@click.option("--undo", is_flag=True, help="Let red lines hold the first issue again.")
@asynchronous
async def waive(reason: str | None, undo: bool) -> None:
    """Let the first issue go, also the scheduled one, though `mail check` has red lines."""
    if undo == bool(reason):
        raise click.UsageError("Give either --reason or --undo.")
    settings = find_settings()
    from services.mail_check import store

    async with connected(settings) as connection:
        if reason:
            await store.waive(connection, operator_of(settings), reason)
        else:
            await store.unwaive(connection)
    click.echo("The first issue goes, whatever `mail check` says" if reason else "Red lines hold the first issue")


def _found(line: "KeptLine") -> Iterator[str]:
    from services.mail_check.lines import TITLES

    yield f"{MARKS[line.state]} {line.state:8}{TITLES[line.subject]}: {line.says}"
    if line.mend is not None:
        yield f"          {line.mend}"
    if line.publish is not None:
        yield f"          {line.publish.name} {line.publish.type} {line.publish.in_zone}"


def _summary(checked: "Checked") -> str:
    counts = Counter(line.state for line in checked.lines)
    counted = ", ".join(f"{counts[state]} {state}" for state in ("right", "wrong", "unknown"))
    waits = "; the first issue waits: `ballotpress mail waive --reason TEXT` lets it go as it is"
    return counted + waits if checked.holds_first else counted


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
