"""One set of settings for all tests: as `Settings`, and as the environment of our processes."""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from services.settings import OperatorToken, Settings

SECRET_KEY = "a-secret-key-of-the-tests-of-40-letters."
VAULT_KEY = b64encode(b"v" * 32).decode()
LOG_KEY = b64encode(b"k" * 32).decode()
NOWHERE = Path("/nonexistent")

OPERATOR = OperatorToken(name="ops", scopes=frozenset({"read", "catalog"}), token="operator-token-of-tests")

UNLIMITED = {
    "BALLOTPRESS_WRITES_PER_MINUTE": "1000000000",
    "BALLOTPRESS_NETWORK_WRITES_PER_MINUTE": "1000000000",
    "BALLOTPRESS_NEW_VISITORS_PER_HOUR": "1000000000",
}


def settings(dsn: str, valkey_url: str, **more: Any) -> Settings:
    """Return the settings of a test inside its own process."""
    plain = {
        "database_url": dsn,
        "redis_url": valkey_url,
        "home": NOWHERE,
        "secret_keys": (SECRET_KEY,),
        "vault_keys": (VAULT_KEY,),
        "operator_tokens": (OPERATOR,),
        "network_writes_per_minute": 10**6,  # a worker's tests share a network, and sign in from it often
    }
    return Settings(**{**plain, **more})


def variables(dsn: str, valkey_url: str, home: Path = NOWHERE) -> dict[str, str]:
    """Return the least that a process of ours needs to be set."""
    return {
        "DATABASE_URL": dsn,
        "REDIS_URL": valkey_url,
        "BALLOTPRESS_HOME": str(home),
        "BALLOTPRESS_SECRET_KEYS": SECRET_KEY,
        "BALLOTPRESS_VAULT_KEYS": VAULT_KEY,
        "BALLOTPRESS_DRAIN_SECONDS": "0",
    }


def environ(dsn: str, valkey_url: str, home: Path = NOWHERE, **more: str) -> dict[str, str]:
    """Return the whole environment of a process of ours."""
    return clean_environ(**variables(dsn, valkey_url, home)) | more


def clean_environ(**more: str) -> dict[str, str]:
    """Return this process's environment without what would set Ballotpress up."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLOTPRESS_", "OTEL_")) and not k.endswith("_URL")}
    return kept | more
