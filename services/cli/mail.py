"""`ballotpress mail`: check whether mail will arrive, and take in bounces and complaints that came by mail."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import rich_click as click

from services.cli.database import asynchronous, committer_of, connected, operator_of
from services.cli.errors import sentence
from services.cli.options import Reason, json_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.mail_check.store import Checked, KeptLine
    from services.newsletter.incoming import Apply, Taken
    from services.newsletter.reports import Report, ReportResult

MARKS: Final = {"right": "✓", "wrong": "✗", "unknown": "?", "note": "·"}


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
@click.option("--reason", type=Reason(), help="Why the first issue may go, in one line. It is kept.")
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
            await store.unwaive(connection, operator_of(settings))
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
@click.argument("file", type=click.File("rb"), metavar="FILE|-", required=False)
@click.option("--maildir", type=click.Path(path_type=Path), metavar="DIR", help="Take all new mails of a Maildir.")
@click.option("--follow", is_flag=True, help="Go on with what arrives in the Maildir, until stopped.")
@click.option("--mbox", type=click.File("rb"), metavar="FILE|-", help="Take all mails of an mbox.")
@json_option
@asynchronous
async def ingest(file: BinaryIO | None, maildir: Path | None, follow: bool, mbox: BinaryIO | None, as_json: bool) -> None:
    """Read one mail from FILE, or from stdin with -, or many. Each bounce or complaint is applied to the reader it concerns.

    The status is 0 for every mail, so that a mail server doesn't bounce it, and 75 (try again later) while the site can't take
    any. Mails of a Maildir move from `new` to `cur` once what they say is kept.
    """
    if [file, maildir, mbox].count(None) != 2 or (follow and maildir is None):
        raise click.UsageError("Give FILE, --mbox FILE or --maildir DIR, which alone can --follow.")
    if maildir is not None and not all((maildir / part).is_dir() for part in ("new", "cur")):
        raise click.ClickException(f"{maildir} is no Maildir: it lacks the folders new and cur")
    try:
        settings = find_settings()
        if file is not None:
            await _take_one(settings, file, as_json)
        else:
            await _take_many(settings, maildir, mbox, follow, as_json)
    except Exception as error:
        raise _Later(error) from error


async def _take_one(settings: Settings, file: BinaryIO, as_json: bool) -> None:
    from services.newsletter.incoming import LONGEST_MAIL
    from services.newsletter.reports import read_mail
    from services.newsletter.tokens import MailTokens

    applied: Sequence[ReportResult] = []
    tokens = MailTokens(settings.secret_keys, settings.newsletter.retired_keys)
    if found := read_mail(file.read(LONGEST_MAIL), tokens):
        async with _applying(settings) as apply:
            applied = await apply(found)
    show(as_json, applied, *(map(_line, applied) if applied else ["Not a report about a mail of this site"]))


async def _take_many(settings: Settings, maildir: Path | None, mbox: BinaryIO | None, follow: bool, as_json: bool) -> None:
    from services.newsletter import incoming

    async with _applying(settings) as apply, incoming.reading(settings) as read:
        if mbox is not None:
            taken = await incoming.take_mbox(mbox, read, apply)
            return show(as_json, taken, _taken(taken))
        while True:
            taken = await _patiently(incoming.take_maildir(cast(Path, maildir), read, apply), follow)
            if taken.mails or not follow:
                show(as_json, taken, _taken(taken))
            if not follow:
                return None
            await asyncio.sleep(1)


async def _patiently(taking: "Awaitable[Taken]", follow: bool) -> "Taken":
    """Return what was taken; nothing, for now, while the database is away and mails are followed: they stay where they are."""
    from events.log import postgres
    from events.log.committer import LogUnavailable
    from services.newsletter.incoming import Taken

    try:
        return await taking
    except (LogUnavailable, *postgres.UNAVAILABLE) as error:
        if not follow:
            raise
        click.echo(f"ballotpress: mails wait: {error!r}", err=True)
        return Taken()


@asynccontextmanager
async def _applying(settings: Settings) -> "AsyncIterator[Apply]":
    """Yield what commits reports."""
    from events.log import postgres
    from events.log.vault import Vault
    from services.newsletter import reports

    async with (
        postgres.pool(settings.database_url, "shell", size=2, seconds=60) as database,
        committer_of(settings) as committer,
    ):
        finder = await Vault(settings.vault_keys).finder(database)

        async def apply(found: "Sequence[Report]") -> "Sequence[ReportResult]":
            return await reports.apply(database, committer, finder, found)

        yield apply


def _taken(taken: "Taken") -> str:
    return f"{counted(taken.mails, 'mail')}: {counted(taken.reports, 'report')}, {taken.suppressed} suppressed their address"


class _Later(click.ClickException):
    """The site can't take mail now: a mail server that pipes one keeps it, and tries again (EX_TEMPFAIL of sysexits.h)."""

    exit_code = 75

    def __init__(self, error: Exception) -> None:
        super().__init__(sentence(error) or f"The mail could not be taken: {error!r}")


def _line(report: "ReportResult") -> str:
    about = report.reader or "an unknown reader"
    then = "; no further mail is sent there" if report.suppressed else "; it blames this site" if report.about_us else ""
    return f"A {report.kind} report about {about}{then}"
