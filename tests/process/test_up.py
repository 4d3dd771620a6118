"""`ballotpress up`: everything starts with one command, stops with it, and survives what it should."""

import asyncio
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import asyncpg
import pytest

from services.embedded.guard import end_run
from services.embedded.runfile import Run, process_named, settings_of_running, write_run
from services.embedded.servers import socket_folder
from services.embedded.supervisor import Supervisor
from services.person.table import IMPERSONAL, KEPT
from tests.support import servers
from tests.support.processes import PATIENCE, Instance, open_files, processes_naming, wait_for
from tests.support.settings import SECRET_KEY, VAULT_KEY, clean_environ
from tests.support.standbys import Pair, both_ways

pytestmark = pytest.mark.server

STEPS = (
    "Starting PostgreSQL",
    "Starting Valkey",
    "Starting the projector and the worker",
    "Waiting until the views show the whole log",
    "Starting the API",
)
"""What every start says on its way, each in a line."""


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be tried out as root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder; not pytest's own, to which another run of pytest takes the servers' way away."""
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def alone() -> Iterator[Instance]:
    """The `up` of this file, on a home folder that lives as long as it; nothing of it outlives the tests."""
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        instance = Instance(Path(folder) / "home")
        try:
            yield instance
        finally:
            instance.stop()


class Beside(Instance):
    """An `up` on given servers, on which another machine's runs as well."""

    def __init__(self, folder: Path, **environ: str) -> None:
        given = {"BALLOTPRESS_SECRET_KEYS": SECRET_KEY, "BALLOTPRESS_VAULT_KEYS": VAULT_KEY, **environ}
        super().__init__(folder / "home", **given)
        self.other = Instance(folder / "other", **given)

    def ready(self) -> Instance:
        """Wait until both can serve; the other was never ended meanwhile."""
        if self.other.process is None:
            self.other.start()
        self.other.ready()
        return super().ready()

    def stop(self) -> None:
        """End everything of both."""
        self.other.stop()
        super().stop()


@pytest.fixture(scope="module")
def behind(pair: Pair, valkey_url: str) -> Iterator[Instance]:
    """An `up` beside another machine's, on a database behind a synchronous replica, at which both read."""
    with tempfile.TemporaryDirectory(prefix="test-") as folder:
        asyncio.run(servers.execute(pair.one(0), "create database of_two_homes"))
        dsn, replica = pair.dsn("of_two_homes"), pair.one(pair.standby, "of_two_homes")
        instance = Beside(Path(folder), DATABASE_URL=dsn, READ_DATABASE_URL=replica, REDIS_URL=valkey_url)
        try:
            yield instance
        finally:
            instance.stop()
            asyncio.run(servers.execute(pair.one(0), "drop database of_two_homes with (force)"))


@pytest.fixture
def instance(request: pytest.FixtureRequest) -> Instance:
    """The `up` that a test is about: alone with its servers, or on those of two machines."""
    found: Instance = request.getfixturevalue("behind" if getattr(request, "param", False) else "alone")
    return found


@pytest.fixture
def shared(instance: Instance) -> Instance:
    """That `up`, running: a test may only look, or kill what is started again, or start it anew."""
    return (instance if instance.is_running() else instance.start()).ready()


def ask(instance: Instance, query: str) -> object:
    """Ask the instance's PostgreSQL for one value."""

    async def answer() -> object:
        connection = await asyncpg.connect(instance.database_url(), timeout=PATIENCE)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(answer())


def answers(instance: Instance) -> bool:
    """Check whether the instance's PostgreSQL answers."""
    try:
        return ask(instance, "select 1") == 1
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False


def guards(instance: Instance) -> list[int]:
    """Return the guard's process id."""
    return processes_naming(instance.home, b"embedded.guard")


@both_ways("instance")
def test_an_up_killed_while_it_starts_leaves_nothing(instance: Instance) -> None:
    """An `up` killed at any moment of its start leaves nothing running; nothing stops the next one, which says each step."""
    has_servers = "DATABASE_URL" in instance.environ
    for moment in (0.4, random.uniform(0.2, 2.0)) if has_servers else (0.15, 0.4, 0.8, random.uniform(0.2, 2.0)):
        instance.start()
        time.sleep(moment)
        instance.signal(signal.SIGKILL)
        assert instance.left() == [], f"killed after {moment} s"
    instance.start().ready()
    said = instance.output.read_text().splitlines()
    places = [said.index(step) for step in (STEPS[2:] if has_servers else STEPS)]
    assert places == sorted(places), said


def test_everything_is_still_there_after_a_restart(shared: Instance) -> None:
    """Ctrl-C stops all, with status 0; started again, the log is as it was and no catalog is loaded twice."""
    position = ask(shared, "select position from log.head")
    assert isinstance(position, int) and position > 0
    assert shared.signal(signal.SIGINT) == 0
    assert shared.left() == []
    assert not (shared.home / "run.json").exists()
    (earlier := shared.home / "valkey" / "appendonlydir").mkdir()
    (earlier / "appendonly.aof").touch()
    shared.start().ready()
    assert not earlier.exists()
    assert ask(shared, "select position from log.head") == position


def test_another_up_on_the_same_home_is_refused(shared: Instance) -> None:
    """A second `up` says in one line that one runs already, ends with status 1, and leaves the first one alone."""
    second = shared.command("up", "--port", str(shared.port))
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1 and "already runs" in second.stderr
    assert shared.status("/health/ready") == 200


def test_a_taken_port_is_said_at_once(folder: Path) -> None:
    """When something listens on the port, `up` says so in one line before it starts anything."""
    instance = Instance(folder / "home")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = instance.command("up", "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1 and f"Port {port}" in refused.stderr
    assert not instance.home.exists()


def test_every_command_finds_a_running_up_by_its_home(shared: Instance) -> None:
    """With BALLOTPRESS_HOME alone, a command works on the running instance."""
    assert shared.command("migrate").returncode == 0


def test_a_home_and_another_database_are_not_both_meant(shared: Instance) -> None:
    """A command that names a running instance's home does nothing to the database that the environment happens to name."""
    words = (sys.executable, "-P", "-m", "services.cli", "status", "--home", str(shared.home))
    others = clean_environ(DATABASE_URL="postgresql://localhost/another")
    ran = subprocess.run(words, env=others, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.returncode == 2 and "unset DATABASE_URL, or leave --home out" in ran.stderr
    same = clean_environ(DATABASE_URL=settings_of_running(shared.home)["DATABASE_URL"])
    assert subprocess.run(words, env=same, capture_output=True, timeout=PATIENCE, check=False).returncode == 0


def test_secrets_are_for_their_owner_only(shared: Instance) -> None:
    """Keys, the operator's token and run.json have mode 0600, and the token isn't printed into a file."""
    for name in ("secrets", "operator.token", "run.json", "postgres.log", "valkey.log"):
        assert stat.S_IMODE((shared.home / name).stat().st_mode) == 0o600, name
    token = (shared.home / "operator.token").read_text().strip()
    assert len(token) >= 32 and token not in shared.output.read_text()


@as_root
def test_every_file_of_the_home_folder_is_named(shared: Instance) -> None:
    """Nothing lies in the home folder that the table of what is kept doesn't know."""
    known = {file.partition("/")[0] for row in (*KEPT, *IMPERSONAL) for file in row.files}
    assert {path.name for path in shared.home.iterdir() if not path.name.endswith(".part")} <= known


def test_no_other_user_reaches_the_servers(shared: Instance) -> None:
    """Another user of the machine, even knowing the password, can enter no folder, open no socket, read no secret."""
    attempts = f"""
import os, socket, sys
from pathlib import Path
os.setgroups([]); os.setgid(65534); os.setuid(65534)
home = Path({str(shared.home)!r})
for folder in (home, home / "sockets", home / "postgres", home / "valkey"):
    try:
        sys.exit(f"listed {{folder}}: {{os.listdir(folder)}}")
    except PermissionError:
        pass
for file in ("secrets", "operator.token", "run.json", "up.lock", "postgres.log"):
    try:
        sys.exit(f"read {{file}}: {{(home / file).read_text()}}")
    except PermissionError:
        pass
for name in (".s.PGSQL.5432", "valkey.sock"):
    try:
        socket.socket(socket.AF_UNIX).connect(str(home / "sockets" / name))
        sys.exit("connected to " + name)
    except PermissionError:
        pass
"""
    outcome = subprocess.run([sys.executable, "-c", attempts], capture_output=True, text=True, check=False, cwd="/")
    assert (outcome.returncode, outcome.stderr) == (0, "")


@as_root
def test_servers_do_not_run_as_root(shared: Instance) -> None:
    """Started by root, the servers and their data belong to a system user, and their folders are closed to all others."""
    for server in ("postgres", "valkey"):
        owner = (shared.home / server).stat()
        assert owner.st_uid != 0
        assert stat.S_IMODE(owner.st_mode) == 0o700
        assert Path(f"/proc/{shared.pid(server)}").stat().st_uid == owner.st_uid
    assert stat.S_IMODE((shared.home / "sockets").stat().st_mode) == 0o700


def test_limits_leave_nothing_on_disk(shared: Instance) -> None:
    """What Valkey counts ties voters to networks: none of it is written, so its folder is empty."""
    connection = HTTPConnection("127.0.0.1", shared.port, timeout=PATIENCE)
    connection.request("POST", "/v1/visitors")
    assert connection.getresponse().status == 201
    connection.close()
    assert list((shared.home / "valkey").iterdir()) == []


def test_the_servers_listen_on_no_network(shared: Instance) -> None:
    """PostgreSQL and Valkey hold no socket of the Internet families."""
    for server in ("postgres", "valkey"):
        held = open_files(shared.pid(server))
        for table in ("tcp", "tcp6", "udp", "udp6"):
            rows = Path(f"/proc/{shared.pid(server)}/net/{table}").read_text().splitlines()[1:]
            assert not held & {f"socket:[{row.split()[9]}]" for row in rows}


def test_a_wrong_password_is_refused(shared: Instance) -> None:
    """A connection to the socket still needs the password."""
    password = (shared.home / "secrets").read_text().rpartition("POSTGRES_PASSWORD=")[2].strip()
    url = shared.database_url().replace(password, "guessed")
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(asyncpg.connect(url, timeout=PATIENCE))


@pytest.mark.parametrize(
    ("instance", "server"),
    [*((False, server) for server in ("postgres", "valkey", "projector", "worker", "api")), (True, "worker"), (True, "api")],
    indirect=["instance"],
)
def test_what_dies_is_started_again(shared: Instance, server: str) -> None:
    """A killed process is back, and the instance serves again."""
    killed = shared.pid(server)
    os.kill(killed, signal.SIGKILL)
    assert wait_for(lambda: shared.pid(server) not in (0, killed))
    assert wait_for(lambda: answers(shared) and shared.status("/health/ready") == 200)


@pytest.mark.parametrize("instance", [True], ids=["of two machines"], indirect=True)
def test_given_servers_are_used_and_none_embedded(shared: Instance) -> None:
    """With DATABASE_URL and REDIS_URL set, `up` starts no server of its own."""
    assert (shared.pid("postgres"), shared.pid("valkey")) == (0, 0)
    assert not (shared.home / "postgres").exists() and not (shared.home / "valkey").exists()


@both_ways("instance")
def test_a_killed_up_leaves_nothing_and_the_next_one_works(shared: Instance) -> None:
    """After SIGKILL of `up`, and of its guard before, nothing runs any more; the next `up` serves what was there."""
    (killed,) = guards(shared)
    os.kill(killed, signal.SIGKILL)
    assert wait_for(lambda: set(guards(shared)) - {killed})  # in one look: between two the old one ends, and no other is there
    position = ask(shared, "select position from log.head")
    assert shared.signal(signal.SIGKILL) == -signal.SIGKILL
    assert shared.left() == []
    shared.start().ready()
    assert ask(shared, "select position from log.head") == position


def test_what_a_killed_guard_left_is_ended_by_the_next_start(shared: Instance) -> None:
    """With `up` and its guard both killed, the next `up` ends what still runs, and starts anew."""
    left = [shared.pid(name) for name in ("postgres", "valkey", "projector", "worker", "api")]
    assert shared.process is not None
    (guard,) = guards(shared)
    os.kill(guard, signal.SIGSTOP)  # so that it can't begin to end the others between the two kills
    for pid in (shared.process.pid, guard):
        os.kill(pid, signal.SIGKILL)
    shared.process.wait()
    assert wait_for(lambda: set(left) <= set(shared.processes()))
    shared.start()
    assert wait_for(lambda: not set(left) & set(shared.processes()))
    shared.ready()


def test_a_process_id_used_again_is_left_alone(tmp_path: Path) -> None:
    """A process in run.json is ended only if it started at the time written there."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        named = process_named("api", bystander.pid)
        run = Run(up=replace(named, started=1), processes=[replace(named, started=named.started - 1)])
        write_run(tmp_path, run)
        assert end_run(tmp_path)
        assert bystander.poll() is None
        run.processes = [named]
        write_run(tmp_path, run)
        assert end_run(tmp_path)
        assert bystander.wait(PATIENCE) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("name", "is_inside"), [("home", True), ("long" * 45, False), ("a b", False), ("ü", False), ("%41", False)]
)
def test_sockets_are_where_their_path_is_short_and_plain(folder: Path, name: str, is_inside: bool) -> None:
    """They are in the home folder, but for one whose path is too long for a socket, or odd."""
    (home := folder / name).mkdir()
    sockets = socket_folder(Supervisor(home, Run(up=process_named("up", os.getpid())), print), None)
    assert sockets.is_relative_to(home) == is_inside
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    sockets.rmdir()


def test_any_home_folder_will_do(folder: Path) -> None:
    """A home folder whose path is too long for a socket, and odd, works; no folder of sockets stays behind elsewhere.

    With `--catalog none` the log stays empty.
    """
    instance = Instance(folder / ("long" * 40 + ", with space & 'quote' ü%41"), "--catalog", "none").start()
    try:
        instance.ready()
        assert ask(instance, "select position from log.head") == 0
        sockets = Path(str(instance.run()["socket_folder"]))
        assert not sockets.is_relative_to(instance.home)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert instance.signal(signal.SIGTERM) == 0
        assert not sockets.exists()
    finally:
        instance.stop()


@pytest.mark.parametrize(("variable", "value"), [("SMTP_URL", "nonsense"), ("BALLOTPRESS_SECRET_KEYS", "short")])
def test_a_wrong_setting_stops_the_start(folder: Path, variable: str, value: str) -> None:
    """A wrong value stops `up` with one line that names the variable."""
    instance = Instance(folder / "home", **{variable: value}).start()
    assert instance.process is not None and instance.process.wait(PATIENCE) == 1
    assert variable in instance.output.read_text().splitlines()[-1]
    assert instance.left() == []
