"""`ballotpress catalog import`: append what a catalog file changes."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import rich_click as click

from services.cli.database import asynchronous, committer_of, operator_of
from services.cli.options import json_option
from services.cli.terminal import counted, progress, show
from services.embedded.start import find_settings
from services.settings import Settings

if TYPE_CHECKING:
    from events.catalog_file import CatalogFile


@click.group()
def catalog() -> None:
    """Load tools, the panel's reviews and announced comparisons."""


@catalog.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@asynchronous
async def import_(file: Path, as_json: bool) -> None:
    """Append the changes that FILE makes to the present catalog. Importing the same FILE again appends nothing."""
    appended = await import_catalog(find_settings(), file)
    show(as_json, {"appended": appended}, f"Appended {counted(appended, 'event')}")


async def import_catalog(settings: Settings, path: Path) -> int:
    """Append what a catalog file changes; return the number of events.

    Raises click.ClickException with each fault's JSON pointer for a file that can't be imported, and LogUnavailable.
    """
    from events.catalog_file import CatalogInvalid
    from events.commands.catalog import ImportCatalog
    from services.clock import fresh_id

    file = read_catalog(path)
    try:
        with progress("Importing the catalog") as report:
            async with committer_of(settings) as committer:
                return (await committer.submit(ImportCatalog.of(file, fresh_id, operator_of(settings)), report)).value
    except CatalogInvalid as error:
        raise _refused(path, error.faults) from None


def read_catalog(path: Path) -> "CatalogFile":
    """Return a catalog file's content. Raises click.ClickException with its faults."""
    import msgspec

    from events.catalog_file import CatalogFile
    from services.json_input import UNREADABLE, JsonReader, bad_texts, fault_of

    try:
        raw = path.read_bytes()
        return JsonReader(CatalogFile).read(raw)
    except OSError as error:
        raise click.ClickException(f"{path} can't be read: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise _refused(path, [fault_of(error, CatalogFile)]) from None
    except UNREADABLE as error:
        if faults := list(bad_texts(raw)):
            raise _refused(path, faults) from None
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise click.ClickException(f"{path} isn't valid JSON: {reason}") from None


def _refused(path: Path, faults: list[tuple[str, str]]) -> click.ClickException:
    told = [f"at {pointer or 'its beginning'}: {detail.removesuffix('.')}" for pointer, detail in faults[:_TOLD]]
    left = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
    return click.ClickException(f"{path} can't be imported, {'; '.join(told + left)}")


_TOLD: Final = 20
"""Faults that are told one by one: who mends a file mends them together."""
