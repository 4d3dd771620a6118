"""The newsletter's settings: sane without any, and a wrong one is a sentence that names its variable."""

from pathlib import Path

import pytest

from services.newsletter.pace import Plan, plan_of
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
        ("BALLOTPRESS_DNS_SERVERS", "dns.example"),
        ("BALLOTPRESS_DNS_SERVERS", "192.0.2.53:0"),
        ("BALLOTPRESS_DNS_SERVERS", "[2001:db8::53]:70000"),
        ("BALLOTPRESS_DNS_SERVERS", "192.0.2.53,192.0.2.256"),
        ("BALLOTPRESS_OUTGOING_ADDRESSES", "192.0.2.0/24"),
        ("BALLOTPRESS_OUTGOING_ADDRESSES", "mail.verdicts.example"),
        ("BALLOTPRESS_WARM_UP", "0"),
        ("BALLOTPRESS_WARM_UP_GROWTH", "0.5"),
        ("BALLOTPRESS_WARM_UP_GROWTH", "1,5"),
        ("BALLOTPRESS_MAILS_PER_DAY", "50k"),
        ("BALLOTPRESS_PROVIDER_MAILS_PER_DAY", "-1"),
        ("BALLOTPRESS_SENDING_HOURS", "8"),
        ("BALLOTPRESS_SENDING_HOURS", "8-25"),
        ("BALLOTPRESS_SENDING_HOURS", "24-8"),
        ("BALLOTPRESS_SENDING_HOURS", "9-9"),
        ("BALLOTPRESS_SENDING_HOURS", "0-24"),
        ("BALLOTPRESS_OWN_HOUR", "yes"),
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


def test_dns_servers_and_outgoing_addresses_are_read(environ: dict[str, str]) -> None:
    """A server is an IP address with a port or without; an address has one spelling."""
    given = {
        **environ,
        "BALLOTPRESS_DNS_SERVERS": "192.0.2.53, 127.0.0.1:5353, 2001:db8::53, [2001:db8::53]:5353, [2001:db8::54]",
        "BALLOTPRESS_OUTGOING_ADDRESSES": "192.0.2.25, 2001:DB8:0::25",
    }
    check = read_settings(given).mail_check
    assert check.dns_servers == (
        ("192.0.2.53", 53), ("127.0.0.1", 5353), ("2001:db8::53", 53), ("2001:db8::53", 5353), ("2001:db8::54", 53),
    )  # fmt: skip
    assert check.outgoing == ("192.0.2.25", "2001:db8::25")


def test_a_pace_is_read_whole(environ: dict[str, str]) -> None:
    """Caps, growth, a window over midnight and the switch of the readers' hour; without any of them there is no pace."""
    plain = read_settings(environ)
    assert plan_of(plain.pace, plain.newsletter) == Plan()
    assert not plain.pace.own_hour
    pace = {"WARM_UP": "500", "WARM_UP_GROWTH": "2", "MAILS_PER_DAY": "9000", "SENDING_HOURS": "22-06", "OWN_HOUR": "on"}
    given = {f"BALLOTPRESS_{name}": value for name, value in pace.items()}
    paced = read_settings({**environ, **given, "BALLOTPRESS_DIGEST_ZONE": "Europe/Berlin"})
    plan = Plan(zone="Europe/Berlin", opens=22, closes=6, warm_up=500, growth=2.0, most=9000)
    assert plan_of(paced.pace, paced.newsletter) == plan
    assert paced.pace.own_hour
    evening = read_settings({**environ, "BALLOTPRESS_SENDING_HOURS": "18-24"})
    assert plan_of(evening.pace, evening.newsletter) == Plan(opens=18, closes=0)
