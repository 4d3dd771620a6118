"""`ballotpress visitors erase`: destroy what a visitor wrote."""

import rich_click as click

from services.cli.database import OPERATOR, asynchronous, submit
from services.cli.options import Visitor, confirm, json_option, yes_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings


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
    settings = find_settings()
    confirm("This can't be undone. Erase what this visitor wrote?", yes)
    from events.commands.erasure import EraseVisitor

    receipt = await submit(settings, EraseVisitor(visitor, OPERATOR))
    erased = receipt.value
    said = f"Erased {counted(erased.reviews, 'review')} and {counted(erased.bookmarks, 'bookmark')}"
    if not receipt.appended:
        said = "Nothing to erase: this visitor is unknown or was erased already"
    show(as_json, {"reviews": erased.reviews, "bookmarks": erased.bookmarks, "appended": receipt.appended}, said)
