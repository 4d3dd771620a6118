"""The table of variables: the pattern of each one's value, its reader, and what is said of a wrong one."""

import re
from base64 import b64decode
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import msgspec

from services import setting_words as says
from services.identity import LOGO_KINDS, THEME_PARTS, Accent, read_accent, read_footer_link, read_logo, read_theme
from services.urls import UrlError, read_database_url, read_replicas_url, read_valkey_url

PREFIX: Final = "BALLOTPRESS_"
LOG_KEY: Final = PREFIX + "LOG_KEY"
_KEY_WRONG: Final = "holds a key that is not 32 bytes in base64: use one as `openssl rand -base64 32` prints it"
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class SettingsError(Exception):
    """A setting is missing or wrong; the message is one sentence that names the variable and says what to do."""


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


def _accent(word: str) -> Accent:
    try:
        return read_accent(word)
    except ValueError as error:
        raise SettingsError(f"BALLOTPRESS_SITE_COLOR {error}") from None


def count(name: str) -> Variable:
    """Return a variable that is a number above 0."""
    return Variable(name, "0*[1-9][0-9]{0,9}", "must be a whole number from 1 to 9999999999, not {!r}", int)


def switch(name: str) -> Variable:
    """Return a variable that is on or off."""
    return Variable(name, "on|off", "must be on or off, not {!r}", lambda word: word == "on")


# fmt: off
TABLE: Final = {
    "database_url": Variable(
        "DATABASE_URL", "(?i)postgres(ql)?://.*", "must be a URL that begins with postgresql://",
        read_database_url,
    ),
    "read_database_url": Variable(
        "READ_DATABASE_URL", "(?i)postgres(ql)?://.*", "must be a URL that begins with postgresql://",
        read_replicas_url,
    ),
    "read_lag_seconds": count("BALLOTPRESS_READ_LAG_SECONDS"),
    "redis_url": Variable(
        "REDIS_URL", "(?i)(rediss?|unix)://.*", "must be a URL that begins with redis://", read_valkey_url,
    ),
    "smtp_url": Variable("SMTP_URL", r"(?i)smtp(s|\+starttls)?://.*", "must be a URL that begins with smtp://"),
    "secret_keys": Variable(
        "BALLOTPRESS_SECRET_KEYS", ".{32,}", "holds a key shorter than 32 characters: use a longer one",
        missing=" to one or more random keys of 32 characters (`openssl rand -hex 32` prints one), newest first",
    ),
    "vault_keys": Variable(
        "BALLOTPRESS_VAULT_KEYS", "[A-Za-z0-9+/]{43}=", _KEY_WRONG,
        missing=" to one or more keys of 32 random bytes in base64 (`openssl rand -base64 32` prints one), newest first",
    ),
    "base_url": Variable(
        "BALLOTPRESS_BASE_URL", r"(?i)https?://[^/?#@\s]+/*", "must be the site's address without a path, such as https://example.com",
        lambda word: word.rstrip("/"),
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
    "writes_per_minute": count("BALLOTPRESS_WRITES_PER_MINUTE"),
    "network_writes_per_minute": count("BALLOTPRESS_NETWORK_WRITES_PER_MINUTE"),
    "new_visitors_per_hour": count("BALLOTPRESS_NEW_VISITORS_PER_HOUR"),
    "first_votes_per_hour": count("BALLOTPRESS_FIRST_VOTES_PER_HOUR"),
    "changes_per_day": count("BALLOTPRESS_CHANGES_PER_DAY"),
    "reviews_per_hour": count("BALLOTPRESS_REVIEWS_PER_HOUR"),
    "network_viewers": count("BALLOTPRESS_NETWORK_VIEWERS"),
    "network_marks": switch("BALLOTPRESS_NETWORK_MARKS"),
    "second_operator_above": Variable(
        "BALLOTPRESS_SECOND_OPERATOR_ABOVE", "[0-9]{1,9}", "must be a whole number of votes, or 0 for never, not {!r}", int,
    ),
    "false_alarms": Variable(
        "BALLOTPRESS_FALSE_ALARMS", r"0*\.[0-9]*[1-9][0-9]*", "must be a share between 0 and 1, such as 0.01, not {!r}", float,
    ),
    "puzzle": Variable("BALLOTPRESS_PUZZLE", "operator|detector", "must be operator or detector, not {!r}"),
    "log_part_size": Variable(
        "BALLOTPRESS_LOG_PART_SIZE", "0*[1-9][0-9]{4,9}", "must be a whole number from 10000 to 9999999999, not {!r}", int,
    ),
    "webhook_failures": count("BALLOTPRESS_WEBHOOK_FAILURES"),
    "webhook_loopback": switch("BALLOTPRESS_WEBHOOK_LOOPBACK"),
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
    "signups_per_hour": count("BALLOTPRESS_SIGNUPS_PER_HOUR"),
    "signups_in_all_per_hour": count("BALLOTPRESS_SIGNUPS_IN_ALL_PER_HOUR"),
    "singles_per_day": count("BALLOTPRESS_CONFIRMATIONS_PER_DAY"),
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
    "connections": count("BALLOTPRESS_SMTP_CONNECTIONS"),
    "ehlo_name": Variable(
        "BALLOTPRESS_EHLO_NAME", r"([A-Za-z0-9-]+\.)+[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*|\[[0-9A-Fa-f.:]+\]",
        "must be this machine's full name, such as mail.example.com, or an address such as [192.0.2.1], not {!r}",
    ),
    "lease_seconds": count("BALLOTPRESS_MAIL_LEASE_SECONDS"),
    "dns_servers": Variable(
        "BALLOTPRESS_DNS_SERVERS", r"[0-9A-Fa-f.:]+|\[[0-9A-Fa-f:]+\](:[0-9]{1,5})?|[0-9.]+:[0-9]{1,5}",
        "must list IP addresses such as 192.0.2.53 or [2001:db8::53]:5353, not {!r}", says.dns_server,
    ),
    "outgoing": Variable(
        "BALLOTPRESS_OUTGOING_ADDRESSES", "[0-9A-Fa-f.:]+", "must list IP addresses such as 192.0.2.25, not {!r}", says.ip,
    ),
    "warm_up": count("BALLOTPRESS_WARM_UP"),
    "warm_up_growth": Variable(
        "BALLOTPRESS_WARM_UP_GROWTH", r"0*[1-9](\.[0-9]{1,4})?", "must be a number from 1 to 9.9, such as 1.5, not {!r}",
        float,
    ),
    "mails_per_day": count("BALLOTPRESS_MAILS_PER_DAY"),
    "provider_mails_per_day": count("BALLOTPRESS_PROVIDER_MAILS_PER_DAY"),
    "sending_hours": Variable(
        "BALLOTPRESS_SENDING_HOURS", "[0-9]{1,2}-[0-9]{1,2}", "must be hours of the day such as 8-20 or 22-6, not {!r}",
        says.hours,
    ),
    "own_hour": switch("BALLOTPRESS_OWN_HOUR"),
    "archive_folder": Variable("BALLOTPRESS_ARCHIVE_DIR", "/.*", "must be the absolute path of a folder, not {!r}", Path),
    "erasure_file": Variable("BALLOTPRESS_ERASURE_FILE", "/.*", "must be the absolute path of a file, not {!r}", Path),
    "marks_folder": Variable("BALLOTPRESS_SENT_MARKS_DIR", "/.*", "must be the absolute path of a folder, not {!r}", Path),
    "log_keys": Variable(
        LOG_KEY, "[A-Za-z0-9+/]{43}=", _KEY_WRONG, b64decode,
    ),
    "checkpoint_file": Variable("BALLOTPRESS_CHECKPOINT_FILE", "/.*", "must be the absolute path of a file, not {!r}", Path),
    "sign_after_seconds": Variable(
        "BALLOTPRESS_SIGN_AFTER_SECONDS", "0*([1-3]?[0-9]|40)", "must be whole seconds, at most 40, not {!r}", int,
    ),
    "pack_folder": Variable("BALLOTPRESS_PACK_DIR", "/.*", "must be the absolute path of a folder, not {!r}", Path),
    "witness_policy": Variable("BALLOTPRESS_WITNESS_POLICY", ".*", "names no file: {}", says.file),
    "shared_seconds": count("BALLOTPRESS_SHARED_SECONDS"),
    "purge_url": Variable(
        "BALLOTPRESS_PURGE_URL", r"(?i)https?://[a-z0-9.:\[\]_-]+(/[!-~]*)?", "must be an address such as https://cdn.example.com/purge",
    ),
    "purge_header": Variable(
        "BALLOTPRESS_PURGE_HEADER", r"[A-Za-z0-9-]+:\s*[!-~][ -~]*", "must be a header such as `Authorization: Bearer KEY`",
        says.header,
    ),
    "purge_field": Variable("BALLOTPRESS_PURGE_FIELD", "[A-Za-z_]{1,40}", "must be a name such as tags, not {!r}"),
    "endpoint": Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT", r"(?i)https?://[a-z0-9.:\[\]_-]+(/[!-~]*)?",
        "must be the address of a collector such as http://127.0.0.1:4318", lambda word: word.rstrip("/"),
    ),
    "headers": Variable(
        "OTEL_EXPORTER_OTLP_HEADERS", r"[A-Za-z0-9_-]+\s*=\s*[!-~]+", "must list headers such as `api-key=KEY`",
        says.otlp_header,
    ),
    "is_off": Variable(
        "OTEL_SDK_DISABLED", "(?i)true|false", "must be true or false, not {!r}", lambda word: word.lower() == "true",
    ),
    "share": Variable(
        "OTEL_TRACES_SAMPLER_ARG", r"0*(1(\.0*)?|0|0?\.[0-9]+)", "must be a share from 0 to 1, such as 0.1, not {!r}", float,
    ),
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
        "must list links such as Imprint=https://example.com/imprint,Your data=/your-data, not {!r}", read_footer_link,
    ),
    "theme": Variable(
        "BALLOTPRESS_THEME_DIR", ".*", f"must name a folder that holds {' or '.join(THEME_PARTS)}, not {{!r}}", read_theme,
    ),
    "domain": Variable("BALLOTPRESS_DKIM_DOMAIN", ".*", "must be a domain"),
    "selector": Variable("BALLOTPRESS_DKIM_SELECTOR", ".*", "must be a selector"),
    "key_file": Variable("BALLOTPRESS_DKIM_KEY_FILE", ".*", "names no file: {}", says.file),
}
# fmt: on
