"""The variables of operators: their tokens and scopes, the provider where they sign in, and how long a session lasts."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.setting_groups import GroupScopes, SigningIn
from services.setting_table import SettingsError, Variable, switch

SCOPES: Final = frozenset({"catalog", "moderate", "voters", "digest", "read", "webhooks", "quarantine", "operators"})
TOKENS: Final = "BALLOTPRESS_OPERATOR_TOKENS"
SHELL: Final = "shell"
"""Who acts at a shell, where nobody vouches for a name; with a name of their choice it is `shell:NAME`."""
PERSON: Final = "BALLOTPRESS_OPERATOR"
_GROUPS: Final = "BALLOTPRESS_OIDC_GROUPS"


class OperatorToken(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token of an operator and the scopes it opens."""

    name: str
    scopes: frozenset[str]
    token: str


def _scopes(words: str, gives: str) -> frozenset[str]:
    scopes = frozenset(filter(None, words.split("+")))
    if unknown := sorted(scopes - SCOPES):
        raise SettingsError(f"{gives} the unknown scope {unknown[0]!r}: use {', '.join(sorted(SCOPES))}")
    return scopes


def _token(word: str) -> OperatorToken:
    name, words, token = word.split(":", 2)
    gives = f"{TOKENS} gives {name!r}"  # and never repeats the token
    scopes = _scopes(words, gives)
    if len(token) < 16:
        raise SettingsError(f"{gives} a token under 16 characters: use a longer one")
    return OperatorToken(name=name, scopes=scopes, token=token)


def _group(word: str) -> GroupScopes:
    group, _, words = word.rpartition("=")
    return GroupScopes(group.strip(), _scopes(words, f"{_GROUPS} gives {group.strip()!r}"))


def _issuer(word: str) -> str:
    """Return an issuer as it is spelled: it is compared character by character (OpenID Connect Discovery, 4.3)."""
    parts = urlsplit(word)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError
    return word


def _minutes(name: str) -> Variable:
    return Variable(name, "0*[1-9][0-9]{0,3}", "must be whole minutes from 1 to 9999, not {!r}", int)


# fmt: off
TABLE: Final[Mapping[str, Variable]] = {
    "operator_tokens": Variable(
        TOKENS, r"[^:]+:\+*[^:+][^:]*:.+", "must be a comma-separated list of name:scope+scope:token", _token,
    ),
    "person": Variable(PERSON, r"[A-Za-z0-9._@-]{1,60}", "must be a name of letters, digits and . _ @ -, not {!r}"),
    "issuer": Variable(
        "BALLOTPRESS_OIDC_ISSUER", r"https?://[a-z0-9.:\[\]_-]+(/[^?#\s]*)?",
        "must be the provider's address as it spells it, such as https://accounts.example.com, not {!r}", _issuer,
    ),
    "client_id": Variable("BALLOTPRESS_OIDC_CLIENT_ID", "[ -~]{1,255}", "must be the id that the provider gave this site"),
    "client_secret": Variable("BALLOTPRESS_OIDC_CLIENT_SECRET", "[ -~]{8,}", "must be the secret that the provider gave"),
    "groups": Variable(
        _GROUPS, r"[^=]*[^=\s]\s*=\+*[^=+].*",
        "must list groups with their scopes, such as editors=moderate+catalog, not {!r}", _group,
    ),
    "groups_claim": Variable("BALLOTPRESS_OIDC_GROUPS_CLAIM", "[!-~]{1,200}", "must be a claim such as groups, not {!r}"),
    "name_claim": Variable("BALLOTPRESS_OIDC_NAME_CLAIM", "[!-~]{1,200}", "must be a claim such as email, not {!r}"),
    "asked_scopes": Variable(
        "BALLOTPRESS_OIDC_SCOPES", "(.* )?openid( .*)?", "must hold openid, such as `openid profile groups`, not {!r}",
    ),
    "by_token": switch("BALLOTPRESS_TOKEN_SIGN_IN"),
    "session_minutes": _minutes("BALLOTPRESS_SESSION_MINUTES"),
    "idle_minutes": _minutes("BALLOTPRESS_SESSION_IDLE_MINUTES"),
}
# fmt: on
_OF_PROVIDER: Final = ("issuer", "client_id", "groups")


def check(given: SigningIn) -> SigningIn:
    """Return settings that leave a way in. Raises SettingsError."""
    has = [name for name in _OF_PROVIDER if getattr(given, name)]
    if has and len(has) < len(_OF_PROVIDER):
        raise SettingsError(f"Set all of {', '.join(TABLE[name].name for name in _OF_PROVIDER)}, or none")
    if not has and not given.by_token:
        raise SettingsError("BALLOTPRESS_TOKEN_SIGN_IN is off, and there is no BALLOTPRESS_OIDC_ISSUER: nobody could sign in")
    return given


def shell_name(person: str | None) -> str:
    """Return the operator's name of what is done at a shell, by somebody who may have said who."""
    return SHELL if person is None else f"{SHELL}:{person}"


def is_reserved(name: str) -> bool:
    """Tell whether a name stands for a shell or the detector, so that nobody else can have it."""
    return re.match(rf"({SHELL}|detector)\b", name.strip(), re.IGNORECASE) is not None
