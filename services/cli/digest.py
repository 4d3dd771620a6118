"""`ballotpress digest`: preview, compile, send, and settle issues; every command says what it did or what stands in the way."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import rich_click as click

from services.cli.options import Visitor
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.newsletter.issues import Issue

T = TypeVar("T")

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def digest() -> None:
    """The weekly issue: preview it, send it, see who got it."""


@digest.command()
@click.option("--reader", type=Visitor(), help="Whose mail to write (a subscriber's id).  [default: anybody's]")
@click.option("--edition", type=click.Choice(["weekly", "monthly"]), default="weekly", show_default=True, help="Which one.")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Where to write it.")
@_json
def preview(reader: str | None, edition: Literal["weekly", "monthly"], folder: Path, as_json: bool) -> None:
    """Write the running issue as digest-preview.eml and .html, and say who would get it. Nothing is kept or sent."""
    settings = find_settings()
    from services.cli.terminal import print_json, size
    from services.newsletter.preview import preview as make

    made = asyncio.run(make(settings, edition, reader))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digest-preview.eml").write_bytes(made.message)
    (folder / "digest-preview.html").write_text(made.html)
    if as_json:
        print_json({"audience": made.audience, "excluded": made.excluded, "bytes": len(made.message), "quiet": made.quiet})
        return
    click.echo(f"Wrote {folder / 'digest-preview.eml'} ({size(len(made.message))}) and {folder / 'digest-preview.html'}")
    click.echo(f"{made.audience} would get it" + ("; a quiet week" if made.quiet else ""))
    for reason, readers in made.excluded.items():
        click.echo(f"{readers} would not: {reason}")


@digest.command(name="compile")
@click.option("--verify", "number", type=click.IntRange(min=1), metavar="N", help="Prove that the log gives issue N again.")
@click.option("--edition", type=click.Choice(["weekly", "monthly"]), default="weekly", show_default=True, help="Which one.")
def compile_(number: int | None, edition: Literal["weekly", "monthly"]) -> int:
    """Print the facts the running issue would have, keeping nothing; or compile issue N from the log again and compare."""
    settings = find_settings()
    from services.newsletter import facts, issues

    if number is not None:
        same = asyncio.run(issues.verify(settings.database_url, number))
        click.echo(f"Issue {number}: the log gives {'the same' if same else 'ANOTHER'} content")
        return 0 if same else 1

    async def running(connection: Any) -> str:
        start, _ = await issues.start_of(connection, edition)
        return facts.encode((await issues.compile_content(settings.database_url, start))[1])[0]

    click.echo(_on_database(settings, running))
    return 0


@digest.command()
@click.option("--now", is_flag=True, required=True, help="Don't wait for the scheduled time.")
@click.option("--extra", is_flag=True, help="Another issue, though the period was served.")
@_json
def send(now: bool, extra: bool, as_json: bool) -> None:
    """Compile and plan the running period's issue, and let the worker send it. Once a period, however often it is asked for."""
    settings = find_settings()
    from services import clock
    from services.cli.terminal import print_json, utc
    from services.newsletter import ledger, schedule_run
    from services.submit import OPERATOR

    async def work(connection: Any) -> list[tuple[schedule_run.Sent, dict[str, int]]]:
        schedule = schedule_run.schedule_of(settings.newsletter)
        sent = await schedule_run.send_now(connection, settings.database_url, schedule, clock.now(), OPERATOR, extra=extra)
        return [(one, await ledger.accounts(connection, one.issue.number)) for one in sent]

    sent = _on_database(settings, work)
    asyncio.run(_ring(settings))
    if as_json:
        print_json([{"issue": one.issue, "sent_now": one.is_new, "accounts": counts} for one, counts in sent])
        return
    for one, counts in sent:
        if one.is_new:
            click.echo(f"Issue {one.issue.number}, {one.issue.edition}: {_in_words(counts)}")
        else:
            click.echo(f"Issue {one.issue.number} was sent at {utc(one.issue.compiled_at)} (--extra sends another)")


@digest.command()
@click.argument("number", type=click.IntRange(min=1), required=False)
@click.option("--reader", type=Visitor(), help="One reader's fate, by its id.")
@click.option("--missed", is_flag=True, help="Who did not get it, and why.")
@_json
def status(number: int | None, reader: str | None, missed: bool, as_json: bool) -> None:
    """Show the accounts of issue NUMBER (of the last ones, without it), or the fate of its readers."""
    settings = find_settings()
    from services.cli.terminal import print_json
    from services.newsletter import issues, ledger, outcomes

    if number is not None and (reader or missed):
        found = _on_database(settings, lambda connection: outcomes.fates(connection, number, reader))
        for fate in found:
            if reader or fate.state != "accepted":
                print_json(fate) if as_json else click.echo(fate.in_words)
        return

    async def work(connection: Any) -> "list[tuple[Issue, dict[str, int]]]":
        some = [await issues.issue(connection, number)] if number else await issues.issues(connection)
        return [(one, await ledger.accounts(connection, one.number)) for one in some]

    found_issues = _on_database(settings, work)
    if as_json:
        print_json([{"issue": one, "accounts": counts} for one, counts in found_issues])
        return
    if number is None and (late := _on_database(settings, lambda connection: _late(settings, connection))):
        click.echo(f"Late: {late}", err=True)
    for one, counts in found_issues:
        click.echo(f"Issue {one.number}, {one.edition}, {one.state}: planned {one.planned} = {_in_words(counts)}")
    if not found_issues:
        click.echo("No issue yet")


@digest.command()
@click.argument("number", type=click.IntRange(min=1), metavar="ISSUE")
@click.option("--uncertain", "how", type=click.Choice(["resend", "drop"]), required=True, help="What becomes of them.")
@_json
def resolve(number: int, how: Literal["resend", "drop"], as_json: bool) -> None:
    """Decide on the mails of ISSUE whose fate is uncertain: send them again (some may arrive twice), or let them be."""
    settings = find_settings()
    from services.cli.terminal import counted, print_json
    from services.newsletter import issues, ledger

    async def work(connection: Any) -> int:
        await issues.issue(connection, number)
        return await ledger.resolve(connection, number, how)

    resolved = _on_database(settings, work)
    asyncio.run(_ring(settings))
    if as_json:
        print_json({"resolved": resolved, "how": how})
    else:
        click.echo(f"{counted(resolved, 'mail')} {'will be sent again' if how == 'resend' else 'dropped'}")


@digest.command()
def pause() -> None:
    """Send no digest, and compile none, until `resume`. Single mails, such as confirmations, still go out."""
    _set_paused(find_settings(), True)
    click.echo("Digests are paused")


@digest.command()
def resume() -> None:
    """Go on after `pause`."""
    settings = find_settings()
    _set_paused(settings, False)
    asyncio.run(_ring(settings))
    click.echo("Digests go on")


@digest.command()
@click.argument("number", type=click.IntRange(min=1), metavar="ISSUE")
@click.option("--yes", is_flag=True, help="Don't ask.")
def cancel(number: int, yes: bool) -> None:
    """Send no further mail of ISSUE; what went out stays sent, and the next issue tells of its period too."""
    settings = find_settings()
    if not yes and sys.stdin.isatty():
        click.confirm(f"Stop issue {number} for good?", abort=True, err=True)
    from services.cli.terminal import counted
    from services.newsletter import issues

    stopped = _on_database(settings, lambda connection: issues.cancel(connection, number))
    click.echo(f"Issue {number} is cancelled; {counted(stopped, 'mail')} not sent")


async def _late(settings: Settings, connection: Any) -> str | None:
    from services.clock import now
    from services.newsletter import issues, schedule_run

    return await issues.late(connection, schedule_run.schedule_of(settings.newsletter), now())


def _set_paused(settings: Settings, paused: bool) -> None:
    from services.newsletter import issues

    _on_database(settings, lambda connection: issues.set_paused(connection, paused))


def _on_database(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do some work on a connection of its own."""

    async def connected() -> T:
        from events.log import postgres

        connection = await postgres.connect(settings.database_url, "shell")
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


async def _ring(settings: Settings) -> None:
    from redis.asyncio import Redis

    from services.newsletter.doorbell import ring

    async with Redis.from_url(settings.redis_url, socket_connect_timeout=1) as valkey:
        await ring(valkey)


def _in_words(counts: dict[str, int]) -> str:
    """Write accounts, leaving out what is nil."""
    return " + ".join(f"{number} {state}" for state, number in counts.items() if number) or "0"
