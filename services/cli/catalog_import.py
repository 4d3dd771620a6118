"""Import a catalog file from the command line."""

from pathlib import Path

from events.catalog_file import CatalogFile, CatalogInvalid
from events.commands.catalog import ImportCatalog
from services.clock import fresh_id
from services.settings import Settings
from services.submit import OPERATOR, submit
from services.web.http.bodies import BodyReader
from services.web.http.problems import BadInput


class CatalogRefused(Exception):
    """The file can't be imported; the message is one sentence with the first fault's JSON pointer."""


async def import_catalog(settings: Settings, path: Path) -> int:
    """Append what a catalog file changes; give how many events that were.

    CatalogRefused for a file that can't be read or says what can't be; LogUnavailable.
    """
    file = _read(path)
    try:
        receipt = await submit(settings, ImportCatalog(file, fresh_id, OPERATOR))
    except CatalogInvalid as error:
        raise _refused(path, error.faults) from None
    return receipt.appended


def _read(path: Path) -> CatalogFile:
    try:
        return BodyReader(CatalogFile).read(b"application/json", path.read_bytes())
    except OSError as error:
        raise CatalogRefused(f"{path} can't be read: {error.strerror}") from None
    except BadInput as error:
        raise _refused(path, [(fault.pointer, fault.detail) for fault in error.errors]) from None


def _refused(path: Path, faults: list[tuple[str, str]]) -> CatalogRefused:
    (pointer, detail), *others = faults
    more = f" (and {len(others)} more)" if others else ""
    return CatalogRefused(f"{path} can't be imported, at {pointer or 'its beginning'}: {detail}{more}")
