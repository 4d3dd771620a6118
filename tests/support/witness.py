"""A witness: the server's side of C2SP's tlog-witness, small and real, with faults that a test can give it."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from projections.merkle import verify_consistency
from services.proof.checkpoint import Checkpoint, read_text
from services.proof.note import COSIGNATURE, Line, NoteRefused, Verifier, cosigned, read_note, unbase64, verified

Answer = tuple[int, bytes, str]


class Witness:
    """A witness of one or more logs. `fault` may answer in its place; `seen` are the requests' bodies."""

    def __init__(self, name: str = "witness.example/w1", seed: bytes = b"w" * 32) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, COSIGNATURE, self._key.public_key().public_bytes_raw())
        self.logs: dict[str, Verifier] = {}
        self.latest: dict[str, tuple[int, bytes]] = {}
        self.fault: Callable[[bytes], Answer | None] = lambda body: None
        self.seen: list[bytes] = []
        self.url = ""
        self._turn = threading.Lock()

    def answer(self, body: bytes) -> Answer:
        """Answer an add-checkpoint."""
        self.seen.append(body)
        if (faulty := self.fault(body)) is not None:
            return faulty
        with self._turn:
            return self._decided(body)

    def _decided(self, body: bytes) -> Answer:
        head, _, raw = body.partition(b"\n\n")
        try:
            note = read_note(raw)
            checkpoint = read_text(note)
            old, *lines = head.decode("ascii").split("\n")
            hashes = [unbase64(line) for line in lines]
            assert old.startswith("old ") and str(int(old[4:])) == old[4:] and len(hashes) <= 63
        except (NoteRefused, ValueError, AssertionError):
            return 400, b"unreadable\n", "text/plain"
        log = self.logs.get(checkpoint.origin)
        if log is None:
            return 404, b"unknown\n", "text/plain"
        try:
            verified(note, [log])
        except NoteRefused:
            return 403, b"not signed\n", "text/plain"
        return self._judged(int(old[4:]), [one or b"" for one in hashes], checkpoint, note.text)

    def _judged(self, old: int, hashes: list[bytes], checkpoint: Checkpoint, text: str) -> Answer:
        size, root = self.latest.get(checkpoint.origin, (0, b""))
        if old > checkpoint.size:
            return 400, b"old is larger\n", "text/plain"
        if old != size or (old == checkpoint.size and root != checkpoint.root):
            return 409, f"{size}\n".encode(), "text/x.tlog.size"
        if old == 0 and hashes:
            return 422, b"a proof from nothing\n", "text/plain"
        if old and not verify_consistency(old, checkpoint.size, hashes, root, checkpoint.root):
            return 422, b"inconsistent\n", "text/plain"
        self.latest[checkpoint.origin] = (checkpoint.size, checkpoint.root)
        return 200, f"{self.line(text, int(time.time()))}\n".encode(), "text/plain"

    def line(self, text: str, seconds: int) -> Line:
        """Return the cosignature of a text at a time."""
        signature = self._key.sign(cosigned(seconds, text))
        return Line(self.verifier.name, self.verifier.key_id, struct.pack(">Q", seconds) + signature)

    @contextmanager
    def serving(self) -> Iterator["Witness"]:
        """Serve on a free port of this machine, at `url`."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}/submit"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(witness: Witness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/submit/add-checkpoint":
                status, answer, media = witness.answer(body)
            else:
                status, answer, media = 404, b"", "text/plain"
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
