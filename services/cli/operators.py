"""`ballotpress operators sessions|end|log`: who has signed in, an end to that, and who did what."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import rich_click as click

from services.cli.database import asynchronous, connected, operator_of
from services.cli.options import Whole, json_option
from services.cli.terminal import counted, show, utc
from services.embedded.start import find_settings
from services.operators.deeds import NAMED

if TYPE_CHECKING:
    from services.operators.export import Form
    from services.operators.log import Action, Asked, Database

_MOST_SESSIONS: Final = 1_000
_MOST_ACTIONS: Final = 10_000_000
_TIME: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])


@click.group()
def operators() -> None:
    """See who has signed in and who did what, and end sessions."""


@operators.command()
@json_option
@asynchronous
async def sessions(as_json: bool) -> None:
    """List the sessions that are open on the operators' pages, the last used first."""
    settings = find_settings()
    from services.operators.sessions import Sessions

    async with connected(settings, seconds=60) as connection:
        found = await Sessions(connection, settings).read(_MOST_SESSIONS)
    lines = [
        f"{one.id}  {one.operator}  by {'a token' if one.how == 'token' else 'the provider'}\n"
        f"  {one.browser}, from {one.network}, since {utc(one.began_at)}, last seen {utc(one.seen_at)}"
        for one in found
    ]
    show(as_json, {"items": found}, *(lines or ["Nobody has signed in"]))


@operators.command()
@click.argument("session", nargs=-1)
@click.option("--operator", help="End all sessions of this operator.")
@click.option("--all", "everybody", is_flag=True, help="End all sessions.")
@json_option
@asynchronous
async def end(session: tuple[str, ...], operator: str | None, everybody: bool, as_json: bool) -> None:
    """End SESSIONs by their ids: they are worth nothing from now on, in any process."""
    if (bool(session), operator is not None, everybody).count(True) != 1:
        raise click.UsageError("Name sessions, or an operator by --operator, or --all")
    settings = find_settings()
    from services.operators import sessions as rows

    async with connected(settings, seconds=60) as connection:
        ended = await rows.end(connection, operator_of(settings), session or None, operator)
    show(as_json, {"ended": ended}, f"Ended {counted(len(ended), 'session')}" if ended else "No such session is open")


@operators.command()
@click.option("--operator", help="What this operator did.")
@click.option("--kind", type=click.Choice(NAMED), help="Only this kind.")
@click.option("--about", help="Only what concerns a tool (its slug), an id, or a stream.")
@click.option("--since", type=_TIME, help="From this day or time on (UTC).")
@click.option("--until", type=_TIME, help="Before this day or time (UTC).")
@click.option("--most", type=Whole(1, _MOST_ACTIONS), default=50, help="So many, the newest.  [default: 50]")
@click.option("--csv", "form", flag_value="csv", help="All of them as CSV.")
@click.option("--jsonl", "form", flag_value="jsonl", help="All of them as lines of JSON.")
@json_option
@asynchronous
async def log(
    operator: str | None,
    kind: str | None,
    about: str | None,
    since: datetime | None,
    until: datetime | None,
    most: int,
    form: "Form | None",
    as_json: bool,
) -> None:
    """Tell who did what, the newest first."""
    settings = find_settings()
    from services.operators import log as told
    from services.operators.deeds import KINDS as ALL

    kinds = frozenset(one for one in ALL if kind in (None, one))
    asked = told.Asked(kinds=kinds, operator=operator, about=about, since=_utc(since), until=_utc(until))
    async with connected(settings, seconds=60) as connection:
        if form is not None:
            await _write(connection, asked, form)
            return
        found = await told.read(connection, asked, told.TOP, most)
    show(as_json, {"items": found}, *(map(_line, found) if found else ["No operator did anything of the kind"]))


async def _write(connection: "Database", asked: "Asked", form: "Form") -> None:
    from services.operators import log as told
    from services.operators.export import lines

    async for piece in lines(form, told.read_all(connection, asked, _MOST_ACTIONS)):
        click.echo(piece, nl=False)


def _line(action: "Action") -> str:
    why = f": {action.reason}" if action.reason else ""
    return f"{action.position:>10} {utc(action.at)} {action.operator} {action.what}{why}"


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
