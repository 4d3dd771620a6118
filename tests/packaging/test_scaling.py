"""The commands of docs/scaling.md, each taken from there and run as it is written, as far as one machine can."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import rich_click as click

from services.cli import commands
from services.settings import VARIABLES, read_settings
from tests.packaging.project import ROOT
from tests.packaging.systemd import PROGRAM, UNITS, analyze, analyzed
from tests.support import nginx, servers, standbys
from tests.support.http import wait_until_ready
from tests.support.processes import PATIENCE, free_port
from tests.support.settings import UNLIMITED, environ, variables
from tests.support.standbys import Pair
from tests.support.stem import forked

TEXT = (ROOT / "docs" / "scaling.md").read_text()
BLOCKS = re.findall(r"^```(?:sql)?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
PORTS = (8000, 8001)


def of(*beginnings: str) -> list[str]:
    """Return the lines that begin so, in their order."""
    return [line for line in LINES if line.strip().startswith(beginnings)]


UNIT_LINES = of("cd ", "sed ", "systemctl ")
NGINX_LINES = of("server ")
CURL_LINES = of("curl ")
OUR_LINES = of("ballotpress ")
SETTINGS = of("READ_DATABASE_URL=", "DATABASE_URL=")
SQL_LINES = of("alter system ", "select ")


def test_every_command_is_run_here() -> None:
    """A line that is added to the page is run by one of the tests below, or this one fails."""
    assert sorted(LINES) == sorted([*UNIT_LINES, *NGINX_LINES, *CURL_LINES, *OUR_LINES, *SETTINGS, *SQL_LINES])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder with the units as docs/systemd/README.md installs them, of the program installed here."""
    units = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(UNITS, units)
    for unit in units.glob("*.service"):
        unit.write_text(unit.read_text().replace(PROGRAM, str(Path(sys.executable).with_name("ballotpress"))))
    enable = next(line for line in (UNITS / "README.md").read_text().splitlines() if line.startswith("# systemctl enable"))
    run_at(tmp_path, [enable.removeprefix("# ")])
    return tmp_path


def run_at(root: Path, lines: Sequence[str]) -> None:
    """Run lines of a shell at another root, where systemd itself doesn't run."""
    at_root = [line.replace("/etc/systemd", f"{root}/etc/systemd") for line in lines]
    script = "\n".join(re.sub(r"^systemctl (\w+) --now", f"systemctl --root={root} \\1", line) for line in at_root)
    done = subprocess.run(("sh", "-eu", "-c", script), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


@analyzed
def test_an_api_a_core_is_a_valid_unit_that_comes_with_the_target(installed: Path) -> None:
    """The lines make a template that systemd takes, sandboxed as the unit is; the target starts its instances alone."""
    run_at(installed, [line for line in UNIT_LINES if not line.startswith("systemctl restart")])
    units = installed / "etc" / "systemd" / "system"
    wanted = {unit.name for unit in (units / "ballotpress.target.wants").iterdir()} | set(
        re.findall(r"ballotpress-[a-z@0-9]+\.service", (units / "ballotpress.target").read_text())
    )
    others = {"ballotpress-migrate.service", "ballotpress-projector.service", "ballotpress-worker.service"}
    assert wanted == others | {f"ballotpress-api@{port}.service" for port in PORTS}
    template = (units / "ballotpress-api@.service").read_text()
    assert "--port %i\n" in template
    for port in PORTS:
        (units / f"ballotpress-api@{port}.service").write_text(template)
        verified = analyze(
            f"--root={installed}", "security", "--offline=true", "--threshold=15", f"ballotpress-api@{port}.service"
        )
        assert verified.returncode == 0, verified.stdout[-300:] + verified.stderr
    read = analyze("verify", "--man=no", *units.glob("ballotpress-*.service"), *units.glob("*.target"))
    assert (read.returncode, read.stderr) == (0, "")


def test_the_release_s_units_are_those_that_were_enabled() -> None:
    """What is restarted and waited for is an instance that the first step started, at its own port."""
    restarted = [line.split()[-1] for line in UNIT_LINES if line.startswith("systemctl restart")]
    enabled = next(line for line in UNIT_LINES if line.startswith("systemctl enable")).split()[3:]
    assert restarted and set(restarted) <= set(enabled)
    asked = [port for line in CURL_LINES for port in re.findall(r"127\.0\.0\.1:(\d+)/", line)]
    assert [f"ballotpress-api@{port}" for port in asked] == restarted


def test_nginx_takes_the_lines_of_several_processes(tmp_path: Path) -> None:
    """Put in place of the one server, as the page says, nginx finds nothing to say about its configuration."""
    main = nginx.write(tmp_path, PORTS[0], free_port(), free_port(), {f"server 127.0.0.1:{PORTS[0]};": "\n".join(NGINX_LINES)})
    assert len(NGINX_LINES) == len(PORTS)
    tested = subprocess.run(
        (nginx.program(), "-t", "-e", tmp_path / "error", "-c", main),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert tested.returncode == 0, tested.stderr


@pytest.mark.postgres
def test_a_new_process_is_waited_for(postgres: servers.Postgres, template: str, valkey_url: str, tmp_path: Path) -> None:
    """The line of curl, begun while nobody listens at the port, ends once an API is ready there."""
    (line,) = CURL_LINES
    port = free_port()
    waiting = subprocess.Popen(shlex.split(line.replace(":8000", f":{port}")), stdout=subprocess.PIPE)
    name = "scaling"
    asyncio.run(servers.execute(postgres.dsn(), f"create database {name} template {template}"))
    environment = environ(postgres.dsn(name), valkey_url, **UNLIMITED)
    log = tmp_path / "output"
    with (
        forked("api", "--port", str(port), environ=environment, output=log),
        forked("projector", environ=environment, output=log),
    ):
        wait_until_ready(f"http://127.0.0.1:{port}", log.read_text)
        out, _ = waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode == 0 and b'"status"' in out


@pytest.mark.parametrize("line", OUR_LINES)
def test_our_commands_are_taken_as_they_stand(line: str) -> None:
    """The command exists, and takes these words. What they do is shown where each is tested."""
    group: click.Command = commands
    context: click.Context = click.RichContext(commands)
    words = shlex.split(line)[1:]
    while isinstance(group, click.Group):
        _, found, words = group.resolve_command(context, words)
        assert found is not None
        group, context = found, click.RichContext(found, parent=context)
    group.make_context(line, words, parent=context)


@pytest.mark.parametrize("line", SETTINGS)
def test_settings_are_taken_as_they_stand(line: str) -> None:
    """The setting exists, and its value is one."""
    name, _, value = line.partition("=")
    assert name in VARIABLES
    read = read_settings(variables("postgresql:///x", "redis://127.0.0.1") | {name: value})
    assert getattr(read, name.lower()) == value


@pytest.mark.postgres
async def test_a_standby_takes_over_by_the_lines_that_are_given(pair: Pair) -> None:
    """The first are for the primary, which then waits for a standby of this name; the last makes the standby take writes."""
    *first, last = SQL_LINES
    for line in first:
        await standbys.value(pair.one(pair.primary), line)
    assert await standbys.value(pair.one(pair.primary), "show synchronous_standby_names") == "db2"
    assert await standbys.value(pair.one(pair.standby), last) is True


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary with its standby, of this test's own."""
    with standbys.pair() as made:
        made.clone()
        yield made
