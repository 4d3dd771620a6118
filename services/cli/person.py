"""`ballotpress person`: what is kept about people; a copy of one's data, and its erasure."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import rich_click as click
from msgspec.structs import asdict

from services.cli.database import asynchronous, committer_of, connected, operator_of, submit
from services.cli.options import confirm, json_option, yes_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from services.person.copies import Sources
    from services.person.erasure import Erased

NOBODY: Final = "Nothing to erase: this person is unknown, or was erased already"


@click.group()
def person() -> None:
    """Say what is kept about people; copy or erase a person's data."""


@person.command()
def kept() -> None:
    """Print everything that is kept, where, how long and why, in Markdown: for your record of processing (GDPR, Art. 30)."""
    from services.person.document import document

    click.echo(document(), nl=False)


@person.command()
@click.argument("who", metavar="EMAIL|VISITOR")
@asynchronous
async def export(who: str) -> None:
    """Print everything that is kept about a person, as JSON: an address's reader and its browsers, or a visitor by its number.

    The log records that a copy was made, and not of whose data.
    """
    await export_person(who)


@person.command()
@click.argument("who", metavar="EMAIL|VISITOR")
@yes_option
@json_option
@asynchronous
async def erase(who: str, yes: bool, as_json: bool) -> None:
    """Destroy what is kept about a person: an address's reader with what its browsers wrote, or a visitor by its number.

    Votes hold nothing personal and stay counted. A suppressed address leaves a keyed hash (HMAC). Backups are told when one is
    brought back.
    """
    confirm("This can't be undone. Erase this person?", yes)
    erased = await erase_person(who)
    if erased is None or not erased.appended:
        show(as_json, {"erased": False}, NOBODY)
        return
    gone = (counted(erased.reviews, "review"), counted(erased.reports, "report"), counted(erased.bookmarks, "bookmark"))
    said = f"Erased, with {', '.join(gone)}. What remains:"
    show(as_json, {"erased": True, **asdict(erased)}, said, *(f"  {line}" for line in erased.remains))


async def export_person(who: str) -> None:
    """Print everything that is kept about a person, and record that a copy was made. Raises AddressRefused."""
    settings = find_settings()
    import msgspec

    from events.commands.erasure import NoteRequest
    from services.clock import fresh_id, now
    from services.person.copies import copy_of

    async with _sources(settings) as sources:
        found, copied = await copy_of(sources, who, now())
    if found.id is not None:
        await submit(settings, NoteRequest(request=fresh_id(), kind="copy", of=found.of, operator=operator_of(settings)))
    click.echo(msgspec.json.format(msgspec.json.encode(copied)))


async def erase_person(who: str) -> "Erased | None":
    """Erase a person, and record that this was asked; None if there is nobody. Raises AddressRefused."""
    settings = find_settings()
    from services.person.copies import find
    from services.person.erasure import erase

    async with _sources(settings) as sources, committer_of(settings) as committer:
        found = await find(sources.database, sources.vault, who)
        return await erase(sources, committer, settings.home, found, operator_of(settings))


@contextlib.asynccontextmanager
async def _sources(settings: Settings) -> "AsyncIterator[Sources]":
    from events.log.vault import Vault
    from services import valkey
    from services.person.copies import Sources

    async with connected(settings) as connection, valkey.client(settings.redis_url, socket_timeout=1) as client:
        yield Sources(connection, Vault(settings.vault_keys), client)
