"""`ballotpress catalog import`: append what a catalog file changes."""

import asyncio
from pathlib import Path

import rich_click as click

from services.embedded.start import find_settings


@click.group()
def catalog() -> None:
    """Load tools, the panel's reviews and announced comparisons."""


@catalog.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(file: Path, as_json: bool) -> None:
    """Append what differs from the present catalog; the same FILE twice appends nothing."""
    settings = find_settings()
    from services.cli.catalog_import import import_catalog
    from services.cli.terminal import counted, print_json

    appended = asyncio.run(import_catalog(settings, file))
    if as_json:
        print_json({"appended": appended})
    else:
        click.echo(f"Appended {counted(appended, 'event')}")
