"""`ballotpress digest`: preview, compile, send, and settle issues."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import rich_click as click

from services.cli.database import asynchronous, connected, operator_of
from services.cli.digest_lines import hold_line, issue_line, issue_lines, sent_line, waiting_line
from services.cli.options import Visitor, Whole, confirm, json_option, yes_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings
from services.settings import Settings
from services.sizes import size

if TYPE_CHECKING:
    from services.newsletter.pace import Database

Edition = Literal["weekly", "monthly"]

edition_option = click.option(
    "--edition", type=click.Choice(["weekly", "monthly"]), default="weekly", show_default=True, help="The edition."
)
RESOLVED: Final[dict[str | None, str]] = {None: "retried-mails", "resend": "resent-mails", "drop": "dropped-mails"}
"""The acts that settle mails, by what is done with the uncertain ones; None: with those that were refused."""
issue_argument = click.argument("number", type=Whole(min=1), metavar="ISSUE")


@click.group()
def digest() -> None:
    """Preview the weekly issue, send it, and show who got it."""


@digest.command()
@click.option("--reader", metavar="READER", type=Visitor(), help="Id of the reader to write to.  [default: an example]")
@edition_option
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder to write to.  [default: .]"
)
@json_option
def preview(reader: str | None, edition: Edition, folder: Path, as_json: bool) -> None:
    """Write the running issue to digest-preview.eml and .html, and count who would get it. Nothing is kept or sent."""
    settings = find_settings()
    from services.newsletter.preview import preview as make

    made = asyncio.run(make(settings, edition, reader))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digest-preview.eml").write_bytes(made.message)
    (folder / "digest-preview.html").write_text(made.html)
    show(
        as_json,
        {
            "audience": made.audience,
            "excluded": made.excluded,
            "bytes": len(made.message),
            "quiet": made.quiet,
            "days": made.days,
        },
        f"Wrote {folder / 'digest-preview.eml'} ({size(len(made.message))}) and {folder / 'digest-preview.html'}",
        f"{made.audience} would get it" + ("; a quiet week" if made.quiet else ""),
        *(f"{readers} would not: {reason}" for reason, readers in made.excluded.items()),
        *([made.pace] if made.pace else []),
    )


@digest.command(name="compile")
@click.option("--verify", "number", type=Whole(min=1), metavar="N", help="Check that the log still gives issue N.")
@edition_option
@asynchronous
async def compile_(number: int | None, edition: Edition) -> int:
    """Print the facts of the running issue, and keep nothing. With --verify, compile issue N from the log again and compare.

    The status is 1 if the log gives another issue N.
    """
    settings = find_settings()
    from projections.issues import compile_content, encode_content
    from services.integrity.under_review import held
    from services.newsletter import issues

    if number is not None:
        same = await issues.verify(settings.database_url, number)
        click.echo(f"Issue {number}: the log gives {'the same' if same else 'ANOTHER'} content")
        return 0 if same else 1
    async with connected(settings) as connection:
        start, _ = await issues.start_of(connection, edition)
    click.echo(encode_content((await compile_content(settings.database_url, start, held))[1])[0])
    return 0


@digest.command()
@click.option("--now", is_flag=True, help="Don't wait for the scheduled time.")
@click.option("--extra", is_flag=True, help="Send another issue in a period that already had one.")
@click.option("--unchecked", is_flag=True, help="Send the first issue though `mail check` has red lines.")
@click.option("--to", "address", metavar="EMAIL", help="Send a test to this address alone, through the relay.")
@click.option("--issue", "number", type=Whole(min=1), metavar="N", help="The issue to test.  [default: the running one]")
@edition_option
@yes_option
@json_option
@asynchronous
async def send(
    now: bool, extra: bool, unchecked: bool, address: str | None, number: int | None, edition: Edition, yes: bool, as_json: bool
) -> int:
    """Compile and plan the running period's issue for the worker to send, or send a test of it to one address.

    A period has one issue, however often this is run. One that won't reach all its readers before the next one comes is sent
    after a yes; a site's first one is refused while `mail check` has red lines. A test is marked in its subject, and nothing is
    kept of it; the status is 1 if the relay doesn't take it.
    """
    settings = find_settings()
    if address is not None and not (now or extra):
        return await _try_out(settings, edition, number, address, as_json)
    if address is not None or number is not None or not now:
        raise click.UsageError("Give either --now, or --to EMAIL with or without --issue N.")
    if not unchecked:
        await _must_arrive(settings)
    return await _send_now(settings, extra, yes, as_json)


async def _send_now(settings: Settings, extra: bool, yes: bool, as_json: bool) -> int:
    """Have the running periods' issues sent, and say how each stands; return the command's status."""
    from services.newsletter import issues, ledger, periods
    from services.newsletter.schedule import schedule_of
    from services.newsletter.waiting import TURN, read_waiting

    schedule = schedule_of(settings.newsletter)
    async with connected(settings) as connection:
        at = await periods.time_of(connection)
        if extra or await issues.to_send(connection, schedule, at):
            await _say_pace(connection, yes)
        served = await issues.send_now(connection, settings.database_url, schedule, at, operator_of(settings), extra=extra)
        sent = [(one, await ledger.accounts(connection, one.issue.number)) for one in served]
        held_up = [w for one in served for w in await read_waiting(connection, one.issue.number) if w.reason != TURN]
    await _ring(settings)
    value = [{"issue": one.issue, "sent_now": one.is_new, "accounts": counts} for one, counts in sent]
    show(as_json, value, *(sent_line(one, counts) for one, counts in sent), *map(waiting_line, held_up))
    return 0


async def _try_out(settings: Settings, edition: Edition, number: int | None, address: str, as_json: bool) -> int:
    """Send a test to one address; return the command's status."""
    from services.newsletter.transport import open_transport
    from services.newsletter.trying import write_test

    async with connected(settings) as connection:
        letter = await write_test(settings, connection, edition, number, address)
    async with open_transport(settings) as transport:
        outcome = await transport.deliver(letter)
    where = "the relay" if settings.smtp_url else "the outbox"
    said = " ".join(str(part) for part in (outcome.code, outcome.status) if part)
    words = {
        "accepted": f"Sent a test to {letter.recipient}: {where} took it ({said})",
        "not_sent": "The relay could not be reached: see SMTP_URL",
        "uncertain": "The relay gave no answer in the end: the test may have arrived",
    }
    line = words.get(outcome.kind, f"The relay refused the test ({said})")
    taken = outcome.kind == "accepted"
    show(as_json, {"outcome": outcome.kind, "code": outcome.code, "status": outcome.status}, *([line] if taken else []))
    if not taken:
        click.echo(f"ballotpress: {line}", err=True)
    return 0 if taken else 1


async def _say_pace(connection: "Database", yes: bool) -> None:
    """Say how long an issue takes at the pace that is set, and ask before one that not all its readers will get."""
    from services.newsletter.waiting import foresee, said_forecast

    readers, whole, period = await foresee(connection, "weekly")
    if said := said_forecast(readers, whole, period):
        click.echo(said, err=True)
    if period.left:
        confirm("Send it all the same?", yes)


@digest.command()
@click.argument("number", type=Whole(min=1), required=False)
@click.option("--reader", metavar="READER", type=Visitor(), help="Show the mail of one reader, by id.")
@click.option("--missed", is_flag=True, help="List the readers who did not get it, and why.")
@json_option
@asynchronous
async def status(number: int | None, reader: str | None, missed: bool, as_json: bool) -> None:
    """Show the accounts of issue NUMBER (default: the last issues), or the outcome for its readers."""
    settings = find_settings()
    from services.newsletter import issues, ledger, periods
    from services.newsletter.schedule import schedule_of
    from services.newsletter.waiting import read_waiting

    async with connected(settings) as connection:
        some = [await issues.issue(connection, number)] if number else await issues.issues(connection)
        if number is not None and (reader or missed):
            outcomes = await ledger.outcomes(connection, number, reader)
            shown = [outcome for outcome in outcomes if reader or outcome.state != "accepted"]
            for outcome in shown:
                show(as_json, outcome, outcome.in_words)
            if not shown and not as_json:
                click.echo("Nobody missed it")
            return
        found = [
            (one, await ledger.accounts(connection, one.number), await read_waiting(connection, one.number)) for one in some
        ]
        late = await periods.late(connection, schedule_of(settings.newsletter), await periods.time_of(connection))
        if late and number is None and not as_json:
            click.echo(f"Late: {late}", err=True)
    lines = [line for one, counts, waiting in found for line in issue_lines(one, counts, waiting)] or ["No issue yet"]
    value = [{"issue": one, "accounts": counts, "waiting": waiting} for one, counts, waiting in found]
    show(as_json, value, *lines)


@digest.command()
@issue_argument
@click.option("--uncertain", "how", type=click.Choice(["resend", "drop"]), help="Send uncertain mails again, or not.")
@click.option("--refused", type=click.Choice(["resend"]), help="Send mails again that were refused for no reader's fault.")
@click.option(
    "--by-log",
    "logs",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settle them by the relay's record: Postfix's log, or a list of Message-IDs. May be given several times.",
)
@json_option
@asynchronous
async def resolve(
    number: int, how: Literal["resend", "drop"] | None, refused: str | None, logs: tuple[Path, ...], as_json: bool
) -> None:
    """Settle mails of ISSUE: the uncertain ones, of which some may arrive twice, or those refused for no reader's fault.

    By the relay's record none arrives twice: what it took is accepted, and what it never received is sent again.
    """
    if sum(map(bool, (how, refused, logs))) != 1:
        raise click.UsageError("Give one of --uncertain, --refused and --by-log.")
    settings = find_settings()
    if logs:
        await _settle_by(settings, number, logs, as_json)
        return
    from services.newsletter import holds, issues, ledger
    from services.operators import acts

    async with connected(settings) as connection, connection.transaction():
        await issues.issue(connection, number)
        resolved = await holds.retry(connection, number) if how is None else await ledger.resolve(connection, number, how)
        if resolved:
            await acts.note(connection, operator_of(settings), RESOLVED[how], f"issue {number}", counted(resolved, "mail"))
    await _ring(settings)
    done = "dropped" if how == "drop" else "will be sent again"
    show(as_json, {"resolved": resolved, "how": how or refused}, f"{counted(resolved, 'mail')} {done}")


async def _settle_by(settings: Settings, number: int, logs: tuple[Path, ...], as_json: bool) -> None:
    from emails.relay_log import read_relay_log
    from services.clock import now
    from services.newsletter import issues
    from services.newsletter.relayed import settle
    from services.newsletter.sent_marks import marks_of
    from services.operators import acts

    marks, record = marks_of(settings), read_relay_log(logs, now())
    async with connected(settings) as connection, connection.transaction():
        await marks.must_be_known(connection)
        settled = await settle(connection, marks.folder, number, record, now())
        if settled.accepted or settled.freed:
            about = f"{settled.accepted} taken, {settled.freed} sent again"
            await acts.note(connection, operator_of(settings), "settled-by-record", f"issue {number}", about)
        if not settled.unknown:
            await issues.issue(connection, number)
    await _ring(settings)
    lines = [f"The relay took {counted(settled.accepted, 'mail')}; {settled.freed} it never received will be sent again"]
    if settled.doubt:
        lines.append(f"{counted(settled.doubt, 'mail')} stay in doubt: {settled.why}")
    if settled.unknown:
        lines.append(f"{counted(settled.unknown, 'mail')} of issues that the ledger lacks are marked, and won't be sent again")
    show(as_json, settled, *lines)


@digest.command()
@asynchronous
async def pause() -> None:
    """Stop compiling and sending digests until `resume`. Single mails, such as confirmations, still go out."""
    await _set_paused(find_settings(), True)
    click.echo("Digests are paused")


@digest.command(name="holds")
@json_option
@asynchronous
async def holds_(as_json: bool) -> None:
    """List the providers whose mails are held because they refused us, why, and when one mail is tried."""
    settings = find_settings()
    from services.newsletter import holds

    async with connected(settings) as connection:
        found = await holds.read_holds(connection)
    show(as_json, found, *([hold_line(hold) for hold in found] or ["Nothing is held"]))


@digest.command()
@click.option("--provider", metavar="NAME", help="Let the mails go on that are held for one provider, or for the relay.")
@click.option("--outbox", "to_outbox", is_flag=True, help="Go on without the relay that issues went through before.")
@asynchronous
async def resume(provider: str | None, to_outbox: bool) -> None:
    """Compile and send digests again after `pause`, and send the mails of every provider that is held for refusals.

    With --provider, only that provider's mails go on.
    """
    settings = find_settings()
    from services.newsletter import holds

    if provider is None:
        await _relay_is_there(settings, to_outbox)
        await _set_paused(settings, False)
    async with connected(settings) as connection:
        resumed = await holds.resume(connection, operator_of(settings), provider and holds.unnamed(provider))
        if provider is not None and not resumed:
            names = ", ".join(holds.named(hold.provider) for hold in await holds.read_holds(connection))
            raise click.ClickException(f"{provider} is not held. " + (f"Held: {names}" if names else "Nothing is held"))
    await _ring(settings)
    click.echo("Digests go on" if provider is None else f"Mails to {holds.named(holds.unnamed(provider))} go on")


@digest.command()
@issue_argument
@yes_option
@asynchronous
async def cancel(number: int, yes: bool) -> None:
    """Stop ISSUE for good. Mails already sent stay sent; the next issue covers its period too."""
    settings = find_settings()
    confirm(f"Stop issue {number} for good?", yes)
    from services.newsletter import issues, ledger

    async with connected(settings) as connection:
        stopped = await issues.cancel(connection, number, operator_of(settings))
        one, counts = await issues.issue(connection, number), await ledger.accounts(connection, number)
    if one.state == "cancelled":
        click.echo(f"Issue {number} is cancelled; {counted(stopped, 'mail')} not sent")
    else:
        click.echo(issue_line(one, counts))
        click.echo("Nothing is left to stop")


@digest.command(name="marks-lost")
@yes_option
@asynchronous
async def marks_lost(yes: bool) -> None:
    """Say that the send marks are lost for good, and go on with the folder as it is. The newsletter is held until `resume`."""
    confirm("Are the send marks lost for good? Without them only the relay's record tells what was sent.", yes)
    from services.newsletter import ledger
    from services.newsletter.sent_marks import LOST, forget_folder
    from services.operators import acts

    settings = find_settings()
    async with connected(settings) as connection, connection.transaction():
        await ledger.hold(connection, LOST)
        await forget_folder(connection)
        await acts.note(connection, operator_of(settings), "gave-marks-up", "send marks")
    click.echo("The newsletter is held: settle what is in doubt by the relay's record, then `ballotpress digest resume`")


async def _must_arrive(settings: Settings) -> None:
    """Check that a first issue would arrive. Raises ClickException."""
    from services.newsletter import first_issue

    async with connected(settings) as connection:
        reason = await first_issue.reason_to_wait(settings, connection, fresh=timedelta())
    if reason is not None:
        raise click.ClickException(f"{reason}. `ballotpress mail check` says what to mend; --unchecked sends it as it is")


async def _relay_is_there(settings: Settings, to_outbox: bool) -> None:
    """Check that a restored newsletter has a relay again. Raises ClickException."""
    from services.newsletter import restored

    if settings.smtp_url is not None or to_outbox:
        return
    async with connected(settings) as connection:
        if await restored.held_and_relayed(connection):
            raise click.ClickException(restored.WITHOUT_RELAY)


async def _set_paused(settings: Settings, paused: bool) -> None:
    from services.newsletter import issues

    async with connected(settings) as connection:
        await issues.set_paused(connection, operator_of(settings), paused=paused)


async def _ring(settings: Settings) -> None:
    """Wake the worker's sender."""
    from services.newsletter.doorbell import ring
    from services.valkey import client

    async with client(settings.redis_url) as valkey:
        await ring(valkey)
