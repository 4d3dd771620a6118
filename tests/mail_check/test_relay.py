"""The relay as it shows itself: its certificate, its TLS, its name, and what it says instead of any."""

import ssl
import warnings
from typing import Any

import pytest

from emails.relay_url import parse_relay_url
from services.clock import now
from services.mail_check import relay
from services.mail_check.dns import Resolver
from services.mail_check.lines import Line, Record
from tests.support.certificates import Authority
from tests.support.mail_setups import (
    ADDRESS,
    DOMAIN,
    GREETS,
    RELAY,
    checked,
    relaying,
    setup,
)
from tests.support.nameserver import Nameserver
from tests.support.processes import free_port
from tests.support.relays import relay as scripted
from tests.support.relays import saying


@pytest.mark.parametrize(
    ("certificate", "state", "says"),
    [
        ({"name": "other.example.com"}, "wrong", "hostname mismatch"),
        ({"name": RELAY, "ours": False}, "wrong", "self-signed"),
        ({"name": RELAY, "days": -1}, "wrong", "expired"),
        ({"name": RELAY, "days": 13}, "wrong", "in less than 14 days"),
        ({"name": RELAY, "days": 15}, "right", "its certificate is good until"),
    ],
)
@pytest.mark.parametrize(("scheme", "implicit"), [("smtp+starttls", False), ("smtps", True), ("smtp", False)])
async def test_the_relays_certificate_is_looked_at(
    trusted: Authority, dns: Nameserver, certificate: dict[str, Any], state: str, says: str, scheme: str, implicit: bool
) -> None:
    """Its name, its authority and its end, by STARTTLS and by TLS from the start."""
    given = {"name": RELAY, **certificate}
    async with relaying(trusted.serving(**given), implicit=implicit) as port:
        line = await tls(dns, f"{scheme}://{RELAY}:{port}")
    if scheme == "smtp":  # takes TLS where it is offered, and a relay on this machine needs none
        assert (line.state, "on this machine" in line.says) == ("right", True)
    else:
        assert (line.state, says in line.says) == (state, True), line


async def tls(dns: Nameserver, url: str) -> Line:
    """Return the line on a relay's TLS."""
    parsed = parse_relay_url(url)
    return relay.check_tls(parsed, await relay.greet(parsed, Resolver([dns.server]), GREETS), now())


async def test_a_relay_without_tls_is_red(trusted: Authority, dns: Nameserver) -> None:
    """A relay that must have TLS and offers none."""
    async with relaying(None) as port:
        line = await tls(dns, f"smtp+starttls://{RELAY}:{port}")
    assert (line.state, line.says) == ("wrong", f"{RELAY} offers no TLS, so anybody on the way can read the mails")


@pytest.mark.parametrize(("address", "state"), [("10.0.0.5", "unknown"), ("198.41.0.4", "wrong")])
def test_a_relay_in_a_network_of_ones_own_may_do_without_tls(address: str, state: str) -> None:
    """Nobody may listen there; on the way to a public address anybody may."""
    greeted = relay.Greeted(is_here=False, address=address, name="relay")
    assert relay.check_tls(parse_relay_url("smtp://relay"), greeted, now()).state == state


async def test_old_tls_is_red(trusted: Authority, dns: Nameserver) -> None:
    """A relay that speaks nothing newer than TLS 1.1."""
    context = trusted.serving(RELAY)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with relaying(context, implicit=True) as port:
        line = await tls(dns, f"smtps://{RELAY}:{port}")
    assert (line.state, "TLS doesn't begin" in line.says) == ("wrong", True), line


@pytest.mark.parametrize("reply", [b"554 go away", b"220-and on it goes", b"", None])
async def test_a_relay_that_says_nothing_useful_is_unknown(
    dns: Nameserver, reply: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that refuses, babbles, is silent or hangs up: nothing is known, and the check ends."""
    monkeypatch.setattr(relay, "SECONDS", 0.5)
    async with scripted(saying(CONNECT=reply)) as broken:
        line = await tls(dns, f"smtp+starttls://{RELAY}:{broken.port}")
    assert line.state == "unknown"
    assert "SMTP_URL" in str(line.mend)


async def test_a_relay_that_is_away_is_unknown(dns: Nameserver) -> None:
    """Nobody listens at its port."""
    line = await tls(dns, f"smtp+starttls://{RELAY}:{free_port()}")
    assert (line.state, "can't be reached" in line.says) == ("unknown", True)


@pytest.mark.parametrize(
    ("name", "state", "says", "publish"),
    [
        ("app-1", "wrong", "leads nowhere", None),
        (f"smtp3.{DOMAIN}", "wrong", "leads nowhere", Record(f"smtp3.{DOMAIN}", "A", ADDRESS)),
        (f"smtp2.{DOMAIN}", "wrong", "doesn't lead to", Record(f"smtp2.{DOMAIN}", "A", ADDRESS)),
        (GREETS, "right", "can be looked up", None),
    ],
)
async def test_the_relays_own_greeting_is_looked_up(
    trusted: Authority, dns: Nameserver, name: str, state: str, says: str, publish: Record | None
) -> None:
    """By the name that a relay of one's own calls itself, it greets others."""
    dns.zone[f"smtp2.{DOMAIN}", "A"] = ["192.0.2.99"]
    async with relaying(trusted.serving(RELAY), name=name) as port:
        line = (await checked(dns, setup(port)))["helo"]
    assert (line.state, says in line.says, line.publish) == (state, True, publish), line
