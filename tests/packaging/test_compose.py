"""docker-compose.yml hands every setting to each process, and each process starts with exactly these."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.setting_table import LOG_KEY
from services.settings import HOME, VARIABLES, read_settings
from tests.packaging import compose
from tests.packaging.project import ROOT
from tests.support import servers
from tests.support.processes import free_port, wait_for

PATIENCE = 120
PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    """The variables of the .env that the instructions at the file's head make."""
    return compose.env_values(compose.written_env())


def known_variables() -> set[str]:
    """Return every variable of ours that is the same for all processes."""
    return {name for name in VARIABLES if name.startswith("BALLOTPRESS_")} - {HOME, LOG_KEY}


def test_every_setting_in_env_reaches_every_process(values: dict[str, str]) -> None:
    """Each of our processes gets every variable of ours that .env names, with its value."""
    known = known_variables()
    assert len(known) > 20
    full = values | {name: f"the value of {name}" for name in known}
    services = compose.services(full)
    for name in compose.OURS:
        own = [{"path": ".env.projector", "required": False}] if name == "projector" else []
        assert services[name]["env_file"] == [{"path": ".env", "required": True}, *own]
        given = compose.environment(services[name], full)
        assert {variable: given.get(variable) for variable in known} == {variable: full[variable] for variable in known}


def test_the_env_of_the_head_makes_valid_settings(values: dict[str, str]) -> None:
    """The .env that the head's instructions make is valid as it is."""
    settings = read_settings(compose.environment(compose.services(values)["api"], values))
    assert settings.smtp_url == values["SMTP_URL"]
    assert settings.base_url == values["BALLOTPRESS_BASE_URL"]
    assert [token.name for token in settings.operator_tokens] == ["owner"]


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "SMTP_URL"])
def test_what_has_no_default_stops_the_start(values: dict[str, str], name: str) -> None:
    """Without a password for the database, or a relay for the mails, Compose starts nothing and names the variable."""
    with pytest.raises(compose.NotSet, match=f"Set {name} in .env"):
        compose.services({key: value for key, value in values.items() if key != name})


def test_no_relay_is_named_by_default(values: dict[str, str]) -> None:
    """The catcher of mails runs in the trial's profile alone, pinned, and no process is pointed at it unasked."""
    services = compose.services(values)
    assert services["mailpit"]["profiles"] == ["trial"]
    assert all("mailpit" not in str(services[name]) for name in compose.OURS)
    for service in services.values():
        assert service["image"] == "ballotpress" or re.search(r":v?\d", service["image"]), service["image"]


def test_every_container_has_its_bounds(values: dict[str, str]) -> None:
    """Each image that isn't ours is an exact release, and each container has a limit of memory and of processes."""
    for name, service in compose.services(values).items():
        assert service["image"] == "ballotpress" or re.search(r":v?\d+\.\d+", service["image"]), name
        assert service["mem_limit"] and service["pids_limit"], name


def test_valkey_keeps_nothing(values: dict[str, str]) -> None:
    """What Valkey counts ties voters to networks: it has no volume, and writes nothing; recycled WAL keeps no destroyed key."""
    services = compose.services(values)
    assert "volumes" not in services["valkey"]
    assert services["valkey"]["command"] == ["valkey-server", "--appendonly", "no", "--save", ""]
    assert "wal_recycle=off" in services["postgres"]["command"]


def test_one_service_builds_the_image_for_all(values: dict[str, str]) -> None:
    """`build` stands once, with the service that all others wait for, and only the API is published, on loopback."""
    services = compose.services(values)
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    for name in ("api", "projector", "worker"):
        assert services[name]["image"] == services["migrate"]["image"]
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8000:8000", "127.0.0.1:8025:8025"]


def test_a_dkim_key_can_be_mounted(values: dict[str, str]) -> None:
    """Every container sees the folder `secrets` read-only, at the path that the head names; git ignores the folder."""
    for name in compose.OURS:
        assert compose.services(values)[name]["volumes"][0] == "./secrets:/run/ballotpress:ro"
    assert "BALLOTPRESS_DKIM_KEY_FILE=/run/ballotpress/dkim.pem" in compose.FILE.read_text()
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()


def test_the_signer_alone_has_the_log_s_key_and_its_memory(values: dict[str, str]) -> None:
    """The key's file is the projector's; the volume with the last note is no other's; git ignores the key."""
    services = compose.services(values)
    assert "BALLOTPRESS_LOG_KEY" not in values and "> .env.projector" in compose.FILE.read_text()
    own = {name: services[name]["volumes"][1:] for name in compose.OURS}
    assert own["projector"] == ["checkpoint:/var/lib/ballotpress/.ballotpress"]
    assert own["api"] == ["packs:/var/lib/ballotpress/.ballotpress"] and not own["migrate"]
    assert own["worker"] == ["marks:/var/lib/ballotpress/.ballotpress"]
    assert ".env.*" in (ROOT / ".gitignore").read_text().split()


class Stack:
    """Our services, started as Compose starts them, on the tests' servers in place of the file's."""

    def __init__(self, folder: Path, values: dict[str, str], dsn: str, valkey_url: str) -> None:
        self.folder = folder
        self.values = values
        self.services = compose.services(values)
        self.here = {"DATABASE_URL": dsn, "REDIS_URL": valkey_url}
        self.port = free_port()
        self._stack = ExitStack()

    def environ(self, name: str) -> dict[str, str]:
        """Return a service's environment, PATH, and the addresses of the tests' servers; nothing of this process's own."""
        given = compose.environment(self.services[name], self.values)
        assert given.keys() >= self.here.keys()
        return {"PATH": f"{PROGRAMS}:/usr/bin:/bin", **given, **self.here}

    def words(self, name: str) -> list[str]:
        """Return a service's command; the API listens on loopback and on a free port."""
        words = [word.replace("0.0.0.0", "127.0.0.1") for word in self.services[name]["command"]]  # noqa: S104
        return [*words, "--port", str(self.port)] if name == "api" else words

    def run(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command with a service's environment to its end."""
        return subprocess.run(
            (*words,), env=self.environ(name), cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def start(self, name: str) -> "subprocess.Popen[bytes]":
        """Start a service."""
        with (self.folder / name).open("wb") as log:
            process = subprocess.Popen(
                ("ballotpress", *self.words(name)),
                env=self.environ(name),
                executable=PROGRAMS / "ballotpress",
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)
        return process

    def log(self, name: str) -> str:
        """Return the end of a service's output."""
        return (self.folder / name).read_text()[-3000:]

    def is_healthy(self, name: str) -> bool:
        """Return whether the service's own health check succeeds."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(name, *(word.replace(":8000", f":{self.port}") for word in words)).returncode == 0

    def status(self) -> Any:
        """Return the output of `ballotpress status --json`."""
        ran = self.run("api", "ballotpress", "status", "--json")
        assert ran.stdout, ran.stderr  # its exit status is 1 where anything is wrong: the tests' PostgreSQL may lose power
        return json.loads(ran.stdout)

    def stop(self) -> None:
        """Stop every service."""
        self._stack.close()


async def make_database(server: str, url: str) -> None:
    """Make the role and the database that PostgreSQL's image makes."""
    parts = urlsplit(url)
    connection = await asyncpg.connect(server)
    await connection.execute(f"create role {parts.username} superuser login password '{parts.password}'")
    await connection.execute(f"create database {parts.path[1:]} owner {parts.username}")
    await connection.close()


async def drop_database(server: str, url: str) -> None:
    """Drop both."""
    parts = urlsplit(url)
    connection = await asyncpg.connect(server)
    await connection.execute(f"drop database {parts.path[1:]} with (force)")
    await connection.execute(f"drop role {parts.username}")
    await connection.close()


@pytest.fixture
def stack(tmp_path: Path, values: dict[str, str], postgres: servers.Postgres) -> Iterator[Stack]:
    """The stack on a database and a Valkey of its own, not started yet."""
    url = compose.environment(compose.services(values)["api"], values)["DATABASE_URL"]
    assert urlsplit(url).hostname == "postgres"
    asyncio.run(make_database(postgres.dsn(), url))
    with servers.valkey() as (valkey_url, _):
        here = url.replace("@postgres/", "@/") + f"?host={postgres.folder}&port=5432"
        stack = Stack(tmp_path, values, here, valkey_url)
        yield stack
        stack.stop()
    asyncio.run(drop_database(postgres.dsn(), url))


@pytest.mark.timeout(600)
def test_every_service_starts_with_what_compose_gives_it(stack: Stack) -> None:
    """migrate succeeds; the API becomes healthy by its own check; projector and worker follow a catalog's import."""
    migrated = stack.run("migrate", "ballotpress", *stack.words("migrate"))
    assert migrated.returncode == 0, migrated.stderr
    running = {name: stack.start(name) for name in ("api", "projector", "worker")}
    assert wait_for(lambda: stack.is_healthy("api"), PATIENCE), stack.log("api")
    catalog = ROOT / "services" / "cli" / "demo_catalog.json"
    imported = stack.run("api", "ballotpress", "catalog", "import", str(catalog))
    assert imported.returncode == 0, imported.stderr
    status = wait_for(lambda: settled(stack.status()), PATIENCE)
    assert status, [stack.status(), *map(stack.log, running)]
    assert {name: process.poll() for name, process in running.items()} == dict.fromkeys(running)


def settled(status: Any) -> bool:
    """Return whether one projector keeps every view up to date with a log that isn't empty, and one worker is alive."""
    head = status["head"]["position"]
    views = all(view["position"] == head and view["runners"] == 1 for view in status["views"])
    return head > 0 and views and status["queue"]["workers"] == 1
