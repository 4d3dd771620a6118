"""Where archives are kept: a folder, or a bucket of an S3-compatible store. A file has its name only once it is whole.

A store's keys are never ours to hold: its client reads the usual AWS variables by itself, and no message repeats them.
"""

import io
import os
import re
from datetime import timedelta
from pathlib import Path
from shutil import copyfileobj
from tempfile import mkstemp
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol
from urllib.parse import urlsplit

from events.log.archive import remains

if TYPE_CHECKING:
    from obstore.store import BackoffConfig

_AT_ONCE: Final = 8 * 2**20
TRIES: Final = 4
ANSWER_SECONDS: Final = 30
"""How long a store may take for one request."""
_WAITS: Final["BackoffConfig"] = {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=5), "base": 2}

# What a store's answer, or its client, says, and what to do about it. The first that is found holds.
_WORDS: Final = (
    (r"NoSuchBucket", "the store has no such bucket: make it, or name another"),
    (r"169\.254\.|Missing (SecretAccessKey|AccessKeyId|Credentials)",
     "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set in this environment, for this machine has no role of its own"),
    (r"40[13] |AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId",
     "the store refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or they may not do this there"),
    (r"without LOCATION|AuthorizationHeaderMalformed", "AWS_REGION isn't the bucket's region"),
    (r"status code: 5\d\d|timed out|body error", "the store is busy or out of order: try again later"),
    (r"sending request|builder error", "no store answers at AWS_ENDPOINT_URL: see whether it is right, and the store up"),
)  # fmt: skip


class PlaceUnusable(Exception):
    """An archive's place can't be read or written; the message says what to do."""


class FileMissing(PlaceUnusable):
    """A file isn't in its place."""


class Place(Protocol):
    """A place of archives: `url` leads there."""

    url: str

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has; None if there is none. Raises PlaceUnusable."""

    def write(self, name: str, source: Path) -> None:
        """Copy a file here, whole or not at all. Raises PlaceUnusable."""

    def open(self, name: str) -> BinaryIO:
        """Open a file to read. Raises PlaceUnusable, then and while it is read."""


_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*:/")
"""How an address begins, also a mistyped one: a folder of such a name can be written ./s3:/NAME."""


def place_of(url: str, seconds: float | None = None) -> Place:
    """Return the place of a URL: a folder's path, or s3://BUCKET/PREFIX. Raises PlaceUnusable if it names none.

    A store is asked again and again; with `seconds`, once for so long.
    """
    if not url:  # of a script's variable that isn't set; it would be the folder where the script was started
        raise PlaceUnusable("An archive's place is a folder, or s3://BUCKET/PREFIX: none was named")
    return Bucket(url, seconds) if _SCHEME.match(url) else Folder(Path(url))


class Folder:
    """A folder of this machine, or one that is mounted here. Its files are their owner's alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.url = str(self._folder)

    def size(self, name: str) -> int | None:
        """Return how many bytes a file has; None if there is none. Raises PlaceUnusable."""
        try:
            return (self._folder / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PlaceUnusable(f"{self.url} can't be read: {error.strerror}") from None

    def write(self, name: str, source: Path) -> None:
        """Copy a file here, on disk before it has its name. Raises PlaceUnusable.

        The folder is made if it alone is missing: where the folder around it is missing too, a disk may not be mounted.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            remains.clear(self._folder, ".events-*.part")
            descriptor, beside = mkstemp(prefix=f".{name[:100]}.", suffix=".part", dir=self._folder)
            try:
                _copy(source, descriptor)
                Path(beside).rename(self._folder / name)
            finally:
                Path(beside).unlink(missing_ok=True)
            _keep_names(self._folder)
        except FileNotFoundError:
            raise PlaceUnusable(f"The folder {self._folder.parent} isn't there: mount it, or make it") from None
        except OSError as error:
            raise PlaceUnusable(f"{self.url} can't be written: {error.strerror}") from None

    def open(self, name: str) -> BinaryIO:
        """Open a file to read. Raises PlaceUnusable."""
        try:
            return (self._folder / name).open("rb")
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise FileMissing(f"The folder {self.url} isn't there: mount it on this machine too, bring it back") from None
            raise _missing(self, name) from None
        except OSError as error:
            raise PlaceUnusable(f"{self.url}/{name} can't be read: {error.strerror}") from None


def _copy(source: Path, descriptor: int) -> None:
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as file:
        copyfileobj(file, out, _AT_ONCE)
        out.flush()
        os.fsync(out.fileno())


def _keep_names(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Bucket:
    """A bucket, or a prefix of one, in an S3-compatible store. It must exist."""

    def __init__(self, url: str, seconds: float | None = None) -> None:
        """Name it; nothing is asked yet. Raises PlaceUnusable."""
        import obstore
        from obstore.store import S3Store

        asked = urlsplit(url)
        if not url.lower().startswith("s3://") or not asked.hostname or asked.query or asked.fragment or "@" in asked.netloc:
            raise PlaceUnusable(
                "An archive's place is a folder, or s3://BUCKET/PREFIX with nothing else in it, keys least of all"
            )
        if "://" not in os.environ.get("AWS_ENDPOINT_URL", "://"):  # noqa: TID251 - the client reads it, and panics
            raise PlaceUnusable("AWS_ENDPOINT_URL must be an address that begins with https:// (or http://)")
        self._client = obstore
        prefix = asked.path.strip("/")
        self.url = f"s3://{asked.hostname}/{prefix}".rstrip("/")
        tries, answer = (TRIES, timedelta(seconds=ANSWER_SECONDS)) if seconds is None else (1, timedelta(seconds=seconds))
        try:
            self._store = S3Store(
                asked.hostname,
                prefix=prefix or None,
                client_options={"timeout": answer, "connect_timeout": min(answer, timedelta(seconds=5)), "allow_http": True},
                retry_config={"max_retries": tries - 1, "retry_timeout": tries * answer, "backoff": _WAITS},
            )
        except obstore.exceptions.BaseError as error:
            raise self._unusable("used", error) from None

    def size(self, name: str) -> int | None:
        """Return how many bytes an object has; None if there is none. Raises PlaceUnusable."""
        try:
            size: int = self._client.head(self._store, name)["size"]
        except FileNotFoundError:
            return None
        except (self._client.exceptions.BaseError, OSError) as error:
            raise self._unusable("read", error) from None
        return size

    def write(self, name: str, source: Path) -> None:
        """Upload a file: its object appears once all of it is there. Raises PlaceUnusable."""
        try:
            self._client.put(self._store, name, source)
        except (self._client.exceptions.BaseError, OSError) as error:
            raise self._unusable("written", error) from None

    def open(self, name: str) -> BinaryIO:
        """Open an object to read, a range at a time. Raises PlaceUnusable, then and while it is read."""
        if (size := self.size(name)) is None:
            raise _missing(self, name)
        return io.BufferedReader(_Object(self, name, size), _AT_ONCE)

    def read(self, name: str, start: int, end: int) -> bytes:
        """Return some bytes of an object. Raises PlaceUnusable."""
        try:
            return bytes(self._client.get_range(self._store, name, start=start, end=end))
        except (self._client.exceptions.BaseError, OSError) as error:
            raise self._unusable("read", error) from None

    def _unusable(self, verb: str, error: Exception) -> PlaceUnusable:
        """Return an error in a sentence that says what to do, and what the store calls it."""
        text = str(error).partition("Debug source")[0]
        said = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"status code: (\d+)", text)
        code = f" ({said[1]})" if said else ""
        words = next((words for pattern, words in _WORDS if re.search(pattern, text)), " ".join(text.split())[:300])
        return PlaceUnusable(f"{self.url} can't be {verb}: {words}{code}; docs/operating.md, Archive, names the variables")


class _Object(io.RawIOBase):
    """An object of a bucket as a file."""

    def __init__(self, bucket: Bucket, name: str, size: int) -> None:
        self._bucket, self._name, self._size, self._at = bucket, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readall(self) -> bytes:
        found = self._bucket.read(self._name, self._at, self._size) if self._at < self._size else b""
        self._at += len(found)
        return found

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        found = self._bucket.read(self._name, self._at, end)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _missing(place: Place, name: str) -> FileMissing:
    return FileMissing(f"{place.url}/{name} isn't there: put it back from a copy")
