"""A site that serves whatever log it likes, with its key, and whatever beside it."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from services.proof import verify
from tests.support.public_log import PublicLog, Signer, path_of


class Liar:
    """A site on a port of its own; `paths` says what stands at each, and may be changed at any time."""

    def __init__(self, log: PublicLog) -> None:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer what the liar has."""
                body = liar.paths.get(self.path, liar.paths.get(urlsplit(self.path).path))
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.signer = Signer(f"127.0.0.1:{self._server.server_port}/log/1")
        self.paths: dict[str, bytes] = {}
        self.cards: list[dict[str, Any]] = []
        self.show(log)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve(self, log: PublicLog) -> None:
        """Serve a log as it must be served."""
        log.signer = self.signer
        leaves = log.leaves()
        text = log.note(origin=log.signer.name).partition("\n\n")[0] + "\n"
        tiles: dict[tuple[int, int], bytes] = {}
        tree = verify.Tree(lambda level, n, hashes: tiles.update({(level, n): hashes}))
        tree.add(leaves)
        tree.end()
        entries = b"".join(len(entry).to_bytes(2, "big") + entry for entry in log.entries)
        self.paths |= {
            "/log/1/checkpoint": f"{text}\n{self.signer.line(text)}".encode(),
            "/log/1/log.vkey": self.signer.vkey.encode(),
            f"/log/1/tile/entries/{verify.tile_path(0, len(log.entries))}": entries,
            **{f"/log/1/tile/{at[0]}/{verify.tile_path(at[1], len(tile) // 32)}": tile for at, tile in tiles.items()},
            **{f"/v1/log/proof?position={n}&size={len(leaves)}": proof(n, leaves) for n in range(1, len(leaves) + 1)},
        }

    def show(self, log: PublicLog) -> None:
        """Serve a log as it must be served, and cards as they must be."""
        self.serve(log)
        panels = {"alpha": ["ship"], "beta": []}
        self.cards = [
            {
                "slug": slug,
                "position": len(log.entries),
                "panel": verify.panel(panels[slug]),
                "community": verify.community(*tally),
            }
            for slug, tally in zip(panels, log.tallies.values(), strict=True)
        ]
        self.list_cards()

    def list_cards(self, following: str | None = None) -> None:
        """Serve the cards."""
        self.paths["/v1/tools"] = json.dumps({"items": self.cards, "next": following}).encode()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def proof(position: int, leaves: list[bytes]) -> bytes:
    """Return the inclusion proof of an entry, as the site says it."""
    return json.dumps({"hashes": [base64.b64encode(part).decode() for part in path_of(position - 1, leaves)]}).encode()
