"""Debian's nginx in front of an API, by the configuration that we ship, with everything of its own in one folder."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import free_port, started, wait_for

DOCS = Path(__file__).parents[2] / "docs"
SHIPPED = DOCS / "nginx" / "ballotpress.conf"
UNHURRIED = {
    "rate=50r/s": "rate=1000000r/s",
    "limit_conn ballotpress_connections 100": "limit_conn ballotpress_connections 10000",
}
"""Changes without which callers that all come from one address are held up."""

MAIN = """
daemon off;
pid {folder}/pid;
error_log {folder}/error;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ballotpress.conf;
}}
"""


def program() -> str:
    """Return nginx's path. Without it the test fails on CI, and is skipped elsewhere."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI must have nginx: apt-get install nginx-light")
    if found is None:
        pytest.skip("needs nginx (apt-get install nginx-light)")
    return found


def write(folder: Path, api: int, port: int, plain: int, changes: Mapping[str, str] = {}) -> Path:
    """Write the shipped configuration with ports of ours and a certificate of the test's own; give the main file's path."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    asked = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ballotpress.example", "-days", "2")
    subprocess.run((*asked, "-keyout", key, "-out", certificate), check=True, capture_output=True)
    text = SHIPPED.read_text()
    text = re.sub(r"\n +listen \[::\].*", "", text)
    for ours, theirs in {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{api};",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/ballotpress.pem": str(certificate),
        "/etc/ssl/private/ballotpress.key": str(key),
        "/var/cache/ballotpress ": f"{folder}/cache ",
        **changes,
    }.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    (folder / "ballotpress.conf").write_text(text)
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder, user="user root;" if os.getuid() == 0 else ""))
    return main


def several(ports: Sequence[int]) -> dict[str, str]:
    """Return the change by which nginx stands before several APIs: the line of docs/scaling.md, once for each port."""
    line = re.search(r"^ *server 127\.0\.0\.1:8000 .*;$", (DOCS / "scaling.md").read_text(), re.MULTILINE)
    assert line
    lines = [line[0].strip().replace(":8000", f":{port}") for port in ports]
    return {f"server 127.0.0.1:{ports[0]};": "\n    ".join(lines), **UNHURRIED}


@contextmanager
def before(folder: Path, api: int, changes: Mapping[str, str] = {}) -> Iterator[int]:
    """Run nginx before the API at a port, with some words of the configuration changed; give the port where it speaks TLS."""
    port = free_port()
    main = write(folder, api, port, free_port(), changes)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with started((program(), "-e", folder / "error", "-c", main), dict(os.environ), folder / "output") as process:
        assert wait_for(lambda: answers() or process.poll() is not None), (folder / "output").read_text()
        yield port
