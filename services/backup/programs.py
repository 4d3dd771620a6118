"""PostgreSQL's own programs for backups, told of the database by their environment, so that no password is in a command."""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from services.embedded.postgres import programs_folder
from services.embedded.servers import SERVER_ENVIRON


def program(name: str) -> Path:
    """Return the path of a program of PostgreSQL. Raises ServerMissing."""
    return programs_folder() / name


def environ_of(database_url: str) -> dict[str, str]:
    """Return the environment that leads a program to a private database."""
    url = urlsplit(database_url)
    words = {name: values[-1] for name, values in parse_qs(url.query).items()}
    return {
        **SERVER_ENVIRON,
        "PGHOST": words["host"],
        "PGPORT": words["port"],
        "PGUSER": url.username or "",
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": url.path.strip("/"),
        "PGAPPNAME": "ballotpress/backup",
    }
