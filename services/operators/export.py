"""The operators' log as a file: lines of JSON, or CSV that no spreadsheet takes for formulas."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import msgspec

from services.operators.log import Action

Form = Literal["csv", "jsonl"]
COLUMNS: Final = ("position", "at", "operator", "kind", "type", "what", "reason", "subject", "link")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""
_encoder: Final = msgspec.json.Encoder()


async def lines(form: Form, pages: AsyncIterator[Sequence[Action]]) -> AsyncIterator[bytes]:
    """Yield a file of actions, a page at a time."""
    write = _csv if form == "csv" else _jsonl
    if form == "csv":
        yield (",".join(COLUMNS) + "\r\n").encode()
    async for page in pages:
        yield write(page)


def _jsonl(page: Sequence[Action]) -> bytes:
    return b"".join(_encoder.encode(action) + b"\n" for action in page)


def _csv(page: Sequence[Action]) -> bytes:
    written = io.StringIO()
    rows = csv.writer(written)  # as RFC 4180 says
    for action in page:
        rows.writerow([_cell(getattr(action, name)) for name in COLUMNS])
    return written.getvalue().encode()


def _cell(value: object) -> str:
    """Return a value as text that stays text: a quote before what would be a formula shows it as it is."""
    text = value.isoformat() if hasattr(value, "isoformat") else "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text
