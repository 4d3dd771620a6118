"""`ballotpress visitors erase`: destroy what a visitor wrote."""

import asyncio
import sys

import rich_click as click

from services.cli.options import Visitor
from services.embedded.start import find_settings


@click.group()
def visitors() -> None:
    """Erase a visitor."""


@visitors.command()
@click.argument("visitor", type=Visitor())
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def erase(visitor: str, yes: bool, as_json: bool) -> None:
    """Destroy what VISITOR wrote: its reviews and bookmarks. Its votes hold nothing personal and stay counted."""
    settings = find_settings()
    if not yes and sys.stdin.isatty():
        click.confirm("This can't be undone. Erase what this visitor wrote?", abort=True, err=True)
    from events.commands.erasure import EraseVisitor
    from services.cli.terminal import counted, print_json
    from services.submit import OPERATOR, submit

    receipt = asyncio.run(submit(settings, EraseVisitor(visitor, OPERATOR)))
    erased = receipt.value
    if as_json:
        print_json({"reviews": erased.reviews, "bookmarks": erased.bookmarks, "appended": receipt.appended})
    elif receipt.appended:
        click.echo(f"Erased {counted(erased.reviews, 'review')} and {counted(erased.bookmarks, 'bookmark')}")
    else:
        click.echo("Nothing to erase: this visitor is unknown or was erased already")
