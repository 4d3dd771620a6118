"""The settings of a process, read once from its environment, by the table of variables in `setting_table`.

The only module that reads `os.environ`. What the environment leaves out comes from the home folder: the URLs of a
running `ballotpress up`, the keys in `secrets`, the operator's token in `operator.token`.
A wrong value raises `SettingsError` with one sentence that names the variable.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from email.utils import quote
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, Literal, get_origin
from urllib.parse import urlsplit

import msgspec

from services import operator_settings
from services.identity import Identity
from services.operator_settings import SCOPES as SCOPES
from services.operator_settings import OperatorToken as OperatorToken
from services.private_files import NotOurs, must_be_ours
from services.setting_groups import Caching, Dkim, MailCheck, Newsletter, Pace, PublicLog, SigningIn, Tracing
from services.setting_table import LOG_KEY, PREFIX, TABLE
from services.setting_table import SettingsError as SettingsError

LogFormat = Literal["json", "console"]
PuzzleBy = Literal["operator", "detector"]
Crawlers = Literal["all", "none"]

HOME: Final = PREFIX + "HOME"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a process. Keys stand newest first. A limit of None follows from another one."""

    database_url: str
    redis_url: str
    read_database_url: str | None = None
    read_lag_seconds: int = 2
    home: Path
    secret_keys: tuple[str, ...]
    vault_keys: tuple[str, ...]
    base_url: str = "http://127.0.0.1:8000"
    smtp_url: str | None = None
    operator_tokens: tuple[OperatorToken, ...] = ()
    person: str | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    security_contacts: tuple[str, ...] = ()
    writes_per_minute: int = 120
    network_writes_per_minute: int = 1200
    new_visitors_per_hour: int = 600
    first_votes_per_hour: int | None = None
    changes_per_day: int | None = None
    reviews_per_hour: int | None = None
    network_viewers: int | None = None
    network_marks: bool = True
    second_operator_above: int = 100
    false_alarms: float = 0.01
    puzzle: PuzzleBy = "operator"
    erasure_file: Path | None = None
    log_part_size: int = 10_000_000
    webhook_failures: int = 20
    webhook_loopback: bool = False
    crawlers: Crawlers = "all"
    drain_seconds: int = 3
    archive_folder: Path | None = None
    log_format: LogFormat = "json"
    newsletter: Newsletter = Newsletter()
    pace: Pace = Pace()
    public_log: PublicLog = PublicLog()
    caching: Caching = Caching()
    mail_check: MailCheck = MailCheck()
    signing_in: SigningIn = SigningIn()
    tracing: Tracing = Tracing()
    identity: Identity = Identity()


_TABLE: Final = {**operator_settings.TABLE, **TABLE}

VARIABLES: Final = (HOME, *(variable.name for variable in _TABLE.values()))
"""The names of all variables."""

Running = Callable[[Path], Mapping[str, str]]
"""Returns the variables of the `up` that runs on a home folder; none when none runs."""


def read_settings(
    environ: Mapping[str, str] | None = None,
    running: Running = lambda home: {},
    *,
    needs_keys: bool = True,
    signs_log: bool = False,
) -> Settings:
    """Return the settings in the environment, or in `environ`. Raises SettingsError at the first wrong value.

    A command that neither signs nor seals doesn't need keys; its settings may have none. Only who signs the log gets its keys.
    """
    given = dict(os.environ if environ is None else environ)
    home = home_folder(given)
    values = _completed({name: value.strip() for name, value in given.items() if value.strip()}, home, running)
    keyless = {} if needs_keys else dict.fromkeys(("secret_keys", "vault_keys"), ())
    settings = Settings(**_read(Settings, values, home, keyless), home=home)
    if set(settings.vault_keys) & set(settings.secret_keys):
        raise SettingsError("BALLOTPRESS_VAULT_KEYS shares a key with BALLOTPRESS_SECRET_KEYS: use different ones")
    identity = read_identity(given)
    return msgspec.structs.replace(
        settings,
        newsletter=_read_newsletter(values, home, _sender_named(identity.newsletter_name, _mail_domain(settings.base_url))),
        pace=Pace(**_read(Pace, values, home)),
        public_log=PublicLog(**_read(PublicLog, values if signs_log else {**values, LOG_KEY: ""}, home)),
        caching=Caching(**_read(Caching, values, home)),
        mail_check=MailCheck(**_read(MailCheck, values, home)),
        signing_in=operator_settings.check(SigningIn(**_read(SigningIn, values, home))),
        tracing=Tracing(**_read(Tracing, values, home)),
        identity=identity,
    )


def _read_newsletter(values: Mapping[str, str], home: Path, sender: str) -> Newsletter:
    """Return the newsletter's settings, with a sender if none is named. Raises SettingsError."""
    return Newsletter(**({"sender": sender} | _read(Newsletter, values, home)), dkim=_dkim(values, home))


def read_identity(environ: Mapping[str, str]) -> Identity:
    """Return the site's identity that an environment names. Raises SettingsError."""
    return Identity(**_read(Identity, {name: value.strip() for name, value in environ.items()}, home_folder(environ)))


def _sender_named(name: str, domain: str) -> str:
    return f'"{quote(name)}" <digest@{domain}>'


def _read(
    table: type[msgspec.Struct], values: Mapping[str, str], home: Path, default: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """Return the fields of a Struct that have a value, or a default. Raises SettingsError for all required ones without."""
    found, missing = dict(default), list[str]()
    for field in msgspec.structs.fields(table):
        if (variable := _TABLE.get(field.name)) is None:
            continue
        text, is_list = values.get(variable.name, ""), get_origin(field.type) is tuple
        if words := [word.strip() for word in (text.split(",") if is_list else [text]) if word.strip()]:
            read = tuple(map(variable.value, words))
            found[field.name] = read if is_list else read[0]
        elif field.required and field.name not in default:
            missing.append(f"{variable.name}{variable.missing.format(home=_looked_at(home))}")
            if "{home}" in variable.missing:  # an `up` there would give the others too
                break
    if missing:
        raise SettingsError(f"Set {'; and '.join(missing)}")
    return found


def _looked_at(home: Path) -> str:
    return f"none {'runs' if (home / 'secrets').exists() else 'ever ran'} on {home} (--home, or {HOME})"


def _mail_domain(base_url: str) -> str:
    host = urlsplit(base_url).hostname or "localhost"
    return host if "." in host and not host.replace(".", "").isdecimal() else "localhost.localdomain"


def _dkim(values: Mapping[str, str], home: Path) -> Dkim | None:
    names = [_TABLE[setting].name for setting in Dkim.__struct_fields__]
    if values.keys().isdisjoint(names):
        return None
    if not values.keys() >= set(names):
        raise SettingsError(f"Set all of {', '.join(names)}, or none")
    return Dkim(**_read(Dkim, values, home))


def _completed(given: Mapping[str, str], home: Path, running: Running) -> Mapping[str, str]:
    """Return the variables of the home folder and of an `up` that runs there; those of the environment override them."""
    try:
        lines = [line.partition("=") for line in _lines(home / "secrets") if "=" in line and not line.startswith("#")]
        kept = {name.strip(): value.strip() for name, _, value in lines}
        if token := "".join(_lines(home / "operator.token")).strip():
            kept[operator_settings.TOKENS] = f"operator:{'+'.join(sorted(SCOPES))}:{token}"
        found = running(home) if {"DATABASE_URL", "REDIS_URL"} - given.keys() else {}
    except PermissionError as error:
        raise SettingsError(
            f"{error.filename} may not be read: run this as its owner, or name another home by --home"
        ) from None
    except NotOurs as error:
        raise SettingsError(str(error)) from None
    return {**kept, **found, **given}


def _lines(path: Path) -> Sequence[str]:
    must_be_ours(path)
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return ()


def process_environ(**changes: str) -> dict[str, str]:
    """Return this process's environment with some variables changed, to start another process with."""
    return {**os.environ, **changes}


def check_values(environ: Mapping[str, str]) -> None:
    """Check the values in an environment to which `up` adds what is missing. Raises SettingsError at the first wrong one."""
    values = {name: value.strip() for name, value in environ.items() if value.strip()}
    home = home_folder(environ)
    for table in (Settings, Newsletter, Pace, PublicLog, Caching, MailCheck, SigningIn, Tracing, Identity):
        _read(table, values, home, dict.fromkeys(table.__struct_fields__))
    _dkim(values, home)
    operator_settings.check(SigningIn(**_read(SigningIn, values, home)))


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence about each variable that looks like one of ours and isn't, in the environment or in `environ`."""
    given = os.environ if environ is None else environ
    unknown = sorted(name for name in given if name.startswith(PREFIX) and name not in VARIABLES)
    ours = [name.removeprefix(PREFIX) for name in VARIABLES]
    near = {name: get_close_matches(name.removeprefix(PREFIX), ours, 1, 0.75) for name in unknown}
    return [f"{name} is no setting" + (f": did you mean {PREFIX}{near[name][0]}?" if near[name] else "") for name in unknown]


def known_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without variables that look like ours and aren't."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name in VARIABLES}


def choose_home(folder: str) -> None:
    """Let this process, and those that it starts, work on this home folder."""
    os.environ[HOME] = folder


def choose_person(name: str) -> None:
    """Let the log say that what this process does is done by this person. Raises SettingsError."""
    os.environ[operator_settings.PERSON] = operator_settings.TABLE["person"].value(name)


def our_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the non-empty variables that configure Ballotpress, except BALLOTPRESS_HOME."""
    return {name: environ[name] for name in VARIABLES if name != HOME and environ.get(name, "").strip()}


def names_database() -> bool:
    """Tell whether this process's environment names a PostgreSQL, so that the private one isn't used."""
    return bool(os.environ.get("DATABASE_URL", "").strip())


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the home folder."""
    return Path(environ.get(HOME) or ".ballotpress").expanduser().resolve()
