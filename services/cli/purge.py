"""`ballotpress purge`: have shared caches forget public pages now."""

import re

import rich_click as click

from events.log.ids import SLUG
from services.cli.database import asynchronous
from services.cli.options import json_option
from services.cli.terminal import counted, show
from services.embedded.start import find_settings


@click.command()
@click.argument("tools", nargs=-1, metavar="[TOOL]...")
@json_option
@asynchronous
async def purge(tools: tuple[str, ...], as_json: bool) -> None:
    """Have shared caches forget the pages that show each TOOL (a slug), and the lists; without any, all public pages.

    The worker does so by itself as the log moves. This is for what the log doesn't tell: another theme, or a view that was
    rebuilt.
    """
    for tool in tools:
        if not re.search(SLUG, tool):
            raise click.BadParameter(f"{tool!r} is no slug, which is what follows /tools/ in an address", param_hint="TOOL")
    settings = find_settings()
    from services.purge.hook import PurgeFailed, call, hook_of
    from services.purge.tags import EVERYTHING, tags_of_tools

    hook = hook_of(settings)
    if hook is None:
        raise PurgeFailed("No cache is told anything: set BALLOTPRESS_PURGE_URL")
    tags = tags_of_tools(tools) if tools else [EVERYTHING]
    if (wrong := await call(hook, tags)) is not None:
        raise PurgeFailed(f"The cache wasn't told: {wrong}. Check BALLOTPRESS_PURGE_URL and BALLOTPRESS_PURGE_HEADER")
    show(as_json, {"tags": tags}, f"The cache was told to forget {counted(len(tags), 'tag')}: {', '.join(tags)}")
