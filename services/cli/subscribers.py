"""`ballotpress subscribers`: import people who consented elsewhere, prove consent, take back suppressions, export or erase."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from services.cli.database import asynchronous, committer_of, connected, operator_of, submit
from services.cli.options import Reason, confirm, json_option, yes_option
from services.cli.person import NOBODY, erase_person, export_person
from services.cli.terminal import counted, progress, show, utc
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.newsletter.consents import Consent
    from services.newsletter.imports import ImportCounts


@click.group()
def subscribers() -> None:
    """Import subscribers; list and take back suppressions; prove consent; export or erase a person's data."""


@subscribers.command("import")
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--proof", type=Reason(), help="How and when these people consented, for rows without a column proof.")
@click.option("--dates", type=click.Choice(["day-first", "month-first"]), help="How to read dates such as 03/04/2026.")
@click.option("--ignore", metavar="COLUMN", multiple=True, help="Don't name this column as not read. May be repeated.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@json_option
@asynchronous
async def import_(
    file: Path,
    proof: str | None,
    dates: Literal["day-first", "month-first"] | None,
    ignore: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Import the file CSV: the columns email, proof (of consent) and categories (separated by ;), or another system's export.

    The file is read whole first. Each refused row is named on stderr, and the rest is imported; the status is 1 if any was
    refused. Known and suppressed addresses stay as they are; who left elsewhere, or never confirmed there, is left out.
    """
    done = await _import(find_settings(), file, dry_run, proof=proof or "", dates=dates, ignore=ignore)
    show(as_json, done, *_in_words(done, dry_run))
    return 1 if done.refused else 0


async def _import(settings: Settings, file: Path, dry_run: bool, **chosen: Any) -> "ImportCounts":
    from events.log.vault import Vault
    from projections import tools
    from services.newsletter.columns import Rules
    from services.newsletter.imports import check, foresee, import_subscribers

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection:
        finder = await vault.finder(connection)
        offered = [category.name for category in await tools.categories(connection)]
        rules = Rules(offered=offered, **chosen)
        checked = check(file, rules, finder, _report)
        with progress("Importing") as advance:
            if dry_run:
                return await foresee(connection, finder, checked, advance)
            async with committer_of(settings) as committer:
                return await import_subscribers(committer, vault, finder, checked, rules, operator_of(settings), advance)


def _report(line: int, reason: str) -> None:
    click.echo(f"line {line} was refused: {reason}", err=True)


def _in_words(done: "ImportCounts", dry_run: bool) -> Iterator[str]:
    did = "Would import" if dry_run else "Imported"
    said = f"{did} {counted(done.imported, 'subscriber')}; {done.known} known before, {done.refused} refused"
    said += f", {done.left} left out who had left elsewhere" if done.left else ""
    yield said + (f", {done.unconfirmed} who never confirmed there" if done.unconfirmed else "")
    if done.not_read:
        yield f"Not read: {', '.join(done.not_read)}"


@subscribers.command()
@click.option("--most", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many, the last first.")
@json_option
@asynchronous
async def suppressed(most: int, as_json: bool) -> None:
    """List suppressed subscribers, to whom nothing is sent, each with the reason and the time."""
    settings = find_settings()
    from events.log.vault import Vault
    from services.newsletter.subscribers import read_suppressed

    async with connected(settings) as connection:
        found = await read_suppressed(connection, Vault(settings.vault_keys), None, most)
    lines = [f"{utc(one.since)}  {one.email or one.subscriber}  {one.reason}" for one in found]
    show(as_json, found, *(lines or ["Nobody is suppressed"]))


@subscribers.command()
@click.argument("email")
@click.option("--reason", required=True, type=Reason(), help="Why, in one line. The log keeps it.")
@json_option
@asynchronous
async def reinstate(email: str, reason: str, as_json: bool) -> int:
    """Take the suppression of EMAIL back: mail is sent there again. The status is 1 if no such subscriber is suppressed."""
    settings = find_settings()
    from events.commands.subscribers import ReinstateSubscriber
    from events.log.vault import Vault
    from services.newsletter.subscribers import find

    async with connected(settings) as connection:
        person, why = await find(connection, await Vault(settings.vault_keys).finder(connection), email)
    if person is None or why is None:
        show(as_json, {"reinstated": False}, "No subscriber of this address is suppressed")
        return 1
    receipt = await submit(settings, ReinstateSubscriber(person, reason, operator_of(settings)))
    show(as_json, {"reinstated": True, "position": receipt.position}, f"Reinstated; it was suppressed for: {why}")
    return 0


@subscribers.command()
@click.argument("email")
@json_option
@asynchronous
async def consent(email: str, as_json: bool) -> int:
    """Print the proof of EMAIL's consent: when, by which form and words, how it was confirmed, and what changed since.

    The status is 1 for an address that nobody signed up. What was erased can't be proved, nor need it be.
    """
    settings = find_settings()
    from events.log.vault import Vault
    from services.newsletter.consents import read_consent
    from services.newsletter.subscribers import find

    vault = Vault(settings.vault_keys)
    async with connected(settings) as connection:
        person, _ = await find(connection, await vault.finder(connection), email)
        named = settings.identity.newsletter_name, settings.newsletter.hour
        found = None if person is None else await read_consent(connection, vault, person, *named)
    if found is None:
        show(as_json, None, "This address is unknown: nobody signed it up, or it was erased")
        return 1
    show(as_json, found, *_proof(found))
    return 0


def _proof(consent: "Consent") -> Iterator[str]:
    yield f"{consent.email or consent.subscriber}: {consent.status}"
    for step in consent.steps:
        yield f"{utc(step.at)}  {step.what}"
        form = f"by form {step.form}, " if step.form else ""
        by = f", by operator {step.operator}" if step.operator else ""
        yield f"  {form}event {step.position} of the log{by}"
        if step.token:
            yield f"  SHA-256 of the token: {step.token}"
        if step.evidence:
            yield f"  evidence: {step.evidence}"
    for form, words in consent.words.items():
        yield f"The words of {form}: {words}"


@subscribers.command()
@click.argument("email")
@asynchronous
async def export(email: str) -> None:
    """Print everything that is kept about EMAIL, as JSON: `person export` under its older name."""
    await export_person(email)


@subscribers.command()
@click.argument("email")
@yes_option
@asynchronous
async def erase(email: str, yes: bool) -> None:
    """Destroy what is kept about EMAIL, and what its visitors wrote. A suppressed address leaves a keyed hash (HMAC)."""
    confirm("This can't be undone. Erase this person?", yes)
    erased = await erase_person(email)
    click.echo(NOBODY if erased is None or not erased.appended else "Erased")
