"""The settings of a process, read once from its environment.

The only module that reads `os.environ`. What the environment leaves out is taken from the home folder: the URLs of a
running `ballotpress up` from `run.json`, the keys from `secrets`, the operator's token from `operator.token`.
A wrong value raises `SettingsError` with one sentence that names the variable.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

LogFormat = Literal["json", "console"]

SCOPES: Final = frozenset({"catalog", "moderate", "voters", "digest", "read"})
SERVER_URLS: Final = frozenset({"DATABASE_URL", "REDIS_URL", "SMTP_URL"})
DEFAULT_HOME: Final = ".ballotpress"
DEFAULT_BASE_URL: Final = "http://127.0.0.1:8000"
SECRET_KEY_CHARACTERS: Final = 32
VAULT_KEY_BYTES: Final = 32
TOKEN_CHARACTERS: Final = 16
POSTAL_CHARACTERS: Final = 200
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence that names the variable and says what to do."""


class OperatorToken(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token of an operator and the scopes it opens."""

    name: str
    scopes: frozenset[str]
    token: str


class Dkim(msgspec.Struct, frozen=True, kw_only=True):
    """Which key signs mails, and under which name it is published."""

    domain: str
    selector: str
    key_file: Path


class Newsletter(msgspec.Struct, frozen=True, kw_only=True):
    """When issues are due, who they come from, and what keeps the sign-up form from bombing strangers.

    `day` counts from Monday, 0; `retired_keys` verify nothing but unsubscribing.
    """

    sender: str = "Weekly AI Tool Verdicts <digest@localhost.localdomain>"
    postal_address: str | None = None
    day: int = 0
    hour: int = 9
    zone: str = "UTC"
    signups_per_hour: int = 20
    signups_in_all_per_hour: int = 1000
    singles_per_day: int = 3
    retired_keys: tuple[str, ...] = ()
    webhook_secrets: tuple[str, ...] = ()
    ses_topics: tuple[str, ...] = ()
    dkim: Dkim | None = None
    connections: int = 10
    lease_seconds: int = 60


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process is told from outside; keys stand newest first, limits count per minute or hour."""

    database_url: str
    redis_url: str
    home: Path
    secret_keys: tuple[str, ...]
    vault_keys: tuple[str, ...]
    base_url: str = DEFAULT_BASE_URL
    smtp_url: str | None = None
    operator_tokens: tuple[OperatorToken, ...] = ()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    writes_per_minute: int = 120
    network_writes_per_minute: int = 1200
    new_visitors_per_hour: int = 600
    log_format: LogFormat = "json"
    newsletter: Newsletter = Newsletter()


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment, or from `environ`; raise SettingsError at the first wrong value."""
    given = dict(os.environ if environ is None else environ)
    home = home_folder(given)
    values = _completed({name: value.strip() for name, value in given.items() if value.strip()}, home)
    database_url = _url(values, "DATABASE_URL", ("postgresql", "postgres"))
    secret_keys = _secret_keys(values)
    return Settings(
        database_url=database_url,
        redis_url=_url(values, "REDIS_URL", ("redis", "rediss", "unix")),
        smtp_url=_url(values, "SMTP_URL", ("smtp", "smtps", "smtp+starttls")) if "SMTP_URL" in values else None,
        home=home,
        base_url=_base_url(values),
        secret_keys=secret_keys,
        vault_keys=_vault_keys(values, secret_keys),
        operator_tokens=_operator_tokens(values, home),
        trusted_proxies=tuple(_network(word) for word in _words(values, "BALLOTPRESS_TRUSTED_PROXIES")),
        cors_origins=tuple(_origin(word) for word in _words(values, "BALLOTPRESS_CORS_ORIGINS")),
        writes_per_minute=_count(values, "BALLOTPRESS_WRITES_PER_MINUTE", 120),
        network_writes_per_minute=_count(values, "BALLOTPRESS_NETWORK_WRITES_PER_MINUTE", 1200),
        new_visitors_per_hour=_count(values, "BALLOTPRESS_NEW_VISITORS_PER_HOUR", 600),
        log_format=_log_format(values),
        newsletter=_newsletter(values),
    )


def _newsletter(values: Mapping[str, str]) -> Newsletter:
    name = "BALLOTPRESS_RETIRED_KEYS"
    retired = tuple(_words(values, name))
    if any(len(key) < SECRET_KEY_CHARACTERS for key in retired):
        raise SettingsError(f"{name} holds a key shorter than {SECRET_KEY_CHARACTERS} characters: none of ours was")
    return Newsletter(
        sender=_sender(values),
        postal_address=_postal_address(values),
        day=_day(values),
        hour=_hour(values),
        zone=_zone(values),
        signups_per_hour=_count(values, "BALLOTPRESS_SIGNUPS_PER_HOUR", 20),
        signups_in_all_per_hour=_count(values, "BALLOTPRESS_SIGNUPS_IN_ALL_PER_HOUR", 1000),
        singles_per_day=_count(values, "BALLOTPRESS_CONFIRMATIONS_PER_DAY", 3),
        retired_keys=retired,
        webhook_secrets=_webhook_secrets(values),
        ses_topics=tuple(_words(values, "BALLOTPRESS_SES_TOPICS")),
        dkim=_dkim(values),
        connections=_count(values, "BALLOTPRESS_SMTP_CONNECTIONS", 10),
        lease_seconds=_count(values, "BALLOTPRESS_MAIL_LEASE_SECONDS", 60),
    )


def _sender(values: Mapping[str, str]) -> str:
    name = "BALLOTPRESS_MAIL_FROM"
    host = urlsplit(_base_url(values)).hostname or "localhost"
    domain = host if "." in host and not host.replace(".", "").isdecimal() else "localhost.localdomain"
    sender = values.get(name, f"Weekly AI Tool Verdicts <digest@{domain}>")
    address = parseaddr(sender)[1]
    if "@" not in address or not sender.isprintable() or not address.isascii():
        raise SettingsError(f"{name} must be an address such as Verdicts <digest@example.com>, not {sender!r}")
    return sender


def _postal_address(values: Mapping[str, str]) -> str | None:
    name = "BALLOTPRESS_POSTAL_ADDRESS"
    address = values.get(name)
    if address is not None and not (address.isprintable() and len(address) <= POSTAL_CHARACTERS):
        raise SettingsError(f"{name} must be one line of up to {POSTAL_CHARACTERS} characters")
    return address


def _day(values: Mapping[str, str]) -> int:
    name = "BALLOTPRESS_DIGEST_DAY"
    word = values.get(name, "monday").lower()
    if word not in DAYS:
        raise SettingsError(f"{name} must be a day of the week such as monday, not {word!r}")
    return DAYS.index(word)


def _hour(values: Mapping[str, str]) -> int:
    name = "BALLOTPRESS_DIGEST_HOUR"
    word = values.get(name, "9")
    if not (word.isascii() and word.isdecimal() and int(word) < 24):
        raise SettingsError(f"{name} must be an hour from 0 to 23, not {word!r}")
    return int(word)


def _zone(values: Mapping[str, str]) -> str:
    name = "BALLOTPRESS_DIGEST_ZONE"
    word = values.get(name, "UTC")
    try:
        if word != "UTC":  # needs no database of zones, which a small machine may lack
            ZoneInfo(word)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"{name} must be a time zone such as Europe/Berlin, not {word!r}") from None
    return word


def _webhook_secrets(values: Mapping[str, str]) -> tuple[str, ...]:
    name = "BALLOTPRESS_MAIL_WEBHOOK_SECRETS"
    secrets = tuple(_words(values, name))
    if any(len(secret) < TOKEN_CHARACTERS for secret in secrets):
        raise SettingsError(f"{name} holds a secret under {TOKEN_CHARACTERS} characters: use a longer one")
    return secrets


def _dkim(values: Mapping[str, str]) -> Dkim | None:
    names = ("BALLOTPRESS_DKIM_DOMAIN", "BALLOTPRESS_DKIM_SELECTOR", "BALLOTPRESS_DKIM_KEY_FILE")
    given = [values.get(name) for name in names]
    if not any(given):
        return None
    domain, selector, key_file = given
    if not (domain and selector and key_file):
        raise SettingsError(f"Set all of {', '.join(names)}, or none")
    if not Path(key_file).is_file():
        raise SettingsError(f"{names[2]} names no file: {key_file}")
    return Dkim(domain=domain, selector=selector, key_file=Path(key_file))


def process_environ(**changes: str) -> dict[str, str]:
    """Return this process's environment with some variables changed, to start another process with."""
    return {**os.environ, **changes}


def our_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set us up, but for the home folder's; an empty one says nothing."""
    names = (name for name in environ if name.startswith("BALLOTPRESS_") or name in SERVER_URLS)
    return {name: environ[name] for name in names if name != "BALLOTPRESS_HOME" and environ[name].strip()}


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the home folder."""
    return Path(environ.get("BALLOTPRESS_HOME") or DEFAULT_HOME).expanduser().resolve()


def _completed(given: dict[str, str], home: Path) -> dict[str, str]:
    """Add what the home folder knows to what the environment says; the environment wins."""
    try:
        kept = _env_file(home / "secrets")
        running: dict[str, str] = {}
        if "DATABASE_URL" not in given or "REDIS_URL" not in given:
            from services.embedded.runfile import settings_of_running

            running = settings_of_running(home)
    except PermissionError as error:
        raise SettingsError(f"{error.filename} may not be read: run this as its owner, or set BALLOTPRESS_HOME") from None
    return {**kept, **running, **given}


def _env_file(path: Path) -> dict[str, str]:
    """Read lines of `NAME=value`; an absent file is an empty one."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _words(values: Mapping[str, str], name: str) -> list[str]:
    return [word.strip() for word in values.get(name, "").split(",") if word.strip()]


def _url(values: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str:
    if name not in values:
        raise SettingsError(f"Set {name}, or start one with `ballotpress up`")
    if urlsplit(values[name]).scheme not in schemes or "://" not in values[name]:
        raise SettingsError(f"{name} must be a URL that begins with {schemes[0]}://")
    return values[name]


def _base_url(values: Mapping[str, str]) -> str:
    url = values.get("BALLOTPRESS_BASE_URL", DEFAULT_BASE_URL)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError("BALLOTPRESS_BASE_URL must be the site's address, such as https://example.com")
    return url.rstrip("/")


def _secret_keys(values: Mapping[str, str]) -> tuple[str, ...]:
    name = "BALLOTPRESS_SECRET_KEYS"
    keys = tuple(_words(values, name))
    if not keys:
        raise SettingsError(f"Set {name} to one or more random keys of {SECRET_KEY_CHARACTERS} characters, newest first")
    if any(len(key) < SECRET_KEY_CHARACTERS for key in keys):
        raise SettingsError(f"{name} holds a key shorter than {SECRET_KEY_CHARACTERS} characters: use a longer one")
    return keys


def _vault_keys(values: Mapping[str, str], secret_keys: tuple[str, ...]) -> tuple[str, ...]:
    name = "BALLOTPRESS_VAULT_KEYS"
    keys = tuple(_words(values, name))
    if not keys:
        raise SettingsError(f"Set {name} to one or more keys of {VAULT_KEY_BYTES} random bytes in base64, newest first")
    if any(_decoded_length(key) != VAULT_KEY_BYTES for key in keys):
        raise SettingsError(f"{name} holds a key that is not {VAULT_KEY_BYTES} bytes in base64: use one that is")
    if set(keys) & set(secret_keys):
        raise SettingsError(f"{name} shares a key with BALLOTPRESS_SECRET_KEYS: use different ones")
    return keys


def _decoded_length(key: str) -> int:
    try:
        return len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        return -1


def _operator_tokens(values: Mapping[str, str], home: Path) -> tuple[OperatorToken, ...]:
    entries = _words(values, "BALLOTPRESS_OPERATOR_TOKENS")
    if entries:
        return tuple(_operator_token(entry) for entry in entries)
    try:
        token = (home / "operator.token").read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except PermissionError as error:
        raise SettingsError(f"{error.filename} may not be read: run this as its owner, or set BALLOTPRESS_HOME") from None
    return (_operator_token(f"operator:{'+'.join(sorted(SCOPES))}:{token}"),)


def _operator_token(entry: str) -> OperatorToken:
    """Read `name:scope+scope:token`; no message repeats the token."""
    variable = "BALLOTPRESS_OPERATOR_TOKENS"
    name, _, rest = entry.partition(":")
    words, _, token = rest.partition(":")
    scopes = frozenset(word for word in words.split("+") if word)
    if not (name and scopes and token):
        raise SettingsError(f"{variable} must be a comma-separated list of name:scope+scope:token")
    if unknown := sorted(scopes - SCOPES):
        raise SettingsError(f"{variable} gives {name!r} the unknown scope {unknown[0]!r}: use {', '.join(sorted(SCOPES))}")
    if len(token) < TOKEN_CHARACTERS:
        raise SettingsError(f"{variable} gives {name!r} a token under {TOKEN_CHARACTERS} characters: use a longer one")
    return OperatorToken(name=name, scopes=scopes, token=token)


def _network(word: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(word)
    except ValueError:
        raise SettingsError(
            f"BALLOTPRESS_TRUSTED_PROXIES must list addresses or networks such as 10.0.0.0/8, not {word!r}"
        ) from None


def _origin(word: str) -> str:
    name = "BALLOTPRESS_CORS_ORIGINS"
    if word == "*":
        raise SettingsError(f"{name} may not be '*', which lets any site vote as its visitors: list the origins")
    parts = urlsplit(word)
    if parts.scheme not in ("http", "https") or word != f"{parts.scheme}://{parts.netloc}" or not parts.netloc:
        raise SettingsError(f"{name} must list origins such as https://example.com, not {word!r}")
    return word


def _count(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise SettingsError(f"{name} must be a whole number above 0, not {text!r}")
    return int(text)


def _log_format(values: Mapping[str, str]) -> LogFormat:
    match values.get("BALLOTPRESS_LOG_FORMAT", "json"):
        case "json":
            return "json"
        case "console":
            return "console"
        case other:
            raise SettingsError(f"BALLOTPRESS_LOG_FORMAT must be json or console, not {other!r}")
