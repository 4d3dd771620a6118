"""The settings of a process, read once from its environment, by the table of variables below.

The only module that reads `os.environ`. What the environment leaves out comes from the home folder: the URLs of a
running `ballotpress up`, the keys in `secrets`, the operator's token in `operator.token`.
A wrong value raises `SettingsError` with one sentence that names the variable.
"""

import os
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from email.utils import quote
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal, get_origin
from urllib.parse import urlsplit

import msgspec

from services import setting_words as says
from services.identity import LOGO_KINDS, THEME_PARTS, Accent, Identity, read_accent, read_footer_link, read_logo, read_theme
from services.private_files import NotOurs, must_be_ours
from services.setting_groups import Caching, Dkim, Newsletter, PublicLog
from services.urls import UrlError, read_database_url, read_valkey_url

LogFormat = Literal["json", "console"]
PuzzleBy = Literal["operator", "detector"]
Crawlers = Literal["all", "none"]

SCOPES: Final = frozenset({"catalog", "moderate", "voters", "digest", "read", "webhooks"})
PREFIX: Final = "BALLOTPRESS_"
HOME: Final = PREFIX + "HOME"
LOG_KEY: Final = PREFIX + "LOG_KEY"
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence that names the variable and says what to do."""


class OperatorToken(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token of an operator and the scopes it opens."""

    name: str
    scopes: frozenset[str]
    token: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a process. Keys stand newest first. A limit of None follows from another one."""

    database_url: str
    redis_url: str
    home: Path
    secret_keys: tuple[str, ...]
    vault_keys: tuple[str, ...]
    base_url: str = "http://127.0.0.1:8000"
    smtp_url: str | None = None
    operator_tokens: tuple[OperatorToken, ...] = ()
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
    webhook_failures: int = 20
    webhook_loopback: bool = False
    crawlers: Crawlers = "all"
    drain_seconds: int = 3
    log_format: LogFormat = "json"
    newsletter: Newsletter = Newsletter()
    public_log: PublicLog = PublicLog()
    caching: Caching = Caching()
    identity: Identity = Identity()


class Variable(msgspec.Struct, frozen=True):
    """A variable: the pattern of its value (in a list, of each word), its reader, and its refusals if wrong or missing.

    A refusal follows the variable's name and may repeat the value as `{!r}`; that of a secret doesn't.
    """

    name: str
    pattern: str
    refusal: str
    read: Callable[[str], Any] = str
    missing: str = ", or start `ballotpress up`: {home}"

    def value(self, word: str) -> Any:
        """Return the value that a word stands for. Raises SettingsError."""
        try:
            return self.read(says.checked(word, re.fullmatch(self.pattern, word)))
        except UrlError as error:
            raise SettingsError(f"{self.name} {error}") from None
        except ValueError:
            raise SettingsError(f"{self.name} {self.refusal.format(word)}") from None


def _operator_token(word: str) -> OperatorToken:
    name, words, token = word.split(":", 2)
    scopes = frozenset(filter(None, words.split("+")))
    gives = f"BALLOTPRESS_OPERATOR_TOKENS gives {name!r}"  # and never repeats the token
    if unknown := sorted(scopes - SCOPES):
        raise SettingsError(f"{gives} the unknown scope {unknown[0]!r}: use {', '.join(sorted(SCOPES))}")
    if len(token) < 16:
        raise SettingsError(f"{gives} a token under 16 characters: use a longer one")
    return OperatorToken(name=name, scopes=scopes, token=token)


def _accent(word: str) -> Accent:
    try:
        return read_accent(word)
    except ValueError as error:
        raise SettingsError(f"BALLOTPRESS_SITE_COLOR {error}") from None


def _count(name: str) -> Variable:
    return Variable(name, "0*[1-9][0-9]{0,9}", "must be a whole number from 1 to 9999999999, not {!r}", int)


def _switch(name: str) -> Variable:
    return Variable(name, "on|off", "must be on or off, not {!r}", lambda word: word == "on")


# fmt: off
_TABLE: Final = {
    "database_url": Variable(
        "DATABASE_URL", "(?i)postgres(ql)?://.*", "must be a URL that begins with postgresql://",
        read_database_url,
    ),
    "redis_url": Variable(
        "REDIS_URL", "(?i)(rediss?|unix)://.*", "must be a URL that begins with redis://", read_valkey_url,
    ),
    "smtp_url": Variable("SMTP_URL", r"(?i)smtp(s|\+starttls)?://.*", "must be a URL that begins with smtp://"),
    "secret_keys": Variable(
        "BALLOTPRESS_SECRET_KEYS", ".{32,}", "holds a key shorter than 32 characters: use a longer one",
        missing=" to one or more random keys of 32 characters, newest first",
    ),
    "vault_keys": Variable(
        "BALLOTPRESS_VAULT_KEYS", "[A-Za-z0-9+/]{43}=", "holds a key that is not 32 bytes in base64: use one that is",
        missing=" to one or more keys of 32 random bytes in base64, newest first",
    ),
    "base_url": Variable(
        "BALLOTPRESS_BASE_URL", r"(?i)https?://[^/?#@\s]+/*", "must be the site's address without a path, such as https://example.com",
        lambda word: word.rstrip("/"),
    ),
    "operator_tokens": Variable(
        "BALLOTPRESS_OPERATOR_TOKENS", r"[^:]+:\+*[^:+][^:]*:.+",
        "must be a comma-separated list of name:scope+scope:token", _operator_token,
    ),
    "trusted_proxies": Variable(
        "BALLOTPRESS_TRUSTED_PROXIES", ".*", "must list addresses or networks such as 10.0.0.0/8, not {!r}", ip_network,
    ),
    "cors_origins": Variable(
        "BALLOTPRESS_CORS_ORIGINS", r"https?://[^/?#\s]+",
        "must list origins such as https://example.com, not {!r} (and never '*': any site could vote as its visitors)",
    ),
    "security_contacts": Variable(
        "BALLOTPRESS_SECURITY_CONTACT", r"mailto:[^@\s]+@[^@\s]+|https://[^\s/]\S*|tel:\+[0-9-]+",
        "must be an address such as mailto:security@example.com or https://example.com/report, not {!r}",
    ),
    "writes_per_minute": _count("BALLOTPRESS_WRITES_PER_MINUTE"),
    "network_writes_per_minute": _count("BALLOTPRESS_NETWORK_WRITES_PER_MINUTE"),
    "new_visitors_per_hour": _count("BALLOTPRESS_NEW_VISITORS_PER_HOUR"),
    "first_votes_per_hour": _count("BALLOTPRESS_FIRST_VOTES_PER_HOUR"),
    "changes_per_day": _count("BALLOTPRESS_CHANGES_PER_DAY"),
    "reviews_per_hour": _count("BALLOTPRESS_REVIEWS_PER_HOUR"),
    "network_viewers": _count("BALLOTPRESS_NETWORK_VIEWERS"),
    "network_marks": _switch("BALLOTPRESS_NETWORK_MARKS"),
    "second_operator_above": Variable(
        "BALLOTPRESS_SECOND_OPERATOR_ABOVE", "[0-9]{1,9}", "must be a whole number of votes, or 0 for never, not {!r}", int,
    ),
    "false_alarms": Variable(
        "BALLOTPRESS_FALSE_ALARMS", r"0*\.[0-9]*[1-9][0-9]*", "must be a share between 0 and 1, such as 0.01, not {!r}", float,
    ),
    "puzzle": Variable("BALLOTPRESS_PUZZLE", "operator|detector", "must be operator or detector, not {!r}"),
    "webhook_failures": _count("BALLOTPRESS_WEBHOOK_FAILURES"),
    "webhook_loopback": _switch("BALLOTPRESS_WEBHOOK_LOOPBACK"),
    "crawlers": Variable("BALLOTPRESS_CRAWLERS", "all|none", "must be all or none, not {!r}"),
    "drain_seconds": Variable("BALLOTPRESS_DRAIN_SECONDS", "0*[0-9]{1,3}", "must be whole seconds below 1000, not {!r}", int),
    "log_format": Variable("BALLOTPRESS_LOG_FORMAT", "json|console", "must be json or console, not {!r}"),
    "sender": Variable(
        "BALLOTPRESS_MAIL_FROM", ".*", "must be an address such as Verdicts <digest@example.com>, not {!r}", says.sender,
    ),
    "postal_address": Variable(
        "BALLOTPRESS_POSTAL_ADDRESS", ".{,200}", "must be one line of up to 200 characters", says.one_line,
    ),
    "day": Variable(
        "BALLOTPRESS_DIGEST_DAY", ".*", "must be a day of the week such as monday, not {!r}",
        lambda word: DAYS.index(word.lower()),
    ),
    "hour": Variable("BALLOTPRESS_DIGEST_HOUR", "0*([01]?[0-9]|2[0-3])", "must be an hour from 0 to 23, not {!r}", int),
    "zone": Variable("BALLOTPRESS_DIGEST_ZONE", ".*", "must be a time zone such as Europe/Berlin, not {!r}", says.zone),
    "signups_per_hour": _count("BALLOTPRESS_SIGNUPS_PER_HOUR"),
    "signups_in_all_per_hour": _count("BALLOTPRESS_SIGNUPS_IN_ALL_PER_HOUR"),
    "singles_per_day": _count("BALLOTPRESS_CONFIRMATIONS_PER_DAY"),
    "retired_keys": Variable(
        "BALLOTPRESS_RETIRED_KEYS", ".{32,}", "holds a key shorter than 32 characters: no former key was",
    ),
    "webhook_secrets": Variable(
        "BALLOTPRESS_MAIL_WEBHOOK_SECRETS", ".{16,}", "holds a secret under 16 characters: use a longer one",
    ),
    "ses_topics": Variable(
        "BALLOTPRESS_SES_TOPICS", r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}",
        "must list topics such as arn:aws:sns:eu-west-1:123456789012:bounces, not {!r}",
    ),
    "connections": _count("BALLOTPRESS_SMTP_CONNECTIONS"),
    "ehlo_name": Variable(
        "BALLOTPRESS_EHLO_NAME", r"([A-Za-z0-9-]+\.)+[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*|\[[0-9A-Fa-f.:]+\]",
        "must be this machine's full name, such as mail.example.com, or an address such as [192.0.2.1], not {!r}",
    ),
    "lease_seconds": _count("BALLOTPRESS_MAIL_LEASE_SECONDS"),
    "log_keys": Variable(
        LOG_KEY, "[A-Za-z0-9+/]{43}=", "holds a key that is not 32 bytes in base64: use one that is", b64decode,
    ),
    "checkpoint_file": Variable("BALLOTPRESS_CHECKPOINT_FILE", "/.*", "must be the absolute path of a file, not {!r}", Path),
    "sign_after_seconds": Variable(
        "BALLOTPRESS_SIGN_AFTER_SECONDS", "0*([1-3]?[0-9]|40)", "must be whole seconds, at most 40, not {!r}", int,
    ),
    "pack_folder": Variable("BALLOTPRESS_PACK_DIR", "/.*", "must be the absolute path of a folder, not {!r}", Path),
    "witness_policy": Variable("BALLOTPRESS_WITNESS_POLICY", ".*", "names no file: {}", says.file),
    "shared_seconds": _count("BALLOTPRESS_SHARED_SECONDS"),
    "purge_url": Variable(
        "BALLOTPRESS_PURGE_URL", r"(?i)https?://[a-z0-9.:\[\]_-]+(/[!-~]*)?", "must be an address such as https://cdn.example.com/purge",
    ),
    "purge_header": Variable(
        "BALLOTPRESS_PURGE_HEADER", r"[A-Za-z0-9-]+:\s*[!-~][ -~]*", "must be a header such as `Authorization: Bearer KEY`",
        says.header,
    ),
    "purge_field": Variable("BALLOTPRESS_PURGE_FIELD", "[A-Za-z_]{1,40}", "must be a name such as tags, not {!r}"),
    "site_name": Variable("BALLOTPRESS_SITE_NAME", ".{,60}", "must be one line of up to 60 characters", says.one_line),
    "newsletter_name": Variable(
        "BALLOTPRESS_NEWSLETTER_NAME", ".{,60}", "must be one line of up to 60 characters", says.one_line,
    ),
    "logo": Variable(
        "BALLOTPRESS_SITE_LOGO", ".*", f"must name a file that ends in {', '.join(LOGO_KINDS)}, not {{!r}}", read_logo,
    ),
    "accent": Variable(
        "BALLOTPRESS_SITE_COLOR", "#[0-9A-Fa-f]{6}", "must be a colour such as #1d4f7c, not {!r}", _accent,
    ),
    "footer_links": Variable(
        "BALLOTPRESS_FOOTER_LINKS", ".*",
        "must list links such as Imprint=https://example.com/imprint,Privacy=/privacy, not {!r}", read_footer_link,
    ),
    "theme": Variable(
        "BALLOTPRESS_THEME_DIR", ".*", f"must name a folder that holds {' or '.join(THEME_PARTS)}, not {{!r}}", read_theme,
    ),
    "domain": Variable("BALLOTPRESS_DKIM_DOMAIN", ".*", "must be a domain"),
    "selector": Variable("BALLOTPRESS_DKIM_SELECTOR", ".*", "must be a selector"),
    "key_file": Variable("BALLOTPRESS_DKIM_KEY_FILE", ".*", "names no file: {}", says.file),
}
# fmt: on

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
    default = {"sender": _sender_named(identity.newsletter_name, _mail_domain(settings.base_url))}
    newsletter = Newsletter(**(default | _read(Newsletter, values, home)), dkim=_dkim(values, home))
    public_log = PublicLog(**_read(PublicLog, values if signs_log else {**values, LOG_KEY: ""}, home))
    caching = Caching(**_read(Caching, values, home))
    return msgspec.structs.replace(settings, newsletter=newsletter, public_log=public_log, caching=caching, identity=identity)


def read_identity(environ: Mapping[str, str]) -> Identity:
    """Return the site's identity that an environment names. Raises SettingsError."""
    return Identity(**_read(Identity, {name: value.strip() for name, value in environ.items()}, home_folder(environ)))


def _sender_named(name: str, domain: str) -> str:
    return f'"{quote(name)}" <digest@{domain}>'


def _read(
    table: type[msgspec.Struct], values: Mapping[str, str], home: Path, default: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """Return the fields of a Struct that have a value, or a default. Raises SettingsError for a required field without one."""
    found = dict(default)
    for field in msgspec.structs.fields(table):
        if (variable := _TABLE.get(field.name)) is None:
            continue
        text, is_list = values.get(variable.name, ""), get_origin(field.type) is tuple
        if words := [word.strip() for word in (text.split(",") if is_list else [text]) if word.strip()]:
            read = tuple(map(variable.value, words))
            found[field.name] = read if is_list else read[0]
        elif field.required and field.name not in default:
            raise SettingsError(f"Set {variable.name}{variable.missing.format(home=_looked_at(home))}")
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
            kept["BALLOTPRESS_OPERATOR_TOKENS"] = f"operator:{'+'.join(sorted(SCOPES))}:{token}"
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
    for table in (Settings, Newsletter, PublicLog, Caching, Identity):
        _read(table, values, home, dict.fromkeys(table.__struct_fields__))
    _dkim(values, home)


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


def our_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the non-empty variables that configure Ballotpress, except BALLOTPRESS_HOME."""
    return {name: environ[name] for name in VARIABLES if name != HOME and environ.get(name, "").strip()}


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the home folder."""
    return Path(environ.get(HOME) or ".ballotpress").expanduser().resolve()
