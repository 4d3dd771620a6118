"""`ballotpress up`: start everything with one command, and leave nothing running when it ends.

The order matters: servers, schema, projector and worker, catalog, and the API only when the views show the catalog.
"""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from services.cli.database import asynchronous, connected
from services.cli.options import Whole
from services.cli.terminal import counted
from services.embedded.start import find_settings
from services.setting_table import LOG_KEY
from services.settings import Settings, check_values, home_folder, known_environ, process_environ, read_identity
from services.tracing.opening import must_be_installed

if TYPE_CHECKING:
    from services.embedded.supervisor import Program

DEMO = Path(__file__).with_name("demo_catalog.json")
NEAR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not listened on
"""This machine's own address for each that stands for all of its addresses."""
VIEWS_WITHIN = 60.0
"""Seconds."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=Whole(1, 65535), help="Port to listen on.")
@click.option("--catalog", metavar="FILE|none", help="Catalog file to load into an empty log.  [default: a demo]")
@click.option(
    "--smtp", metavar="URL", help="Relay for mail, such as smtp://127.0.0.1:2525.  [default: SMTP_URL, else the outbox]"
)
@click.option(
    "--archive",
    metavar="DIR",
    type=click.Path(file_okay=False, resolve_path=True),
    help="Write each commit down there too, so that any moment since a `backup DIR` can be restored.",
)
@asynchronous
async def up(host: str, port: int, catalog: str | None, smtp: str | None, archive: str | None) -> int:
    """Start everything: PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), projector, worker, API.

    Ctrl-C stops all of it. When it is started again, everything is still there.
    """
    environ = known_environ(process_environ(**({"SMTP_URL": smtp} if smtp else {})))
    if archive is not None:
        environ["BALLOTPRESS_ARCHIVE_DIR"] = archive
    environ["BALLOTPRESS_HOME"] = str(home_folder(environ))
    if not environ.get("BALLOTPRESS_BASE_URL"):
        environ["BALLOTPRESS_BASE_URL"] = _address(host, port)
    environ.setdefault("BALLOTPRESS_DRAIN_SECONDS", "0")  # nothing else serves this port: there is nowhere to go
    environ.setdefault("BALLOTPRESS_LOG_FORMAT", "console")
    check_values(environ)
    must_be_installed(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"), is_off=environ.get("OTEL_SDK_DISABLED", "").lower() == "true")
    _check_theme(environ)
    return await _until_signalled(_run(environ, host, port, _catalog_file(catalog)))


def _check_theme(environ: Mapping[str, str]) -> None:
    """Check the site's theme before anything is started. Raises SettingsError."""
    identity = read_identity(environ)
    if identity.theme is None and identity.logo is None:
        return
    from services.newsletter.look import check_mails, named_look
    from services.web.filters import FILTERS, GLOBALS
    from services.web.http.theme import Theme

    Theme(identity, FILTERS, GLOBALS)
    check_mails(named_look(identity, environ["BALLOTPRESS_BASE_URL"]))


def _catalog_file(catalog: str | None) -> Path | None:
    if catalog == "none":
        return None
    from services.cli.catalog import read_catalog

    file = Path(catalog).resolve() if catalog else DEMO
    if not file.is_file():
        raise click.BadParameter(f"there is no file {file}", param_hint="--catalog")
    read_catalog(file)  # says what is wrong with it before anything is started
    return file


def _address(host: str, port: int) -> str:
    """Return where this machine reaches a site that listens there."""
    return f"http://{_bracketed(NEAR.get(host, host))}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Run until the work fails or a signal asks to stop. Further signals change nothing."""
    stopping = asyncio.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name)
        if name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:  # nohup asks us to stay
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    task = asyncio.create_task(work)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not task.done():
        _say("Stopping")
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return 0


async def _run(environ: dict[str, str], host: str, port: int, catalog: Path | None) -> None:
    """Start everything, print its addresses, and keep it running until cancelled."""
    from services.backup.archive import keep_archive
    from services.embedded.home import keep_keys, opened_home
    from services.embedded.start import start_servers

    home = home_folder(environ)
    if not home.exists():
        _refuse_taken_port(host, port)  # before a home is made that nobody needs
    async with opened_home(home, _say) as supervisor:
        _refuse_taken_port(host, port)
        keys = keep_keys(home)
        await start_servers(supervisor, environ, keys["POSTGRES_PASSWORD"])
        settings = find_settings(environ)
        await _make_ready(settings)
        if not environ.get("DATABASE_URL"):
            await keep_archive(supervisor, settings)
        _say("Starting the projector and the worker")
        await supervisor.start(_program("projector", environ))
        await supervisor.start(_program("worker", environ))
        await _load(settings, catalog)
        await _wait_for_views(settings)
        _say("Starting the API")
        api = _program("api", environ, "--host", host, "--port", str(port))
        await supervisor.start(api, lambda: _serves(host, port))
        _announce(settings, host, port)
        await asyncio.Event().wait()


async def _make_ready(settings: Settings) -> None:
    """Bring the database to this release's schema, and see that what is sealed in it can be opened."""
    from services.migrate import migrate
    from services.starting import require_vault_keys

    if ran := await migrate(settings.database_url, settings.log_part_size):
        _say(f"Brought the database to the current schema by {counted(ran, 'migration')}")
    await require_vault_keys(settings)


async def _load(settings: Settings, catalog: Path | None) -> None:
    """Load the catalog if the log is empty."""
    from services.cli.catalog import import_catalog

    async with connected(settings) as connection:
        empty = await connection.fetchval("select position = 0 from log.head")
    if empty and catalog is not None:
        _say(f"Loading the catalog {catalog}")
        _say(f"Loaded {counted(await import_catalog(settings, catalog), 'event')}")


async def _wait_for_views(settings: Settings) -> None:
    """Wait until the views show the whole log, for a minute at most. Readiness reports views that are still behind."""
    from services.status.views import views_caught_up

    _say("Waiting until the views show the whole log")
    deadline = time.monotonic() + VIEWS_WITHIN
    async with connected(settings) as connection:  # one for all looks: each new session would plan them anew
        while not await views_caught_up(connection):
            if time.monotonic() > deadline:
                _say("The views are still behind the log: see `ballotpress status`")
                return
            await asyncio.sleep(0.1)


def _program(name: str, environ: Mapping[str, str], *options: str) -> "Program":
    from services.embedded.supervisor import Program

    command = (sys.executable, "-P", "-m", "services.cli", name, *options)
    if name != "projector":  # which alone signs the log
        environ = {variable: value for variable, value in environ.items() if variable != LOG_KEY}
    return Program(name=name, command=command, environ=environ)


def _refuse_taken_port(host: str, port: int) -> None:
    """Check that the port is free. Raises click.ClickException."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise click.ClickException(f"This machine doesn't know the host {host}: choose another with --host") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise click.ClickException(f"Port {port} on {host} {reason}: choose another with --port or --host") from None


async def _serves(host: str, port: int) -> bool:
    """Check whether the API answers."""
    address = NEAR.get(host, host)
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(f"GET /health/live HTTP/1.1\r\nHost: {_bracketed(address)}\r\nConnection: close\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _announce(settings: Settings, host: str, port: int) -> None:
    address = _address(host, port)
    token_file = settings.home / "operator.token"
    _say(f"Ballotpress runs at {address} (Ctrl-C stops it)")
    if host in NEAR and settings.base_url == address:
        _say("  from elsewhere   set BALLOTPRESS_BASE_URL to the address that links in pages and mails shall bear")
    _say(f"  what it can do   {address}/schema")
    _say(f"  operators        {address}/ops")
    if settings.smtp_url is None:
        _say(f"  mails            {address}/outbox")
    _say(f"  operator token   {token_file}")
    if sys.stdout.isatty():
        _say(f"                   {token_file.read_text().strip()}")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal must not stop the site
        print(line, flush=True)
