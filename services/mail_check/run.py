"""Run a check: everything that others will look up or look at, within a minute, and without sending anything."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from emails.relay_url import parse_relay_url
from services.mail_check import dkim, dmarc, headers, names, relay, sender, spf
from services.mail_check.dns import Answer, Away, LooksUp, probe
from services.mail_check.lines import TITLES, Line, right, unknown
from services.mail_check.remembered import Remembered
from services.mail_check.setup import ASK_AGAIN, Setup

LOOKUP_SECONDS: Final = 40.0
"""Of all look-ups; what is asked for later is unknown."""

_NAME_ANOTHER: Final = "name another DNS server in BALLOTPRESS_DNS_SERVERS, and see which network this machine is in"


async def run(setup: Setup, dns: LooksUp, at: datetime) -> Sequence[Line]:
    """Return a line of each subject."""
    honesty, of_domain = await asyncio.gather(probe(dns), dns.look_up(setup.domain, "MX"))
    if honesty.lie:
        says = f"The DNS server lies ({honesty.lie}), so nothing that it says can be believed"
        return [unknown(subject, says, _NAME_ANOTHER) for subject in TITLES]
    is_away = honesty.is_silent and of_domain.state == "unknown"  # who answers nothing is asked no more
    asked: LooksUp = Away(of_domain.why) if is_away else Remembered(dns, LOOKUP_SECONDS)
    url = parse_relay_url(setup.relay_url)
    greeted, (addresses, known) = await asyncio.gather(
        relay.greet(url, asked, setup.hello), names.outgoing(setup, asked, url.host)
    )
    looked_up = await asyncio.gather(
        sender.check_from(setup, asked),
        sender.check_bounces(setup, asked),
        spf.check(setup, asked, addresses, known),
        dkim.check(setup, asked),
        dmarc.check(setup, asked),
        names.check_ptr(asked, addresses, known, _own_name(setup, greeted)),
        names.check_helo(setup, asked, addresses, known, greeted),
        sender.check_mta_sts(setup, asked),
        sender.check_tls_rpt(setup, asked),
    )
    found = {
        line.subject: line
        for line in (_dns(setup, of_domain), *looked_up, relay.check_tls(url, greeted, at), *headers.check(setup))
    }
    return [found[subject] for subject in TITLES]


def _own_name(setup: Setup, greeted: relay.Greeted) -> str:
    """Return the name that the relay's address should have: by which it greets, if that is a name that others can look up."""
    candidates = (greeted.name or "", setup.hello)
    return next((name for name in candidates if "." in name and not name.startswith("[")), f"mail.{setup.domain}")


def _dns(setup: Setup, found: Answer) -> Line:
    """Return whether DNS servers answer at all."""
    if found.state == "unknown":
        return unknown("dns", f"No answer on {setup.domain}: {found.why}", ASK_AGAIN)
    return right("dns", "They answer, and tell the truth where it is known")
