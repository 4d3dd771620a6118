"""The newsletter's settings: sane without any, and a wrong one is a sentence that names its variable."""

from pathlib import Path

import pytest

from services.newsletter.transport import greeting
from services.settings import SettingsError, read_settings
from tests.support.settings import variables


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that lacks nothing."""
    return variables("postgresql://localhost/x", "redis://localhost", tmp_path)


def test_without_any_it_is_monday_nine_utc(environ: dict[str, str]) -> None:
    """The defaults are those that are promised; the sender's domain is the site's."""
    plain = read_settings(environ).newsletter
    assert (plain.day, plain.hour, plain.zone) == (0, 9, "UTC")
    assert (plain.signups_per_hour, plain.singles_per_day, plain.dkim) == (20, 3, None)
    named = read_settings({**environ, "BALLOTPRESS_BASE_URL": "https://verdicts.example"}).newsletter
    assert named.sender.endswith("<digest@verdicts.example>")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BALLOTPRESS_DIGEST_DAY", "someday"),
        ("BALLOTPRESS_DIGEST_HOUR", "24"),
        ("BALLOTPRESS_DIGEST_ZONE", "Mars/Olympus"),
        ("BALLOTPRESS_MAIL_FROM", "nobody"),
        ("BALLOTPRESS_EHLO_NAME", "app-1"),
        ("BALLOTPRESS_EHLO_NAME", "192.0.2.1"),
        ("BALLOTPRESS_POSTAL_ADDRESS", "1 Main Street\nSpringfield"),
        ("BALLOTPRESS_SIGNUPS_PER_HOUR", "0"),
        ("BALLOTPRESS_RETIRED_KEYS", "short"),
        ("BALLOTPRESS_MAIL_WEBHOOK_SECRETS", "short"),
        ("BALLOTPRESS_DKIM_DOMAIN", "verdicts.example"),
    ],
)
def test_a_wrong_value_stops_the_start(environ: dict[str, str], variable: str, value: str) -> None:
    """One sentence, with the variable's name in it."""
    with pytest.raises(SettingsError, match=variable):
        read_settings({**environ, variable: value})


@pytest.mark.parametrize(
    ("machine", "base_url", "greets"),
    [
        ("mail.verdicts.example", "https://verdicts.example", "mail.verdicts.example"),
        ("app-1", "https://verdicts.example", "verdicts.example"),
        ("pod.web.svc.cluster.local", "https://verdicts.example", "verdicts.example"),
        ("localhost", "http://192.0.2.1:8000", "news.example"),
    ],
)
def test_relays_are_greeted_by_a_full_name(environ: dict[str, str], machine: str, base_url: str, greets: str) -> None:
    """The name that is set comes first, then a full name of the machine, of the site, of the sender."""
    given = {**environ, "BALLOTPRESS_BASE_URL": base_url, "BALLOTPRESS_MAIL_FROM": "News <digest@news.example>"}
    assert greeting(read_settings(given), machine) == greets
    assert greeting(read_settings({**given, "BALLOTPRESS_EHLO_NAME": "out.news.example"}), machine) == "out.news.example"
