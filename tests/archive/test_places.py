"""Where archives are kept: a file is there whole or not at all, and a place that can't be used says what to do."""

import socket
from pathlib import Path

import pytest

from events.log.archive import places
from events.log.archive.places import PlaceUnusable, place_of
from tests.support.store import BUCKET, KEYS, Store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of 6 MB, which a store takes in several requests."""
    path = tmp_path / "source"
    path.write_bytes(bytes(range(256)) * 24_000)
    return path


@pytest.mark.parametrize("url", ["folder", f"s3://{BUCKET}/of/ours", f"s3://{BUCKET}"])
def test_a_file_comes_back_as_it_was(url: str, source: Path, tmp_path: Path, s3: Store) -> None:
    """What was written is read again, whole and in pieces, and found by its name alone."""
    place = place_of(url if "://" in url else str(tmp_path / url))
    assert not place.holds("a")
    place.write("a", source)
    assert place.holds("a") and not place.holds("b")
    with place.open("a") as file:
        assert file.read() == source.read_bytes()
        file.seek(-3, 2)
        assert file.read(9) == b"\xfd\xfe\xff"


def test_a_folder_keeps_files_for_their_owner(source: Path, tmp_path: Path) -> None:
    """Others may not read them, and nothing is left beside them."""
    place_of(str(tmp_path / "folder")).write("a", source)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a"]
    assert (tmp_path / "folder" / "a").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_missing_is_asked_for(tmp_path: Path, s3: Store) -> None:
    """Who reads what isn't there is told where it should be."""
    for url in (str(tmp_path), f"s3://{BUCKET}/p"):
        with pytest.raises(PlaceUnusable, match=f"{url}/gone isn't there: put it back"):
            place_of(url).open("gone")


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///a", "https://host/a", "s3://KEY:SECRET@log/a", "s3://log/a?region=x", "file:///tmp"]
)
def test_an_address_that_names_no_place_is_refused(url: str) -> None:
    """Keys in an address are refused, and not repeated."""
    with pytest.raises(PlaceUnusable, match="BUCKET/PREFIX") as refused:
        place_of(url)
    assert "SECRET" not in str(refused.value)


def test_what_a_folder_refuses_is_said(source: Path, tmp_path: Path) -> None:
    """A folder that is no folder."""
    (tmp_path / "file").touch()
    with pytest.raises(PlaceUnusable, match="file can't be written"):
        place_of(str(tmp_path / "file")).write("a", source)


def test_a_store_that_is_away_or_knows_no_bucket_is_named(source: Path, s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where keys and address come from, and tells none of them."""
    with pytest.raises(PlaceUnusable, match="NoSuchBucket") as refused:
        place_of("s3://nowhere/p").write("a", source)
    assert "AWS_SECRET_ACCESS_KEY" in str(refused.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for act in ("write", "read"):
        with pytest.raises(PlaceUnusable, match="can't be") as refused:
            place = place_of(f"s3://{BUCKET}/p")
            place.write("a", source) if act == "write" else place.open("a")
        assert all(value not in str(refused.value) for name, value in KEYS.items() if name != "AWS_REGION")


def test_a_silent_store_is_given_up(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes a request and never answers holds nobody for ever."""
    monkeypatch.setattr(places, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PlaceUnusable, match="can't be read"):
            place_of(f"s3://{BUCKET}/p").holds("a")
