"""A part of the log as one Parquet file: an event a row, as it was recorded, and a manifest with the export's hash chain.

So whoever reads all of a file knows that it wasn't changed or cut short. pyarrow comes with `ballotpress[archive]`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final, Self
from uuid import UUID

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from events.log.archive.state import FileBroken
from events.log.export import FORMAT, Chain, Manifest
from events.log.store import NO_META, RecordedRow
from events.log.transfer import COLUMNS

ROWS_AT_ONCE: Final = 65_536
"""Events a row group: what is read to find one event."""

_LEVEL: Final = 9  # of zstd
_MANIFEST: Final = b"ballotpress.manifest"
_TEXT: Final = pa.string()
_STREAM: Final = pa.binary(16)
_SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("stream", _STREAM, nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("type", _TEXT, nullable=False),
        pa.field("schema_version", pa.int16(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("data", _TEXT, nullable=False),
        pa.field("meta", _TEXT),
    ]
)
_DELTAS: Final = {"position": "DELTA_BINARY_PACKED", "recorded_at": "DELTA_BINARY_PACKED"}

# Of CSV that the server wrote: a null is an empty field without quotes.
_PARSE: Final = pa_csv.ParseOptions(newlines_in_values=True)
_CONVERT: Final = pa_csv.ConvertOptions(
    column_types={field.name: _TEXT if field.name == "stream" else field.type for field in _SCHEMA},
    null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
)  # fmt: skip
_WRITE: Final = pa_csv.WriteOptions(include_header=False, quoting_style="all_valid")

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

    def write(self, text: bytes) -> None:
        """Write some events, one row group: CSV as the server's COPY gives `COLUMNS`, positions one after another."""
        whole = pa_csv.ReadOptions(column_names=COLUMNS, use_threads=False, block_size=len(text) + 1)
        rows = pa_csv.read_csv(pa.BufferReader(text), whole, _PARSE, _CONVERT)
        first = self._places[0] + self._chain.lines
        if not rows["position"].combine_chunks().equals(pa.array(range(first, first + len(rows)), pa.int64())):
            raise FileBroken(f"The events from position {first} on don't follow each other")
        for text_line in lines(rows):
            self._chain.take(text_line)
        streams = bytes.fromhex("".join(pc.replace_substring(rows["stream"], "-", "").to_pylist()))
        ids = pa.Array.from_buffers(_STREAM, len(rows), [None, pa.py_buffer(streams)])
        self._writer.write_table(rows.set_column(1, "stream", ids).cast(_SCHEMA))

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
        if not self._file.schema_arrow.equals(_SCHEMA):
            raise FileBroken(f"{name} is no part of a log. Put it back from a copy")
        try:
            self.manifest = _manifests.decode((self._file.metadata.metadata or {})[_MANIFEST])
        except (KeyError, msgspec.DecodeError):
            raise FileBroken(f"{name} has no manifest: it was never finished, or isn't ours. Put it back from a copy") from None

    def tables(self) -> Iterator[pa.Table]:
        """Return all events, a row group at a time, `stream` as text; after the last it is known that none was changed."""
        chain = Chain()
        for group in range(self._file.num_row_groups):
            try:
                rows = _readable(self._file.read_row_group(group))
                for text_line in lines(rows):
                    chain.take(text_line)
            except (pa.ArrowException, OSError, ValueError, TypeError) as error:
                raise self._broken(error) from None
            yield rows
        if (chain.lines, chain.digest().hex()) != (self.manifest.events, self.manifest.sha256):
            raise FileBroken(
                f"{self._name} was changed after it was written: its hash is not the manifest's. Put it back from a copy"
            )

    def rows(self) -> Iterator[Sequence[RecordedRow]]:
        """Return all events, a row group at a time; after the last it is known that none was changed."""
        return map(_recorded, self.tables())

    def copied(self) -> Iterator[bytes]:
        """Return all events as the server's COPY takes them from CSV; after the last it is known that none was changed."""
        return map(_csv, self.tables())

    def at(self, positions: Sequence[int]) -> list[RecordedRow]:
        """Return the events at some positions, which rise. Nothing but checksums says that they are right."""
        found: list[RecordedRow] = []
        for group in range(self._file.num_row_groups):
            bounds = self._file.metadata.row_group(group).column(0).statistics
            if bounds is None:
                raise self._broken(ValueError("it has no statistics"))
            asked = positions[bisect_left(positions, bounds.min) : bisect_right(positions, bounds.max)]
            if asked:
                found += self._of_group(group, [position - bounds.min for position in asked])
        return found

    def _of_group(self, group: int, places: Sequence[int]) -> Sequence[RecordedRow]:
        """Return some events of a row group: its positions follow each other."""
        try:
            return _recorded(_readable(self._file.read_row_group(group).take(places)))
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> FileBroken:
        first = str(error).partition("\n")[0]
        return FileBroken(
            f"{self._name} can't be read, or was changed or cut short after it was written ({first}). Put it back from a copy"
        )


def lines(rows: pa.Table) -> Sequence[bytes]:
    """Return each event's line, as `events.log.export.line` gives it."""
    types = rows["type"].combine_chunks().dictionary_encode()
    quoted = pa.array([_encode(name).decode() for name in types.dictionary.to_pylist()], _TEXT)
    values = {
        "position": pc.cast(rows["position"], _TEXT),
        "stream": _quoted(rows["stream"]),
        "version": pc.cast(rows["version"], _TEXT),
        "type": quoted.take(types.indices),
        "schema_version": pc.cast(rows["schema_version"], _TEXT),
        "recorded_at": _quoted(_times(rows)),
        "data": rows["data"],
        "meta": pc.fill_null(rows["meta"], "null"),
    }
    joined = [piece for column in COLUMNS for piece in (f',"{column}":', values[column])]
    return pc.cast(pc.binary_join_element_wise("{" + joined[0][1:], *joined[1:], "}", ""), pa.binary()).to_pylist()  # type: ignore[no-any-return]


def _quoted(values: Any) -> Any:
    return pc.binary_join_element_wise('"', values, '"', "")


def _times(rows: pa.Table) -> Any:
    """Return the times as text, always with their microseconds."""
    return pc.strftime(rows["recorded_at"], "%Y-%m-%dT%H:%M:%SZ")


def _readable(rows: pa.Table) -> pa.Table:
    """Return events with their streams as text."""
    text = b"".join(rows["stream"].to_pylist()).hex()
    ids = (text[at : at + 32] for at in range(0, len(text), 32))
    streams = [f"{id_[:8]}-{id_[8:12]}-{id_[12:16]}-{id_[16:20]}-{id_[20:]}" for id_ in ids]
    return rows.set_column(1, "stream", pa.array(streams, _TEXT))


def _csv(rows: pa.Table) -> bytes:
    out = pa.BufferOutputStream()
    at = rows.schema.get_field_index("recorded_at")
    pa_csv.write_csv(rows.set_column(at, "recorded_at", _times(rows)), out, _WRITE)
    return bytes(out.getvalue())


def _recorded(rows: pa.Table) -> list[RecordedRow]:
    return [_row(*values) for values in zip(*(column.to_pylist() for column in rows.columns), strict=True)]


def _row(
    position: int, stream: str, version_: int, type_: str, schema_version: int, at: datetime, data: str, meta: str | None
) -> RecordedRow:
    return RecordedRow(
        position=position,
        stream=UUID(stream),
        version=version_,
        type=type_,
        schema_version=schema_version,
        data=msgspec.Raw(data.encode()),
        meta=NO_META if meta is None else msgspec.Raw(meta.encode()),
        recorded_at=at,
    )
