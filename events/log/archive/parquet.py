"""A part of the log as one Parquet file: an event a row, as it was recorded, and a manifest with the export's hash chain.

So whoever reads all of a file knows that it wasn't changed or cut short. pyarrow comes with `ballotpress[archive]`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final, Self
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from events.log.archive.state import FileBroken
from events.log.export import FORMAT, Chain, Manifest, line
from events.log.store import NO_META, RecordedRow

ROWS_AT_ONCE: Final = 65_536
"""Events a row group: what is read to find one event."""

_LEVEL: Final = 9  # of zstd
_MANIFEST: Final = b"ballotpress.manifest"
_TEXT: Final = pa.string()
_SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("stream", pa.binary(16), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("type", _TEXT, nullable=False),
        pa.field("schema_version", pa.int16(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("data", _TEXT, nullable=False),
        pa.field("meta", _TEXT),
    ]
)
_DELTAS: Final = {"position": "DELTA_BINARY_PACKED", "recorded_at": "DELTA_BINARY_PACKED"}

_manifests = msgspec.json.Decoder(Manifest)
_encode = msgspec.json.Encoder().encode


class Writer:
    """Writes one file; `close` puts the manifest at its end, without which it is not whole."""

    def __init__(self, path: Path, first: int, last: int) -> None:
        self._writer = pq.ParquetWriter(
            path, _SCHEMA, compression="zstd", compression_level=_LEVEL, write_page_checksum=True, version="2.6",
            use_dictionary=["version", "type", "schema_version"], column_encoding=_DELTAS,
        )  # fmt: skip
        self._places = (first, last)
        self._chain = Chain()

    def __enter__(self) -> Self:
        """Begin the file."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the file; without its manifest nobody takes it for one."""
        self._writer.close()

    def write(self, rows: Sequence[RecordedRow]) -> None:
        """Write some events, one row group."""
        for row in rows:
            self._chain.take(line(row))
        columns = [
            [row.position for row in rows],
            [row.stream.bytes for row in rows],
            [row.version for row in rows],
            [row.type for row in rows],
            [row.schema_version for row in rows],
            [row.recorded_at for row in rows],
            [bytes(row.data).decode() for row in rows],
            [None if row.meta == NO_META else bytes(row.meta).decode() for row in rows],
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))

    def close(self, now: datetime) -> Manifest:
        """Write the manifest, last. Raises FileBroken if there are more or fewer events than positions."""
        first, last = self._places
        if self._chain.lines != last - first + 1:
            raise FileBroken(f"{self._chain.lines} events were to be archived as positions {first} to {last}")
        manifest = Manifest(
            format=FORMAT, events=self._chain.lines, first_position=first, last_position=last, partial=True,
            sha256=self._chain.digest().hex(), release=version("ballotpress"), exported_at=now,
        )  # fmt: skip
        self._writer.add_key_value_metadata({_MANIFEST: _encode(manifest)})
        self._writer.close()
        return manifest


class Reader:
    """Reads one file: `name` is what messages call it. Raises FileBroken wherever it isn't what was written."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self._name = name
        try:
            self._file = pq.ParquetFile(source, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None
        if self._file.schema_arrow.names != _SCHEMA.names:
            raise FileBroken(f"{name} is no part of a log")
        try:
            self.manifest = _manifests.decode((self._file.metadata.metadata or {})[_MANIFEST])
        except (KeyError, msgspec.DecodeError):
            raise FileBroken(f"{name} has no manifest: it was never finished, or isn't ours") from None

    def rows(self) -> Iterator[Sequence[RecordedRow]]:
        """Return all events, a row group at a time; after the last it is known that none was changed."""
        chain = Chain()
        for group in range(self._file.num_row_groups):
            rows = self._group(group)
            for row in rows:
                chain.take(line(row))
            yield rows
        if (chain.lines, chain.digest().hex()) != (self.manifest.events, self.manifest.sha256):
            raise FileBroken(f"{self._name} was changed after it was written: its hash is not the manifest's")

    def between(self, first: int, last: int) -> list[RecordedRow]:
        """Return the events from one position to another. Nothing but the checksums of their pages says that they are right."""
        found = []
        for group in range(self._file.num_row_groups):
            bounds = self._file.metadata.row_group(group).column(0).statistics
            if bounds is not None and bounds.min <= last and bounds.max >= first:
                found += self._group(group, max(0, first - bounds.min), last + 1 - max(first, bounds.min))
        return found

    def _group(self, group: int, offset: int = 0, length: int | None = None) -> list[RecordedRow]:
        """Return the events of a row group, or so many of them: its positions follow each other."""
        try:
            rows = self._file.read_row_group(group).slice(offset, length)
            return [_row(*values) for values in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> FileBroken:
        first = str(error).partition("\n")[0]
        return FileBroken(f"{self._name} can't be read, or was changed or cut short after it was written: {first}")


def _row(
    position: int, stream: bytes, version_: int, type_: str, schema_version: int, at: datetime, data: str, meta: str | None
) -> RecordedRow:
    return RecordedRow(
        position=position,
        stream=UUID(bytes=stream),
        version=version_,
        type=type_,
        schema_version=schema_version,
        data=msgspec.Raw(data.encode()),
        meta=NO_META if meta is None else msgspec.Raw(meta.encode()),
        recorded_at=at,
    )
