"""`ballotpress visitors erase`: destroy what a visitor wrote."""

import rich_click as click

from services.cli.database import asynchronous
from services.cli.options import Visitor, confirm, json_option, yes_option
from services.cli.person import NOBODY, erase_person
from services.cli.terminal import counted, show


@click.group()
def visitors() -> None:
    """Erase a visitor."""


@visitors.command()
@click.argument("visitor", type=Visitor())
@yes_option
@json_option
@asynchronous
async def erase(visitor: str, yes: bool, as_json: bool) -> None:
    """Destroy what VISITOR wrote: its reviews and bookmarks. Its votes hold nothing personal and stay counted."""
    confirm("This can't be undone. Erase what this visitor wrote?", yes)
    erased = await erase_person(visitor)
    assert erased is not None  # noqa: S101 - only an address may be unknown
    said = f"Erased {counted(erased.reviews, 'review')} and {counted(erased.bookmarks, 'bookmark')}"
    if not erased.appended:
        said = NOBODY
    show(as_json, {"reviews": erased.reviews, "bookmarks": erased.bookmarks, "appended": erased.appended}, said)
