"""Servers that aren't ours: an older Redis behind a password or TLS, a pgbouncer, a role without rights of its own.

Redis and pgbouncer are Debian's: elsewhere than on CI these tests are skipped where they are missing.
"""

import datetime
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis

from events.log.postgres import session_settings
from services.replicas import look
from services.replicas.readers import replicas_of
from services.status.read import LAST_TICK
from tests.support import servers
from tests.support.http import serving
from tests.support.processes import COMMAND, PATIENCE, free_port, started, wait_for
from tests.support.runners import until
from tests.support.settings import environ
from tests.support.stem import forked

PASSWORD = "p@ss/w:rd"
ESCAPED = "p%40ss%2Fw%3Ard"


def program(name: str, package: str) -> str:
    """Return a program's path. Without it the test fails on CI, and is skipped elsewhere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None and "CI" in os.environ:
        pytest.fail(f"CI must have {name}: apt-get install {package}")
    return found or pytest.skip(f"needs {name} (apt-get install {package})")


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for loopback that signs itself, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    today = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


@contextmanager
def redis(folder: Path, *more: str) -> Iterator[Mapping[str, str]]:
    """Run Debian's Redis behind a password; give its URLs by scheme."""
    ports, (cert, key) = {"redis": free_port(), "rediss": free_port()}, certificate(folder)
    tls = ("--tls-port", str(ports["rediss"]), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no")
    server = (program("redis-server", "redis-server"), "--port", str(ports["redis"]), "--bind", "127.0.0.1", *tls)
    with started((*server, "--requirepass", PASSWORD, "--save", "", "--dir", folder, *more), {}, folder / "redis.log"):
        urls = {scheme: f"{scheme}://:{ESCAPED}@127.0.0.1:{port}/3" for scheme, port in ports.items()}
        yield {**urls, "rediss": f"{urls['rediss']}?ssl_ca_certs={cert}"}


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_every_process_reads_the_address_of_valkey_alike(scheme: str, dsn: str, tmp_path: Path) -> None:
    """Behind a password with special characters, with TLS or without, the API counts, and the worker ticks, on Redis 7."""
    with redis(tmp_path) as urls:
        url, log = urls[scheme], tmp_path / "processes.log"
        with serving(dsn, url, log) as site, forked("worker", environ=environ(dsn, url), output=log):
            assert "ratelimit" in site.anyone.post("/v1/visitors").headers
            with Redis.from_url(url) as client:
                assert wait_for(lambda: client.get(LAST_TICK)), log.read_text()[-2000:]
            assert "limits" not in str(site.anyone.get("/health/ready").json())


async def test_a_valkey_that_drops_keys_is_named(dsn: str, tmp_path: Path) -> None:
    """`status` says that limits are forgotten where Valkey drops keys, and what to set."""
    with redis(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as urls:
        said = ran(environ(dsn, urls["redis"]), "status").stdout
    assert "Valkey drops keys when its memory is full (allkeys-lru)" in said
    assert "maxmemory-policy to noeviction" in said


async def test_a_role_without_rights_and_with_odd_settings_serves(
    postgres: servers.Postgres, valkey_url: str, tmp_path: Path
) -> None:
    """A role that owns its database and no more, whose settings are all against us, migrates, votes and verifies."""
    async with servers.database(postgres) as owned:
        name = urlsplit(owned).path[1:]
        for statement in (
            f"create role {name} login nosuperuser",
            f"alter database {name} owner to {name}",
            f"alter role {name} set search_path = nowhere",
            f"alter role {name} set default_transaction_isolation = serializable",
            f"alter role {name} set statement_timeout = '20ms'",
            f"alter role {name} set timezone = 'Asia/Kathmandu'",
            f"alter role {name} set datestyle = 'German'",
        ):
            await servers.execute(owned, statement)
        dsn = owned.replace("postgres@", f"{name}@")
        environment = environ(dsn, valkey_url)
        command(environment, "migrate")
        with serving(dsn, valkey_url, tmp_path / "processes.log") as site:
            tool, visitor = site.add_tool(), site.visitor()
            position = visitor.vote(tool, "ship")
            assert visitor.get(f"/v1/tools/{tool}", after=position).json()["community"]["ship"] == 1
        command(environment, "verify")
    await servers.execute(postgres.dsn(), f"drop role {name}")


@pytest.mark.parametrize("ignored", ["", "ignore"])
async def test_a_pooler_is_refused_in_one_sentence(
    ignored: str, postgres: servers.Postgres, dsn: str, valkey_url: str, tmp_path: Path
) -> None:
    """Behind a pgbouncer that pools transactions, whether it refuses our settings or drops them, no process starts."""
    with pgbouncer(postgres.folder, dsn, tmp_path / "pgbouncer.log", drops_settings=bool(ignored)) as pooled:
        for words in (("api", "--port", str(free_port())), ("projector",), ("worker",), ("migrate",)):
            output = tmp_path / words[0]
            with forked(*words, environ=environ(pooled, valkey_url), output=output) as process:
                assert process.wait(PATIENCE) == 1
            assert output.read_text().startswith("ballotpress: DATABASE_URL leads to a pooler such as pgbouncer")
            assert output.read_text().count("\n") == 1


async def test_a_pooler_before_a_replica_is_named(postgres: servers.Postgres, dsn: str, tmp_path: Path) -> None:
    """A replica behind a pgbouncer isn't read from, and what to do is said: no session there is what it should be."""
    with pgbouncer(postgres.folder, dsn, tmp_path / "pgbouncer.log", drops_settings=True) as pooled:
        (replica,) = replicas_of(pooled, 2)

        async def is_named() -> bool:
            await replica.look()
            return replica.why == look.POOLER

        await until(is_named)


def ran(environment: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """Return how a command of ours ended."""
    return subprocess.run((*COMMAND, *words), env=environment, capture_output=True, text=True, timeout=PATIENCE)


def command(environment: Mapping[str, str], *words: str) -> None:
    """Run a command of ours, which must end well."""
    done = ran(environment, *words)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def pgbouncer(folder: Path, dsn: str, log: Path, *, drops_settings: bool) -> Iterator[str]:
    """Run Debian's pgbouncer before the tests' PostgreSQL, as its user, from its folder; give the DSN that leads through it."""
    binary, port = program("pgbouncer", "pgbouncer"), free_port()
    parts = urlsplit(dsn)
    name, server = parts.path[1:], dict(parse_qsl(parts.query))
    lines = [
        "[databases]",
        f"{name} = host={server['host']} port={server['port']} user=postgres",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "auth_type = any",
        "pool_mode = transaction",
        "unix_socket_dir =",
    ]
    if drops_settings:
        names = [*session_settings("test"), "extra_float_digits"]
        lines.append(f"ignore_startup_parameters = {','.join(names)}")
    (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
    owner = folder.stat()
    as_user = ("setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups") if os.geteuid() == 0 else ()
    with started((*as_user, binary, folder / "pgbouncer.ini"), {}, log):
        assert wait_for(lambda: takes_connections(port)), log.read_text()  # a process that finds nobody waits for PostgreSQL
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"


def takes_connections(port: int) -> bool:
    """Tell whether something on this machine listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
