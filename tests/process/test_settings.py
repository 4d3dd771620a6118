"""Settings: where each comes from, and the one sentence that a wrong one is answered with."""

import base64
import os
import re
from pathlib import Path

import pytest

from services.embedded.runfile import Run, process_named, write_run
from services.embedded.start import find_settings
from services.setting_groups import Header
from services.settings import SCOPES, VARIABLES, OperatorToken, SettingsError, read_settings
from tests.support.settings import SECRET_KEY, VAULT_KEY, variables


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The variables that every process needs."""
    return variables("postgresql://localhost/ballotpress", "redis://localhost", tmp_path / "home")


def test_the_readme_names_every_variable_and_no_other() -> None:
    """The documentation names every variable in full."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme.split("## Configuration")[1].split("\n## ")[0]
    assert set(re.findall(r"\b(?:(?:BALLOTPRESS|OTEL)_[A-Z_]*[A-Z]|[A-Z_]+_URL)\b", table)) == set(VARIABLES)


def test_what_is_not_set_has_the_documented_default(environ: dict[str, str]) -> None:
    """The limits, the address and the log's form are as documented; nobody is trusted, no origin allowed."""
    settings = read_settings(environ)
    assert (settings.writes_per_minute, settings.network_writes_per_minute, settings.new_visitors_per_hour) == (120, 1200, 600)
    assert settings.base_url == "http://127.0.0.1:8000"
    assert settings.log_format == "json"
    assert settings.smtp_url is None
    assert settings.operator_tokens == settings.trusted_proxies == settings.cors_origins == ()


def test_keys_stand_newest_first(environ: dict[str, str]) -> None:
    """Keys keep the order they are written in, spaces around the commas or not."""
    settings = read_settings({**environ, "BALLOTPRESS_SECRET_KEYS": f"{'n' * 40} , {SECRET_KEY}"})
    assert settings.secret_keys == ("n" * 40, SECRET_KEY)


def test_operator_tokens_carry_their_scopes(environ: dict[str, str]) -> None:
    """A token is read as name, scopes and secret; several are separated by commas."""
    tokens = f"ci:catalog+read:{'t' * 16},mods:moderate:{'u' * 16}"
    settings = read_settings({**environ, "BALLOTPRESS_OPERATOR_TOKENS": tokens})
    assert settings.operator_tokens == (
        OperatorToken(name="ci", scopes=frozenset({"catalog", "read"}), token="t" * 16),
        OperatorToken(name="mods", scopes=frozenset({"moderate"}), token="u" * 16),
    )


def test_lists_are_read(environ: dict[str, str]) -> None:
    """Proxies are addresses or networks, origins are scheme and host; an empty variable is an unset one."""
    lists = {
        "BALLOTPRESS_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        "BALLOTPRESS_CORS_ORIGINS": "https://a.example,http://b.example:81",
    }
    settings = read_settings({**environ, **lists, "SMTP_URL": ""})
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.cors_origins == ("https://a.example", "http://b.example:81")
    assert settings.smtp_url is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("READ_DATABASE_URL", "mysql://localhost/x"),
        ("BALLOTPRESS_READ_LAG_SECONDS", "0"),
        ("REDIS_URL", "localhost:6379"),
        ("SMTP_URL", "http://mail"),
        ("BALLOTPRESS_BASE_URL", "example.com"),
        ("BALLOTPRESS_BASE_URL", "https://example.com/site"),
        ("BALLOTPRESS_BASE_URL", "https://me@example.com"),
        ("BALLOTPRESS_SES_TOPICS", "bounces"),
        ("BALLOTPRESS_SECRET_KEYS", "short"),
        ("BALLOTPRESS_SECRET_KEYS", ""),
        ("BALLOTPRESS_VAULT_KEYS", "not base64 of 32 bytes"),
        ("BALLOTPRESS_VAULT_KEYS", base64.b64encode(b"31 bytes are one byte too few..").decode()),
        ("BALLOTPRESS_VAULT_KEYS", ""),
        ("BALLOTPRESS_OPERATOR_TOKENS", "no-token"),
        ("BALLOTPRESS_OPERATOR_TOKENS", "ci:catalog:short"),
        ("BALLOTPRESS_OPERATOR_TOKENS", f"ci:catalogue:{'t' * 16}"),
        ("BALLOTPRESS_TRUSTED_PROXIES", "proxy.example"),
        ("BALLOTPRESS_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("BALLOTPRESS_CORS_ORIGINS", "*"),
        ("BALLOTPRESS_CORS_ORIGINS", "https://example.com/page"),
        ("BALLOTPRESS_WRITES_PER_MINUTE", "0"),
        ("BALLOTPRESS_NETWORK_WRITES_PER_MINUTE", "many"),
        ("BALLOTPRESS_NEW_VISITORS_PER_HOUR", "-5"),
        ("BALLOTPRESS_LOG_FORMAT", "xml"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass@collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
        ("OTEL_TRACES_SAMPLER_ARG", "-0.1"),
        ("BALLOTPRESS_MAIL_FROM", "Verdicts\t<digest@example.com>"),
        ("BALLOTPRESS_POSTAL_ADDRESS", "x" * 201),
        ("BALLOTPRESS_DIGEST_HOUR", "1e1"),
        ("BALLOTPRESS_SIGNUPS_IN_ALL_PER_HOUR", "1.0"),
        ("BALLOTPRESS_CONFIRMATIONS_PER_DAY", "+3"),
        ("BALLOTPRESS_SMTP_CONNECTIONS", "000"),
        ("BALLOTPRESS_MAIL_LEASE_SECONDS", "\u0663"),
        ("BALLOTPRESS_DKIM_SELECTOR", "only"),
    ],
)
def test_a_wrong_value_is_named(environ: dict[str, str], variable: str, value: str) -> None:
    """A wrong value is refused with one line that names its variable."""
    with pytest.raises(SettingsError, match=variable) as refusal:
        read_settings({**environ, variable: value})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgresql://u:p%40%2Fs@h:5433/d?sslmode=require", "postgresql://u:p%40%2Fs@h:5433/d?sslmode=require"),
        ("postgresql://u@h/d?sslmode=require&channel_binding=require", "postgresql://u@h/d?sslmode=require"),
        ("postgresql:///d?host=/run/x&connect_timeout=3&keepalives=1&gssencmode=prefer", "postgresql:///d?host=%2Frun%2Fx"),
        ("postgresql://h1:1,h2:2/d?target_session_attrs=read-write&application_name=x",
         "postgresql://h1:1,h2:2/d?target_session_attrs=read-write"),
        ("postgresql://h/d?options=-c%20search_path%3Dnowhere", "postgresql://h/d?options=-c%20search_path%3Dnowhere"),
    ],
)  # fmt: skip
def test_addresses_in_the_manner_of_libpq_are_taken(environ: dict[str, str], given: str, kept: str) -> None:
    """What libpq knows and each connection settles by itself is left out; the rest stays as it was given."""
    assert read_settings({**environ, "DATABASE_URL": given}).database_url == kept


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=none", "?socket_timeout=2", "?db=3"])
def test_addresses_in_the_manner_of_valkey_are_taken(environ: dict[str, str], query: str) -> None:
    """Escaped passwords, users and the options of Valkey's client are taken."""
    url = f"rediss://user:p%40s%2Fs@valkey.example:6380/0{query}"
    assert read_settings({**environ, "REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("DATABASE_URL", "postgresql://h/d?conect_timeout=3", "DATABASE_URL has the unknown option 'conect_timeout'"),
        ("DATABASE_URL", "postgresql://h/d?gssencmode=require", "DATABASE_URL asks for gssencmode=require"),
        ("DATABASE_URL", "postgresql://u:p@[s@h/d", "DATABASE_URL isn't a URL that can be read"),
        ("READ_DATABASE_URL", "postgresql:///d", "READ_DATABASE_URL names no host: name the replicas"),
        ("REDIS_URL", "redis://h/0?foo=1", "REDIS_URL has an unknown option: 'foo'"),
        ("REDIS_URL", "redis://h1,h2/0", "REDIS_URL names several hosts"),
        ("REDIS_URL", "redis://h/none", "REDIS_URL must end in the number of a database, such as /0"),
        ("REDIS_URL", "redis://h:70000/0", "REDIS_URL can't be used: Port out of range 0-65535"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must be a URL that begins with postgresql://"),
        ("BALLOTPRESS_DIGEST_HOUR", "24", "BALLOTPRESS_DIGEST_HOUR must be an hour from 0 to 23, not '24'"),
        ("BALLOTPRESS_TRUSTED_PROXIES", "::1,me", "such as 10.0.0.0/8, not 'me'"),
        ("BALLOTPRESS_WRITES_PER_MINUTE", "0", "must be a whole number from 1 to 9999999999, not '0'"),
        ("BALLOTPRESS_SHARED_SECONDS", "9" * 20, "must be a whole number from 1 to 9999999999, not '" + "9" * 20),
        ("BALLOTPRESS_FALSE_ALARMS", "1", "must be a share between 0 and 1, such as 0.01, not '1'"),
        ("BALLOTPRESS_CRAWLERS", "off", "BALLOTPRESS_CRAWLERS must be all or none, not 'off'"),
        ("BALLOTPRESS_PUZZLE", "on", "BALLOTPRESS_PUZZLE must be operator or detector, not 'on'"),
        ("BALLOTPRESS_SECRET_KEYS", ",", "Set BALLOTPRESS_SECRET_KEYS to one or more random keys of 32 characters"),
        ("BALLOTPRESS_VAULT_KEYS", " ", "Set BALLOTPRESS_VAULT_KEYS to one or more keys of 32 random bytes in base64"),
        ("BALLOTPRESS_VAULT_KEYS", "k" * 32, "use one as `openssl rand -base64 32` prints it"),
        ("BALLOTPRESS_OPERATOR_TOKENS", f"ci:all:{'t' * 16}", "gives 'ci' the unknown scope 'all': use catalog, digest"),
        ("BALLOTPRESS_OPERATOR_TOKENS", "ci:read:short", "gives 'ci' a token under 16 characters: use a longer one"),
    ],
)
def test_a_refusal_says_what_would_do(environ: dict[str, str], variable: str, value: str, sentence: str) -> None:
    """A refusal repeats the wrong word of a list, and says what would be right."""
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        read_settings({**environ, variable: value})


def test_all_that_is_missing_is_named_at_once(environ: dict[str, str]) -> None:
    """Who starts a process by hand is told of both keys, and how each is made, in one answer."""
    given = {name: value for name, value in environ.items() if not name.endswith("_KEYS")}
    both = r"^Set BALLOTPRESS_SECRET_KEYS .*-hex 32.*; and BALLOTPRESS_VAULT_KEYS .*-base64 32"
    with pytest.raises(SettingsError, match=both):
        read_settings(given)


PROVIDER = {
    "BALLOTPRESS_OIDC_ISSUER": "https://accounts.example.com/realms/site",
    "BALLOTPRESS_OIDC_CLIENT_ID": "ballotpress",
    "BALLOTPRESS_OIDC_GROUPS": "editors=moderate+catalog, CN=admins=read, editors=read",
}


def test_a_provider_is_read_with_its_groups(environ: dict[str, str]) -> None:
    """Groups open scopes; a group's name may hold an equals sign, and be there twice. What is left out has its default."""
    given = read_settings({**environ, **PROVIDER}).signing_in
    assert given.issuer == PROVIDER["BALLOTPRESS_OIDC_ISSUER"] and given.client_secret is None and given.by_token
    assert [(one.group, sorted(one.scopes)) for one in given.groups] == [
        ("editors", ["catalog", "moderate"]),
        ("CN=admins", ["read"]),
        ("editors", ["read"]),
    ]
    assert (given.groups_claim, given.name_claim, given.asked_scopes) == ("groups", "preferred_username", "openid profile")
    assert (given.session_minutes, given.idle_minutes) == (120, 60)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"BALLOTPRESS_OIDC_GROUPS": ""},
            "Set all of BALLOTPRESS_OIDC_ISSUER, BALLOTPRESS_OIDC_CLIENT_ID, BALLOTPRESS_OIDC_GROUPS",
        ),
        ({"BALLOTPRESS_OIDC_ISSUER": ""}, "Set all of BALLOTPRESS_OIDC_ISSUER"),
        ({"BALLOTPRESS_OIDC_ISSUER": "http://accounts.example.com"}, "must be the provider's address as it spells it"),
        ({"BALLOTPRESS_OIDC_ISSUER": "https://accounts.example.com?x=y"}, "must be the provider's address"),
        ({"BALLOTPRESS_OIDC_GROUPS": "editors=moderation"}, "gives 'editors' the unknown scope 'moderation': use catalog"),
        ({"BALLOTPRESS_OIDC_GROUPS": "editors"}, "must list groups with their scopes"),
        ({"BALLOTPRESS_OIDC_SCOPES": "profile"}, "must hold openid"),
        ({"BALLOTPRESS_SESSION_MINUTES": "0"}, "must be whole minutes from 1 to 9999, not '0'"),
        ({"BALLOTPRESS_OPERATOR": "shell:ann"}, "must be a name of letters, digits and . _ @ -, not 'shell:ann'"),
    ],
)
def test_a_provider_is_set_up_whole(environ: dict[str, str], change: dict[str, str], sentence: str) -> None:
    """What is missing or wrong is named at the start."""
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        read_settings({**environ, **PROVIDER, **change})


def test_somebody_must_be_able_to_sign_in(environ: dict[str, str]) -> None:
    """Tokens can be kept for programs only where there is a provider."""
    shut = {"BALLOTPRESS_TOKEN_SIGN_IN": "off"}
    assert not read_settings({**environ, **PROVIDER, **shut}).signing_in.by_token
    with pytest.raises(SettingsError, match="nobody could sign in"):
        read_settings({**environ, **shut})


def test_whole_numbers_may_have_leading_zeros(environ: dict[str, str]) -> None:
    """An hour is often written as 09."""
    settings = read_settings({**environ, "BALLOTPRESS_DIGEST_HOUR": "09", "BALLOTPRESS_WRITES_PER_MINUTE": "0060"})
    assert (settings.newsletter.hour, settings.writes_per_minute) == (9, 60)


def test_dkim_needs_all_three_and_its_key_file(environ: dict[str, str], tmp_path: Path) -> None:
    """DKIM is set up whole; a key file that isn't there is named at the start, not at the first mail."""
    names = ("BALLOTPRESS_DKIM_DOMAIN", "BALLOTPRESS_DKIM_SELECTOR", "BALLOTPRESS_DKIM_KEY_FILE")
    key = tmp_path / "key.pem"
    given = {**environ, **dict(zip(names, ("verdicts.example", "s1", str(key)), strict=True))}
    with pytest.raises(SettingsError, match=f"BALLOTPRESS_DKIM_KEY_FILE names no file: {key}"):
        read_settings(given)
    key.touch()
    dkim = read_settings(given).newsletter.dkim
    assert dkim is not None
    assert (dkim.domain, dkim.selector, dkim.key_file) == ("verdicts.example", "s1", key)


def test_a_vault_key_is_never_a_secret_key(environ: dict[str, str]) -> None:
    """A key that signs tokens may not also wrap personal keys."""
    with pytest.raises(SettingsError, match="BALLOTPRESS_VAULT_KEYS"):
        read_settings({**environ, "BALLOTPRESS_SECRET_KEYS": f"{SECRET_KEY},{VAULT_KEY}"})


def test_a_refusal_never_repeats_a_secret(environ: dict[str, str]) -> None:
    """Error messages may be logged, so no key or token stands in one."""
    wrong = {"BALLOTPRESS_OPERATOR_TOKENS": "ci:nonsense:tell-nobody-of-this", "BALLOTPRESS_SECRET_KEYS": "tell-nobody-of-this"}
    for variable, value in wrong.items():
        with pytest.raises(SettingsError) as refusal:
            read_settings({**environ, variable: value})
        assert "tell-nobody" not in str(refusal.value)


def test_without_a_database_the_way_to_one_is_told(tmp_path: Path) -> None:
    """With neither DATABASE_URL nor a running `up`, the message says how to get either."""
    with pytest.raises(SettingsError) as refusal:
        read_settings({"BALLOTPRESS_HOME": str(tmp_path)})
    assert str(refusal.value) == (
        f"Set DATABASE_URL, or start `ballotpress up`: none ever ran on {tmp_path} (--home, or BALLOTPRESS_HOME)"
    )


def _home(folder: Path, up: int) -> Path:
    (folder / "secrets").write_text(f"BALLOTPRESS_SECRET_KEYS={SECRET_KEY}\nBALLOTPRESS_VAULT_KEYS={VAULT_KEY}\n")
    (folder / "operator.token").write_text("o" * 43 + "\n")
    urls = {"DATABASE_URL": "postgresql:///ballotpress?host=/run/x", "REDIS_URL": "unix:///run/x/valkey.sock"}
    write_run(folder, Run(up=process_named("up", up), settings=urls))
    return folder


def test_a_running_up_is_found_by_its_home(tmp_path: Path) -> None:
    """With the home folder alone, a command has the URLs, the keys and the operator's token of the running `up`."""
    settings = find_settings({"BALLOTPRESS_HOME": str(_home(tmp_path, os.getpid()))})
    assert settings.database_url == "postgresql:///ballotpress?host=/run/x"
    assert settings.redis_url == "unix:///run/x/valkey.sock"
    assert settings.secret_keys == (SECRET_KEY,)
    assert settings.operator_tokens[0].scopes == SCOPES


def test_the_environment_wins_over_a_running_up(environ: dict[str, str], tmp_path: Path) -> None:
    """The environment overrides the home folder."""
    settings = find_settings({**environ, "BALLOTPRESS_HOME": str(_home(tmp_path, os.getpid()))})
    assert settings.database_url == environ["DATABASE_URL"]


def test_an_up_that_ended_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    """A process id that was used again does not make an old `run.json` a live one."""
    home = _home(tmp_path, os.getpid())
    text = (home / "run.json").read_text()
    started = process_named("up", os.getpid()).started
    (home / "run.json").write_text(text.replace(str(started), str(started - 1)))
    with pytest.raises(SettingsError, match="ballotpress up"):
        find_settings({"BALLOTPRESS_HOME": str(home)})


def test_only_who_signs_the_log_gets_its_key(environ: dict[str, str]) -> None:
    """The API and the worker read their settings without it, even where it stands in their environment."""
    key = base64.b64encode(b"k" * 32).decode()
    given = {**environ, "BALLOTPRESS_LOG_KEY": f"{key},{base64.b64encode(b'o' * 32).decode()}"}
    assert read_settings(given).public_log.log_keys == ()
    assert read_settings(given, signs_log=True).public_log.log_keys == (b"k" * 32, b"o" * 32)
    with pytest.raises(SettingsError, match="BALLOTPRESS_LOG_KEY holds a key"):
        read_settings({**environ, "BALLOTPRESS_LOG_KEY": "short"}, signs_log=True)


def test_traces_are_off_until_a_collector_is_named(environ: dict[str, str]) -> None:
    """Nothing is traced by default; OpenTelemetry's own variables name the collector, its headers and the share."""
    assert read_settings(environ).tracing.endpoint is None
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%20ecret, X-Scope = one",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    tracing = read_settings({**environ, **given}).tracing
    assert (tracing.endpoint, tracing.share) == ("http://collector:4318", 0.25)
    assert tracing.headers == (Header("api-key", "s ecret"), Header("x-scope", "one"))
    assert not tracing.is_off and read_settings({**environ, **given, "OTEL_SDK_DISABLED": "TRUE"}).tracing.is_off
