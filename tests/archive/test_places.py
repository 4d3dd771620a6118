"""Where archives are kept: a file is there whole or not at all, and a place that can't be used says what to do."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from events.log.archive import places
from events.log.archive.places import FileMissing, PlaceUnusable, place_of
from tests.support.store import BUCKET, KEYS, Store

SOON = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=9), "base": 2}


@contextmanager
def answering(status: int, body: str, then: int = 0, after: int = 10**9, lacks: int = 0) -> Iterator[str]:
    """Run a store that answers every request alike, or otherwise after some of them; yield its address.

    Each body `lacks` some bytes of those that were announced.
    """
    answers = itertools.chain(itertools.repeat(status, after), itertools.repeat(then))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(next(answers))
            self.send_header("Content-Length", str(len(body) + lacks))
            self.send_header("Content-Range", f"bytes 0-{len(body) + lacks - 1}/{len(body) + lacks}")
            self.send_header("Last-Modified", "Sun, 01 Mar 2026 00:00:00 GMT")
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body.encode())

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


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
    assert place.size("a") is None
    place.write("a", source)
    assert place.size("a") and place.size("b") is None
    with place.open("a") as file:
        assert file.read() == source.read_bytes()
        file.seek(-3, 2)
        assert file.read(9) == b"\xfd\xfe\xff"


def test_a_folder_keeps_files_for_their_owner(source: Path, tmp_path: Path) -> None:
    """Others may not read them, and nothing is left beside them."""
    place_of(str(tmp_path / "folder")).write("a", source)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a"]
    assert (tmp_path / "folder" / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["s3:/bucket", "S3:/bucket/p", "https://store.example/bucket", "file:///srv/archive"])
def test_a_mistyped_address_is_no_folder(url: str) -> None:
    """A slash too few would make a folder of that name, and the part would leave the database for it."""
    with pytest.raises(PlaceUnusable, match="a folder, or s3://BUCKET/PREFIX"):
        place_of(url)


def test_a_disk_that_is_not_mounted_is_said(source: Path, tmp_path: Path) -> None:
    """The folder around is missing: nothing is made in its place."""
    with pytest.raises(PlaceUnusable, match=f"{tmp_path}/mounted isn't there: mount it, or make it"):
        place_of(str(tmp_path / "mounted" / "folder")).write("a", source)
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_is_missing_is_asked_for(tmp_path: Path, s3: Store) -> None:
    """Who reads what isn't there is told where it should be."""
    for url in (str(tmp_path), f"s3://{BUCKET}/p"):
        with pytest.raises(PlaceUnusable, match=f"{url}/gone isn't there: put it back"):
            place_of(url).open("gone")


@pytest.mark.parametrize(
    "url", ["", "s3://", "s3:///a", "https://host/a", "s3://KEY:SECRET@log/a", "s3://log/a?region=x", "file:///tmp"]
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
    with pytest.raises(PlaceUnusable, match="can't be read: File name too long"):
        place_of(str(tmp_path / ("x" * 300))).size("a")


def test_a_store_that_is_away_or_knows_no_bucket_is_named(source: Path, s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where keys and address come from, and tells none of them."""
    with pytest.raises(PlaceUnusable, match=r"no such bucket: make it, or name another \(NoSuchBucket\)"):
        place_of("s3://nowhere/p").write("a", source)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for act in ("write", "read"):
        with pytest.raises(PlaceUnusable, match=r"can't be .*: no store answers at AWS_ENDPOINT_URL") as refused:
            place = place_of(f"s3://{BUCKET}/p")
            place.write("a", source) if act == "write" else place.open("a")
        assert all(value not in str(refused.value) for name, value in KEYS.items() if name != "AWS_REGION")


def test_a_silent_store_is_given_up(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes a request and never answers holds nobody for ever."""
    monkeypatch.setattr(places, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PlaceUnusable, match="can't be read"):
            place_of(f"s3://{BUCKET}/p").size("a")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "SignatureDoesNotMatch", "refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (403, "AccessDenied", "may not do this there"),
        (503, "SlowDown", "busy or out of order: try again later"),
        (500, "InternalError", "busy or out of order: try again later"),
    ],
)
def test_what_a_store_refuses_is_a_sentence(
    status: int, code: str, words: str, source: Path, s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever XML a store answers with, one sentence says what to do, and by what word the store calls it."""
    monkeypatch.setattr(places, "_WAITS", SOON)
    with answering(status, f"<Error><Code>{code}</Code><Message>told</Message></Error>") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PlaceUnusable, match=rf"{words}.* \({code}\)") as refused:
            place_of(f"s3://{BUCKET}/p").write("a", source)
        assert "<" not in str(refused.value) and "told" not in str(refused.value)


def test_a_store_that_is_busy_for_a_moment_is_asked_again(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers of 503 are waited out."""
    monkeypatch.setattr(places, "_WAITS", SOON)
    with answering(503, "", then=404, after=2) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert place_of(f"s3://{BUCKET}/p").size("a") is None


def test_a_store_that_hangs_up_in_the_middle_is_to_be_tried_again(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that ends before the object does is no broken object, and the store's to mend."""
    monkeypatch.setattr(places, "_WAITS", SOON)
    with answering(206, "PAR1", lacks=4) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(PlaceUnusable, match="busy or out of order: try again later"):
            place_of(f"s3://{BUCKET}/p").read("a", 0, 8)  # type: ignore[attr-defined]


def test_without_keys_it_says_which_are_missing(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a key is set and its secret isn't, the sentence names both variables; an address without a scheme is named too."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PlaceUnusable, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set"):
        place_of(f"s3://{BUCKET}/p").size("a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")
    with pytest.raises(PlaceUnusable, match="AWS_ENDPOINT_URL must be an address that begins with https"):
        place_of(f"s3://{BUCKET}/p")


def test_a_folder_that_isnt_mounted_is_named(tmp_path: Path) -> None:
    """On a machine without the folder nobody is sent to look for one file."""
    with pytest.raises(FileMissing, match=r"The folder .*/elsewhere isn't there: mount it on this machine too"):
        place_of(str(tmp_path / "elsewhere")).open("a")
