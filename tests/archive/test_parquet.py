"""The file of an archive: whatever is read from it was written, or it says that it is broken."""

import hashlib
import io
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from events.log.archive import parquet
from events.log.archive.parquet import FileBroken, Reader, Writer
from events.log.export import Manifest, line
from events.log.store import NO_META, RecordedRow

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small file have several row groups."""
    monkeypatch.setattr(parquet, "ROWS_AT_ONCE", 300)


def copied(rows: Sequence[RecordedRow]) -> bytes:
    """Return events as the server's COPY gives them."""
    out = io.StringIO()
    for row in rows:
        data = '"' + bytes(row.data).decode().replace('"', '""') + '"'
        meta = "" if row.meta == NO_META else '"' + bytes(row.meta).decode().replace('"', '""') + '"'
        values = (row.position, row.stream, row.version, row.type, row.schema_version, row.recorded_at, data, meta)
        out.write(",".join(map(str, values)) + "\n")
    return out.getvalue().encode()


def written(path: Path, rows: Sequence[RecordedRow]) -> Manifest:
    """Write a file of these events."""
    with Writer(path, rows[0].position, rows[-1].position) as writer:
        for start in range(0, len(rows), 300):
            writer.write(copied(rows[start : start + 300]))
        return writer.close(NOW)


def read(content: bytes) -> list[RecordedRow]:
    """Read a file whole."""
    return [row for part in Reader(io.BytesIO(content), "the file").rows() for row in part]


@pytest.fixture
def content(tmp_path: Path, rows: Sequence[RecordedRow]) -> bytes:
    """A file of all the events."""
    written(tmp_path / "a.parquet", rows)
    return (tmp_path / "a.parquet").read_bytes()


def test_every_event_comes_back_as_it_was(tmp_path: Path, rows: Sequence[RecordedRow]) -> None:
    """A file holds each event to the byte, and its hash is that of the same events' export."""
    manifest = written(tmp_path / "a.parquet", rows)
    chain = bytes(32)
    for row in rows:
        chain = hashlib.sha256(chain + line(row)).digest()
    assert manifest.sha256 == chain.hex() and (manifest.first_position, manifest.last_position) == (501, 1500)
    assert read((tmp_path / "a.parquet").read_bytes()) == list(rows)


def test_some_events_are_read_alone(content: bytes, rows: Sequence[RecordedRow]) -> None:
    """A few events are found without the others, across row groups too."""
    reader = Reader(io.BytesIO(content), "the file")
    assert reader.at(range(799, 804)) == list(rows[298:303])
    assert reader.at([1, 500]) == []
    assert reader.at([501, 900, 1500, 1501]) == [rows[0], rows[399], rows[999]]


def test_other_programs_read_it(content: bytes) -> None:
    """It is plain Parquet, compressed with zstd."""
    file = pq.ParquetFile(io.BytesIO(content))
    assert file.read(columns=["position"]).num_rows == 1_000
    assert file.metadata.row_group(0).column(6).compression == "ZSTD"


def test_a_changed_byte_is_noticed(content: bytes, rows: Sequence[RecordedRow]) -> None:
    """Whatever byte is changed, either nothing is different in what is read, or the file is said to be broken."""
    some = random.Random(15)
    broken = 0
    for _ in range(60):
        changed = bytearray(content)
        changed[some.randrange(len(changed))] ^= 1 << some.randrange(8)
        try:
            assert read(bytes(changed)) == list(rows)
        except FileBroken:
            broken += 1
    assert broken > 30


@pytest.mark.parametrize("left", [0, 3, 100, 5_000, -1])
def test_a_file_that_was_cut_short_is_broken(content: bytes, left: int) -> None:
    """A part of a file is no file."""
    with pytest.raises(FileBroken, match="the file"):
        read(content[:left])


def test_events_that_others_took_out_are_missed(tmp_path: Path, content: bytes) -> None:
    """A file that another program wrote anew with an event less is broken, though its manifest is there."""
    table = pq.read_table(io.BytesIO(content))
    pq.write_table(table.slice(1), tmp_path / "less.parquet")
    with pytest.raises(FileBroken, match="no manifest"):
        read((tmp_path / "less.parquet").read_bytes())
    kept = table.replace_schema_metadata(pq.ParquetFile(io.BytesIO(content)).metadata.metadata)
    pq.write_table(kept.slice(1), tmp_path / "less.parquet")
    with pytest.raises(FileBroken, match="changed after it was written"):
        read((tmp_path / "less.parquet").read_bytes())


def test_an_unfinished_file_has_no_manifest(tmp_path: Path, rows: Sequence[RecordedRow]) -> None:
    """A file with fewer events than positions isn't finished."""
    with pytest.raises(FileBroken, match="positions 501 to 1500"), Writer(tmp_path / "a", 501, 1500) as writer:
        writer.write(copied(rows[:300]))
        writer.close(NOW)
