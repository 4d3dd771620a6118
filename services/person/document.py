"""The table of what is kept, as a document: for operators, who owe others such a record, and for docs/privacy.md."""

from collections.abc import Iterable, Iterator

from services.person.kept import COPIES, GROUNDS, WHENS, Impersonal, Kept
from services.person.table import IMPERSONAL, KEPT


def document() -> str:
    """Return the whole table in Markdown."""
    return "\n".join([*_about_people(), "## About nobody", "", *_about_nobody(), ""])


def _about_people() -> Iterator[str]:
    for when, heading in WHENS.items():
        yield from (f"## {heading}", "")
        for row in KEPT:
            if row.when == when:
                yield from _row(row)


def _row(row: Kept) -> Iterator[str]:
    yield from (f"### {row.name}", "", row.what, "")
    yield f"- **About:** {row.about}, found by {row.found}"
    yield f"- **How long:** {row.until}"
    yield f"- **Why:** {GROUNDS[row.ground]}"
    yield f"- **Erasure:** {row.erasure}"
    yield f"- **Also in:** {COPIES[row.copies]}"
    yield f"- **Where:** {'; '.join(_places(row))}"
    yield ""


def _about_nobody() -> Iterator[str]:
    for row in IMPERSONAL:
        yield f"- {row.what} In {'; '.join(_places(row))}."


def _places(row: Kept | Impersonal) -> Iterator[str]:
    """Return where a row's things are, a kind of place each."""
    tables = [f"{table} ({columns.replace(' ', ', ')})" if columns else table for table, columns in _tables(row)]
    for kind, places in (("events", row.events), ("tables", tables), ("keys in Valkey", row.keys), ("files", row.files)):
        if places:
            yield f"{kind} {', '.join(f'`{place}`' for place in places)}"


def _tables(row: Kept | Impersonal) -> Iterable[tuple[str, str]]:
    return row.tables.items() if isinstance(row, Kept) else ((table, "") for table in row.tables)
