"""Start the private servers: for `up`, and for commands that need them while no `up` runs."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from services.embedded.home import HomeUnusable, keep_keys, opened_home
from services.embedded.runfile import settings_of_running
from services.embedded.supervisor import Say, Supervisor
from services.settings import Settings, home_folder, our_variables, process_environ, read_settings


def find_settings(environ: Mapping[str, str] | None = None, *, needs_keys: bool = True, signs_log: bool = False) -> Settings:
    """Return the settings in the environment. A database or Valkey that it leaves out is that of a running `up`."""
    return read_settings(environ, settings_of_running, needs_keys=needs_keys, signs_log=signs_log)


async def start_servers(supervisor: Supervisor, environ: Mapping[str, str], password: str) -> None:
    """Start the servers that the environment doesn't name, and publish our settings to every command."""
    found = {}
    if not environ.get("DATABASE_URL"):
        from services.embedded.postgres import start_postgres

        supervisor.say("Starting PostgreSQL")
        found["DATABASE_URL"] = await start_postgres(supervisor, password)
    if not environ.get("REDIS_URL"):
        from services.embedded.valkey import start_valkey

        supervisor.say("Starting Valkey")
        found["REDIS_URL"] = await start_valkey(supervisor)
    supervisor.publish({**our_variables(environ), **found})


def is_homeless() -> bool:
    """Return whether there is no database yet, neither named nor in the home folder, so that a home would have to be made."""
    environ = process_environ()
    return not environ.get("DATABASE_URL") and not (home_folder(environ) / "postgres").exists()


@contextlib.asynccontextmanager
async def reachable_database(say: Say, *, makes_home: bool = False) -> AsyncIterator[Settings]:
    """Yield settings with a database: of the environment or of a running `up`, else one started until the caller is done.

    A started database is brought to the current schema first. Raises HomeInUse while an `up` is starting, and HomeUnusable for
    a home folder without a database, unless the caller may make one.
    """
    environ = process_environ()
    home = home_folder(environ)
    if environ.get("DATABASE_URL") or settings_of_running(home):
        yield find_settings(environ)
        return
    from services.migrate import migrate

    if not makes_home and is_homeless():
        raise HomeUnusable(
            f"No `ballotpress up` ever ran on {home}: name its folder by --home or BALLOTPRESS_HOME, or set DATABASE_URL"
        )
    async with opened_home(home, say) as supervisor:
        await start_servers(supervisor, environ, keep_keys(home)["POSTGRES_PASSWORD"])
        settings = find_settings(environ)
        await migrate(settings.database_url, settings.log_part_size)
        yield settings
