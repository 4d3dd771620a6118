"""`ballotpress webhooks`: who is told of what happens, by signed POSTs."""

from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from services.cli.database import PATIENCE, asynchronous, committer_of, connected, operator_of, submit
from services.cli.options import Reason, Whole, confirm, json_option, yes_option
from services.cli.terminal import counted, show, utc
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.webhooks.operations import Made
    from services.webhooks.subscriptions import Webhook

KINDS: Final = ("verdict.changed", "settled.changed", "correction.made", "review.waits", "issue.sent")
MOST_HOURS: Final = 168


@click.group()
def webhooks() -> None:
    """Tell addresses of what happens here, by signed POSTs."""


@webhooks.command()
@click.argument("url")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="A kind of messages.  [default: all]")
@click.option("--note", default="", help="A note for operators.")
@json_option
@asynchronous
async def add(url: str, kinds: tuple[Any, ...], note: str, as_json: bool) -> None:
    """Tell URL of what happens from now on. Prints the secret, this once."""
    settings = find_settings()
    from events.log.vault import Vault
    from services.webhooks import operations

    loopback = settings.webhook_loopback
    async with connected(settings, seconds=60) as connection, committer_of(settings) as committer:
        made = await operations.add(
            connection,
            committer,
            Vault(settings.vault_keys),
            url,
            kinds or KINDS,
            note,
            operator_of(settings),
            allow_loopback=loopback,
        )
    _show_made(as_json, made)


def _show_made(as_json: bool, made: "Made", *more: str) -> None:
    show(as_json, made, *_lines(made.webhook), f"The secret, shown this once: {made.secret}", *more)


@webhooks.command("list")
@json_option
@asynchronous
async def list_(as_json: bool) -> None:
    """List the webhooks, the oldest first."""
    settings = find_settings(needs_keys=False)
    from services.webhooks.subscriptions import read_all

    async with connected(settings, seconds=60) as connection:
        found = await read_all(connection)
    show(as_json, {"webhooks": found}, *([line for one in found for line in _lines(one)] or ["Nobody is told of anything"]))


@webhooks.command("show")
@click.argument("webhook")
@json_option
@asynchronous
async def show_(webhook: str, as_json: bool) -> None:
    """Show WEBHOOK, and how its deliveries fare."""
    await _show_now(find_settings(needs_keys=False), webhook, as_json)


@webhooks.command()
@click.argument("webhook")
@click.option("--reason", type=Reason(), default=None, help="Why, for other operators.")
@json_option
@asynchronous
async def off(webhook: str, reason: str | None, as_json: bool) -> None:
    """Turn WEBHOOK off. Once this has ended, nothing more arrives there."""
    settings = find_settings(needs_keys=False)
    from events.commands.webhooks import SwitchWebhook

    await submit(settings, SwitchWebhook(id=webhook, by=operator_of(settings), on=False, reason=reason or ""))
    await _show_now(settings, webhook, as_json, seconds=PATIENCE)


@webhooks.command()
@click.argument("webhook")
@json_option
@asynchronous
async def on(webhook: str, as_json: bool) -> None:
    """Turn WEBHOOK on again: what happened meanwhile is sent."""
    settings = find_settings(needs_keys=False)
    from events.commands.webhooks import SwitchWebhook

    await submit(settings, SwitchWebhook(id=webhook, by=operator_of(settings), on=True))
    await _show_now(settings, webhook, as_json)


@webhooks.command()
@click.argument("webhook")
@click.option("--from", "position", type=Whole(1), required=True, help="The first position to send.")
@json_option
@asynchronous
async def replay(webhook: str, position: int, as_json: bool) -> None:
    """Send WEBHOOK the messages from a position on, equal in every byte and id to those that were sent before."""
    settings = find_settings(needs_keys=False)
    from events.commands.webhooks import ReplayWebhook

    await submit(settings, ReplayWebhook(id=webhook, by=operator_of(settings), position=position))
    found = await _show_now(settings, webhook, as_json)
    if found.position < position - 1:
        click.echo(f"The log ends before {position:,}: nothing is sent again, and what comes next is sent as ever", err=True)


@webhooks.command()
@click.argument("webhook")
@click.option(
    "--hours", type=Whole(0, MOST_HOURS), default=24, help="For how long the secrets before it still sign.  [default: 24]"
)
@json_option
@asynchronous
async def rotate(webhook: str, hours: int, as_json: bool) -> None:
    """Sign WEBHOOK's messages under a new secret. Prints it, this once."""
    settings = find_settings()
    from events.log.vault import Vault
    from services.webhooks import operations

    async with connected(settings, seconds=60) as connection, committer_of(settings) as committer:
        vault, by = Vault(settings.vault_keys), operator_of(settings)
        made = await operations.rotate(connection, committer, vault, webhook, hours, by)
    before = f"Those before it sign for {counted(hours, 'hour')} more" if hours else "Those before it sign no more"
    _show_made(as_json, made, before)


@webhooks.command()
@click.argument("webhook")
@json_option
@asynchronous
async def test(webhook: str, as_json: bool) -> int:
    """Send WEBHOOK a message of the kind webhook.test now; the exit status is 1 if it isn't taken."""
    settings = find_settings()
    from events.log.vault import Vault
    from services.webhooks import operations
    from services.webhooks.posting import Poster

    poster = Poster(allow_loopback=settings.webhook_loopback)
    async with connected(settings, seconds=60) as connection:
        reply = await operations.send_trial(connection, Vault(settings.vault_keys), poster, webhook)
    said = f"It was not taken: {reply.failed}" if reply.failed else f"It was taken ({reply.status})"
    show(as_json, {"status": reply.status, "failed": reply.failed}, said)
    return int(reply.failed is not None)


@webhooks.command()
@click.argument("webhook")
@yes_option
@json_option
@asynchronous
async def remove(webhook: str, yes: bool, as_json: bool) -> None:
    """Remove WEBHOOK, and destroy its secrets."""
    settings = find_settings(needs_keys=False)
    confirm(f"Remove the webhook {webhook} and destroy its secrets?", yes)
    from events.commands.webhooks import RemoveWebhook

    await submit(settings, RemoveWebhook(id=webhook, by=operator_of(settings)))
    show(as_json, {"id": webhook}, "Nothing is sent there any more")


async def _show_now(settings: Settings, webhook: str, as_json: bool, seconds: float = 0) -> "Webhook":
    """Show a webhook, at most so long after what is in flight has ended, and return it."""
    from services.webhooks.operations import when_quiet

    async with connected(settings, seconds=60) as connection:
        found = await when_quiet(connection, webhook, seconds)
    show(as_json, found, *_lines(found))
    return found


def _lines(one: "Webhook") -> list[str]:
    """Return what is said of a webhook."""
    state = "on" if one.is_on else f"off since {utc(one.off_at)}: {one.off_reason}" if one.off_at else "off"
    lines = [f"{one.id}  {one.url}", f"  {state}; told up to {one.position}, {counted(one.lag, 'position')} behind"]
    if one.is_on and one.failures:
        again = f", again {utc(one.next_attempt_at)}" if one.next_attempt_at else ""
        lines.append(f"  failed {counted(one.failures, 'time')} in a row: {one.failed}{again}")
    if one.in_flight and not one.is_on:
        lines.append("  a delivery may still be in flight")
    note = f"; {one.note}" if one.note else ""
    return [*lines, f"  {', '.join(one.kinds)}{note}"]
