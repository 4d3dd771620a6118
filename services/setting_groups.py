"""Settings that belong together: of the newsletter and its pace, of the public log, and of shared caches."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from services.identity import Identity


class Dkim(msgspec.Struct, frozen=True, kw_only=True):
    """The key that signs mails, and the domain and selector it is published under."""

    domain: str
    selector: str
    key_file: Path


class Newsletter(msgspec.Struct, frozen=True, kw_only=True):
    """The schedule and sender of issues, and limits that keep the sign-up form from flooding strangers with mail.

    `day` counts from Monday, 0; `retired_keys` verify unsubscribe links only.
    """

    sender: str = f"{Identity().newsletter_name} <digest@localhost.localdomain>"
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
    ehlo_name: str | None = None
    lease_seconds: int = 60
    marks_folder: Path | None = None


class Hours(NamedTuple):
    """Hours of the clock: from `opens` on, until `closes`, which may be on the day after."""

    opens: int
    closes: int


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How many digests leave on a day, at which hours, and whether readers get theirs at an hour of their own zone.

    `warm_up` is the cap of the first day; it grows by `warm_up_growth` a day, up to `mails_per_day`.
    """

    warm_up: int | None = None
    warm_up_growth: float = 1.5
    mails_per_day: int | None = None
    provider_mails_per_day: int | None = None
    sending_hours: Hours | None = None
    own_hour: bool = False


class PublicLog(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that sign the public log, newest first (for the process that signs alone), and where its files are kept.

    What is signed is at least `sign_after_seconds` old. Without `checkpoint_file` and `pack_folder` they are at home.
    """

    log_keys: tuple[bytes, ...] = ()
    checkpoint_file: Path | None = None
    sign_after_seconds: int = 0
    pack_folder: Path | None = None
    witness_policy: Path | None = None


class Header(NamedTuple):
    """A header of a request."""

    name: str
    value: str


class Caching(msgspec.Struct, frozen=True, kw_only=True):
    """For how long shared caches may keep a public page, and where they are told to forget it: a header proves who calls."""

    shared_seconds: int = 1
    purge_url: str | None = None
    purge_header: Header | None = None
    purge_field: str = "tags"


class DnsServer(NamedTuple):
    """A DNS server's IP address and port."""

    address: str
    port: int = 53


class MailCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The DNS servers that `mail check` asks (none: the system's), and the addresses that the relay sends from, if known."""

    dns_servers: tuple[DnsServer, ...] = ()
    outgoing: tuple[str, ...] = ()


class GroupScopes(NamedTuple):
    """A group at the provider, and the scopes that it opens."""

    group: str
    scopes: frozenset[str]


class SigningIn(msgspec.Struct, frozen=True, kw_only=True):
    """How operators sign in at a provider (OpenID Connect), and how long a session lasts.

    Without an issuer there is no provider. A client without a secret is a public one: PKCE protects it.
    """

    issuer: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    groups: tuple[GroupScopes, ...] = ()
    groups_claim: str = "groups"
    name_claim: str = "preferred_username"
    asked_scopes: str = "openid profile"
    by_token: bool = True
    session_minutes: int = 120
    idle_minutes: int = 60


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans are sent by OTLP over HTTP (None: nowhere), with which headers, and the share of requests that is traced.

    `is_off` traces nothing, whatever the others say.
    """

    endpoint: str | None = None
    headers: tuple[Header, ...] = ()
    share: float = 0.1
    is_off: bool = False
