"""A good set-up has no red line; each broken one says what is wrong, and the record that mends it."""

import asyncio
import ssl
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dns import rcode
from dns.message import Message, make_response
from dns.rrset import from_text
from hypothesis import given, settings
from hypothesis import strategies as st

from emails.dkim import public_key
from emails.relay_url import parse_relay_url
from services.clock import now
from services.mail_check import dkim, dmarc, names, relay, spf
from services.mail_check.dns import Answer, Kind, Resolver
from services.mail_check.lines import Line, Record
from services.mail_check.run import run
from services.mail_check.setup import Setup, Specimen
from tests.support.certificates import Authority
from tests.support.mail_setups import (
    ADDRESS,
    DOMAIN,
    FEEDBACK_ID,
    GREETS,
    KEY_NAME,
    RELAY,
    REVERSE,
    cut,
    issue,
    key,
    pem,
    relaying,
    setup,
    signed,
    zone,
)
from tests.support.nameserver import Nameserver, nameserver, silent
from tests.support.nameserver import saying as scripted_refusal
from tests.support.processes import free_port
from tests.support.relays import relay as scripted
from tests.support.relays import saying
from tests.support.unbound import unbound

JUDGED = (
    "dns", "from", "bounces", "spf", "dkim", "dmarc", "ptr", "helo", "tls", "unsubscribe", "list-id", "feedback-id", "size",
)  # fmt: skip


async def checked(dns: Nameserver, given: Setup) -> dict[str, Line]:
    """Return the lines of a check, by subject."""
    lines = await run(given, Resolver([dns.server], seconds=2), now())
    return {line.subject: line for line in lines}


def faults(lines: dict[str, Line]) -> dict[str, Line]:
    """Return the lines that are not right."""
    return {subject: line for subject, line in lines.items() if line.state not in ("right", "note")}


@pytest.mark.parametrize(("scheme", "implicit"), [("smtp+starttls", False), ("smtps", True)])
async def test_a_good_set_up_is_right_in_every_line(trusted: Authority, tmp_path: Path, scheme: str, implicit: bool) -> None:
    """By a real resolver and a relay with TLS of either kind."""
    with unbound(tmp_path, zone()) as server:
        async with relaying(trusted.serving(RELAY), implicit=implicit) as port:
            lines = await run(setup(port, scheme), Resolver([server]), now())
    assert {line.subject: line.state for line in lines} == {
        **dict.fromkeys(JUDGED, "right"), "mta-sts": "note", "tls-rpt": "note",
    }  # fmt: skip
    assert all(line.mend is None and line.publish is None for line in lines if line.state == "right")


class Broken(NamedTuple):
    """A change of the zone and of the site, and the one fault that it makes: its subject, state, words, and the record."""

    name: str
    zone: dict[tuple[str, str], list[str] | None]
    site: dict[str, Any]
    subject: str
    state: str
    says: str
    publish: tuple[str, str, str] | None = None


SPF = (DOMAIN, "TXT")
DMARC = (f"_dmarc.{DOMAIN}", "TXT")
GOOD_SPF = f"v=spf1 ip4:{ADDRESS} -all"
RECORD = key().record
INCLUDES = "v=spf1 " + " ".join(f"include:{number}.spf.example.com" for number in range(11)) + f" ip4:{ADDRESS} -all"
NESTED = {(f"{number}.spf.example.com", "TXT"): ['"v=spf1 ip4:203.0.113.1 -all"'] for number in range(11)}
VOIDS = "v=spf1 a:gone1.example.com a:gone2.example.com a:gone3.example.com -all"

# fmt: off
BROKEN = [
    Broken("no SPF", {SPF: ['"hello"']}, {}, "spf", "wrong", "has no SPF record", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "two SPF records",
        {SPF: ['"v=spf1 include:a.example.net ~all"', '"V=SPF1 ip4:203.0.113.7 ?all"']},
        {},
        "spf",
        "wrong",
        "has 2 SPF records",
        (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:203.0.113.7 include:a.example.net ~all"),
    ),
    Broken(
        "SPF of somebody else",
        {SPF: ['"v=spf1 ip4:203.0.113.7 ~all"']},
        {},
        "spf",
        "wrong",
        f"doesn't let {ADDRESS} send",
        (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:203.0.113.7 ~all"),
    ),
    Broken("SPF for all", {SPF: ['"v=spf1 +all"']}, {}, "spf", "wrong", "lets everybody send", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "SPF for half of the world each",
        {SPF: ['"v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"']},
        {},
        "spf",
        "wrong",
        "lets everybody send",
        (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"),
    ),
    Broken(
        "SPF with too many look-ups",
        {SPF: [cut(INCLUDES)], **NESTED},
        {},
        "spf",
        "wrong",
        "more than 10 look-ups",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken(
        "SPF that includes itself",
        {SPF: [f'"v=spf1 include:{DOMAIN} -all"']},
        {},
        "spf",
        "wrong",
        "recursion",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken("SPF into nothing", {SPF: [f'"{VOIDS}"']}, {}, "spf", "wrong", "find nothing", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "SPF that isn't written right",
        {SPF: ['"v=spf1 ipv4:192.0.2.25 -all"']},
        {},
        "spf",
        "wrong",
        "ipv4",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken("DKIM key removed", {(KEY_NAME, "TXT"): None}, {}, "dkim", "wrong", "doesn't exist", (KEY_NAME, "TXT", RECORD)),
    Broken(
        "DKIM key revoked",
        {(KEY_NAME, "TXT"): ['"v=DKIM1; k=rsa; p="']},
        {},
        "dkim",
        "wrong",
        "is revoked",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "another DKIM key",
        {(KEY_NAME, "TXT"): [cut(public_key(pem(1)).record)]},
        {},
        "dkim",
        "wrong",
        "has another key",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "DKIM key cut off",
        {(KEY_NAME, "TXT"): [f'"{RECORD[:255]}"']},
        {},
        "dkim",
        "wrong",
        "has another key",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "two DKIM keys",
        {(KEY_NAME, "TXT"): [cut(RECORD), cut(public_key(pem(1)).record)]},
        {},
        "dkim",
        "wrong",
        "has 2 text records",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "DKIM as a test",
        {(KEY_NAME, "TXT"): [cut(f"t=y; {RECORD}".replace("t=y; v=DKIM1;", "v=DKIM1; t=y;"))]},
        {},
        "dkim",
        "wrong",
        "is marked as a test",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "no DKIM key at all", {(KEY_NAME, "TXT"): ['"<html>"']}, {}, "dkim", "wrong", "has no key", (KEY_NAME, "TXT", RECORD)
    ),
    Broken("a key file that is none", {}, {"broken_key": "the DKIM key is no private key"}, "dkim", "wrong", "no private key"),
    Broken(
        "no DMARC",
        {DMARC: None},
        {},
        "dmarc",
        "wrong",
        "has no DMARC policy",
        ("_dmarc.example.com", "TXT", "v=DMARC1; p=none; rua=mailto:dmarc@example.com"),
    ),
    Broken(
        "DMARC without a policy",
        {DMARC: ['"v=DMARC1; rua=mailto:d@example.com"']},
        {},
        "dmarc",
        "wrong",
        "says no p=",
        (DMARC[0], "TXT", "v=DMARC1; p=none; rua=mailto:d@example.com"),
    ),
    Broken(
        "DMARC with a policy that there isn't",
        {DMARC: ['"v=DMARC1; p=block"']},
        {},
        "dmarc",
        "wrong",
        "says p=block",
        (DMARC[0], "TXT", "v=DMARC1; p=none"),
    ),
    Broken(
        "DMARC that reports to no address",
        {DMARC: ['"v=DMARC1; p=reject; rua=d@example.com"']},
        {},
        "dmarc",
        "wrong",
        "no mailto: address",
        (DMARC[0], "TXT", "v=DMARC1; p=reject; rua=mailto:d@example.com"),
    ),
    Broken(
        "two DMARC policies",
        {DMARC: ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']},
        {},
        "dmarc",
        "wrong",
        "has 2 policies",
        (DMARC[0], "TXT", "v=DMARC1; p=none"),
    ),
    Broken("no PTR", {(REVERSE, "PTR"): None}, {}, "ptr", "wrong", "has no name", (REVERSE, "PTR", GREETS)),
    Broken(
        "a PTR that doesn't lead back",
        {(REVERSE, "PTR"): ["host-25.provider.example."]},
        {},
        "ptr",
        "wrong",
        "doesn't lead back",
        (REVERSE, "PTR", GREETS),
    ),
    Broken("bounces to nowhere", {(DOMAIN, "MX"): ["10 gone.example.com."]}, {}, "bounces", "wrong", "has no address"),
    Broken(
        "takes no mail",
        {(DOMAIN, "MX"): ["0 ."]},
        {},
        "bounces",
        "wrong",
        "takes no mail",
        (DOMAIN, "MX", f"10 mail.{DOMAIN}."),
    ),
    Broken(
        "no MX", {(DOMAIN, "MX"): None}, {}, "bounces", "unknown", "names no mail server", (DOMAIN, "MX", f"10 mail.{DOMAIN}.")
    ),
    Broken("a site without https", {}, {"base_url": f"http://{DOMAIN}"}, "unsubscribe", "wrong", "isn't https"),
    Broken("no Feedback-ID", {}, {"specimen": signed(issue(None))}, "feedback-id", "wrong", "but: none"),
    Broken(
        "a Feedback-ID without sender",
        {},
        {"specimen": signed(issue().replace(FEEDBACK_ID.encode(), b"a:b:c:x"))},
        "feedback-id",
        "wrong",
        "but: a:b:c:x",
    ),
    Broken(
        "a List-Id of somebody else",
        {},
        {"specimen": signed(issue(list_id="list.elsewhere.org"))},
        "list-id",
        "wrong",
        "isn't of the sender's domain",
    ),
]
# fmt: on


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
async def test_a_broken_set_up_says_what_is_wrong_and_what_to_publish(
    trusted: Authority, dns: Nameserver, broken: Broken
) -> None:
    """One thing is broken, one line says so, and every other stays right."""
    for place, records in broken.zone.items():
        if records is None:
            del dns.zone[place]
        else:
            dns.zone[place] = records
    async with relaying(trusted.serving(RELAY)) as port:
        found = faults(await checked(dns, setup(port, **broken.site)))
    line = found.pop(broken.subject)
    assert (line.state, broken.says in line.says, line.mend is not None) == (broken.state, True, True), line
    if broken.publish is not None:
        assert line.publish == Record(*broken.publish)
    assert found == {}, "only one thing is broken"


async def test_without_outgoing_addresses_nothing_that_rests_on_them_is_judged(trusted: Authority, dns: Nameserver) -> None:
    """A relay on this machine doesn't show which address others see: SPF and PTR are unknown, and say what to set."""
    async with relaying(trusted.serving(RELAY)) as port:
        found = faults(await checked(dns, setup(port, outgoing=())))
    assert {subject: line.state for subject, line in found.items()} == {"spf": "unknown", "ptr": "unknown"}
    assert all("BALLOTPRESS_OUTGOING_ADDRESSES" in str(line.mend) for line in found.values())


async def test_what_a_record_says_beside_is_kept(dns: Nameserver) -> None:
    """A redirect stays the last word, and no `all` is put before it."""
    dns.zone[SPF] = ['"v=spf1 a:mail.example.org redirect=_spf.example.org"']
    dns.zone["_spf.example.org", "TXT"] = ['"v=spf1 ip4:203.0.113.9 -all"']
    line = await spf.check(setup(9), Resolver([dns.server]), (ADDRESS, "2001:db8::25"), "set")
    value = f"v=spf1 ip4:{ADDRESS} ip6:2001:db8::25 a:mail.example.org redirect=_spf.example.org"
    assert (line.state, line.publish) == ("wrong", Record(DOMAIN, "TXT", value))


async def test_addresses_that_are_guessed_make_no_line_red(dns: Nameserver) -> None:
    """Where the relay's name leads may not be where it sends from, as at a provider: what doesn't fit is unknown."""
    dns.zone[RELAY, "A"] = ["198.41.0.4"]  # public, and never connected to: port 9 of no relay
    dns.zone["4.0.41.198.in-addr.arpa", "PTR"] = ["a.provider.example."]
    given = setup(9, outgoing=(), relay_url=f"smtp+starttls://{RELAY}:9")
    addresses, known = await names.outgoing(given, Resolver([dns.server]), RELAY)
    assert (addresses, known) == (("198.41.0.4",), "looked up")
    resolver = Resolver([dns.server])
    lines = [await spf.check(given, resolver, addresses, known), await names.check_ptr(resolver, addresses, known, GREETS)]
    assert [line.state for line in lines] == ["unknown", "unknown"]
    assert lines[0].publish == Record(DOMAIN, "TXT", f"v=spf1 ip4:198.41.0.4 ip4:{ADDRESS} -all")
    assert all("BALLOTPRESS_OUTGOING_ADDRESSES" in str(line.mend) for line in lines)


async def test_where_the_relay_may_sign_it_is_unknown_and_said_how_to_see(trusted: Authority, dns: Nameserver) -> None:
    """Without a key of ours DKIM and what must be signed are unknown, never right."""
    async with relaying(trusted.serving(RELAY)) as port:
        found = faults(await checked(dns, setup(port, key=None, specimen=Specimen(issue()))))
    assert {subject: line.state for subject, line in found.items()} == dict.fromkeys(
        ("dkim", "unsubscribe", "list-id", "feedback-id"), "unknown"
    )
    assert "`ballotpress digest send --to YOUR-ADDRESS`" in str(found["dkim"].mend)


async def test_a_key_of_another_domain_is_not_aligned(trusted: Authority, dns: Nameserver) -> None:
    """Strictly, a sibling's signature doesn't count; by default it does; a stranger's never."""
    dns.zone["s1._domainkey.mail.example.com", "TXT"] = [cut(RECORD)]
    dns.zone["s1._domainkey.provider.org", "TXT"] = [cut(RECORD)]
    for domain, policy, states in [
        ("mail.example.com", "v=DMARC1; p=reject", {}),
        ("mail.example.com", "v=DMARC1; p=reject; adkim=s", {"dmarc": "wrong"}),
        ("provider.org", "v=DMARC1; p=reject", {"dmarc": "wrong"}),
    ]:
        dns.zone[DMARC] = [f'"{policy}"']
        async with relaying(trusted.serving(RELAY)) as port:
            found = faults(await checked(dns, setup(port, key=key(domain), specimen=signed(issue(), domain=domain))))
        assert {subject: line.state for subject, line in found.items()} == states
        if found:
            assert found["dmarc"].publish == Record(KEY_NAME, "TXT", RECORD)


async def test_the_organisation_speaks_for_its_subdomain(dns: Nameserver) -> None:
    """Without a policy of its own, a subdomain has that of the domain above which somebody registered: sp= before p=."""
    del dns.zone[DMARC]
    dns.zone["_dmarc.example.com", "TXT"] = ['"v=DMARC1; p=none; sp=reject; rua=mailto:d@reports.example.org"']
    line = await dmarc.check(setup(9), Resolver([dns.server]))
    assert (line.state, "refuse" in line.says) == ("right", True)
    assert "example.com._report._dmarc.reports.example.org TXT v=DMARC1" in line.says
    dns.zone["example.com._report._dmarc.reports.example.org", "TXT"] = ['"v=DMARC1"']
    assert (await dmarc.check(setup(9), Resolver([dns.server]))).says.endswith("d@reports.example.org gets reports")


@pytest.mark.parametrize(
    ("sender", "says"),
    [
        ("news@gmail.com", "is a provider's"),
        ("news@lists.yahoo.co.uk", "is a provider's"),
        ("digest@localhost.localdomain", "doesn't exist"),
        ("digest@nowhere.example.org", "doesn't exist"),
    ],
)
async def test_a_sender_must_be_at_a_domain_of_ones_own(dns: Nameserver, sender: str, says: str) -> None:
    """A provider's mailbox and a domain that isn't there are told, and which setting mends it."""
    line = (await checked(dns, setup(9, sender=sender)))["from"]
    assert (line.state, says in line.says) == ("wrong", True)
    assert "BALLOTPRESS_MAIL_FROM" in str(line.mend)


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
    ("name", "state", "says"),
    [
        ("app-1", "wrong", "leads nowhere"),
        (f"smtp2.{DOMAIN}", "wrong", "doesn't lead to"),
        (GREETS, "right", "can be looked up"),
    ],
)
async def test_the_relays_own_greeting_is_looked_up(
    trusted: Authority, dns: Nameserver, name: str, state: str, says: str
) -> None:
    """By the name that a relay of one's own calls itself, it greets others."""
    dns.zone[f"smtp2.{DOMAIN}", "A"] = ["192.0.2.99"]
    async with relaying(trusted.serving(RELAY), name=name) as port:
        line = (await checked(dns, setup(port)))["helo"]
    assert (line.state, says in line.says) == (state, True), line


async def test_a_long_issue_is_cut_off(dns: Nameserver) -> None:
    """HTML above what Gmail shows."""
    long = issue().replace(b"</body>", b"<p>" + b"\r\n".join([b"x" * 70] * 1400) + b"</p></body>")
    line = (await checked(dns, setup(9, specimen=signed(long))))["size"]
    assert (line.state, "Gmail cuts it off" in line.says) == ("wrong", True)


@pytest.mark.parametrize("lie", [silent, scripted_refusal(rcode.SERVFAIL), scripted_refusal(rcode.REFUSED)])
async def test_what_dns_does_not_say_is_never_right(trusted: Authority, lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS that is silent or refuses leaves every line that rests on it unknown, with what to do; none is green or red."""
    monkeypatch.setattr("services.mail_check.run.LOOKUP_SECONDS", 3.0)
    with nameserver() as server:
        server._truth = lie  # type: ignore[method-assign]
        async with relaying(trusted.serving(RELAY)) as port:
            lines = await run(setup(port), Resolver([server.server], seconds=0.3), now())
    assert {name for name, _, _ in server.asked if not name.endswith(".invalid")} == {DOMAIN}, "it isn't asked in vain again"
    states = {line.subject: line.state for line in lines if line.state != "note"}
    resting = {"dns", "from", "bounces", "spf", "dkim", "dmarc", "ptr", "helo", "tls"}
    assert {subject for subject, state in states.items() if state == "unknown"} == resting
    assert all("BALLOTPRESS_DNS_SERVERS" in str(line.mend) for line in lines if line.subject in resting - {"helo", "tls"})


async def test_a_dns_that_invents_is_believed_in_nothing(dns: Nameserver) -> None:
    """Where names that can't exist have records, nothing is right."""

    def everything(query: Message, by_tcp: bool) -> Message:
        response = make_response(query)
        response.answer.append(from_text(query.question[0].name, 300, "IN", "TXT", '"v=spf1 -all"'))
        return response

    dns._truth = everything  # type: ignore[method-assign]
    lines = await run(setup(9), Resolver([dns.server]), now())
    assert {line.state for line in lines} == {"unknown"}
    assert all("BALLOTPRESS_DNS_SERVERS" in str(line.mend) for line in lines)


async def test_a_failed_include_is_unknown_not_wrong(trusted: Authority, dns: Nameserver) -> None:
    """SPF that needs a look-up which fails: nobody can say whether the record allows us."""
    dns.zone[SPF] = ['"v=spf1 include:provider.example.org -all"']
    dns.lies["provider.example.org"] = scripted_refusal(rcode.SERVFAIL)
    async with relaying(trusted.serving(RELAY)) as port:
        found = faults(await checked(dns, setup(port)))
    assert {subject: line.state for subject, line in found.items()} == {"spf": "unknown"}
    assert "provider.example.org: the DNS server answered SERVFAIL" in found["spf"].says


async def test_the_loop_goes_on_while_look_ups_wait(trusted: Authority, dns: Nameserver) -> None:
    """A check whose look-ups are slow leaves the event loop free for others."""
    dns.lies[DOMAIN] = silent
    task = asyncio.create_task(run(setup(9), Resolver([dns.server], seconds=0.5), now()))
    beats = 0
    while not task.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 10
    assert {line.state for line in await task if line.subject in ("spf", "bounces", "from")} == {"unknown"}


class Said:
    """A DNS that says one text for every name."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def look_up(self, name: str, kind: Kind) -> Answer:
        """Return the text, and no other record."""
        return Answer("found", (self._text,)) if kind == "TXT" else Answer("no_name")


WORDS = st.sampled_from(
    [
        "v=spf1",
        "all",
        "-all",
        "~all",
        "+all",
        "include:",
        "include:x.example",
        "a",
        "mx",
        "ptr",
        "ip4:1.2.3.4",
        "ip4:1.2.3",
        "ip4:1.2.3.4/33",
        "ip6::",
        "ip6:zz",
        "exists:%{i}.x",
        "redirect=",
        "redirect=x.example",
        "exp=%{d}",
        "a:%{l}%{o}%{d4r}",
        "%{",
        "%%",
        "%z",
        "a/24//64",
        "mx:/",
        "é",
        "=",
        ":",
        "a:..b",
        "a:-x",
        "v=DMARC1;",
        "p=",
        "p=none;",
        ";",
        "sp=",
        "rua=",
        "mailto:",
        "!",
        "v=DKIM1;",
        "k=rsa;",
        "h=sha1;",
        "s=x",
        "t=y",
        "p=;",
        "\x00",
    ]
)


@given(words=st.lists(WORDS, max_size=8), form=st.sampled_from(["v=spf1 ", "v=DMARC1;", "v=DKIM1; ", ""]))
@settings(max_examples=40)
def test_no_record_is_too_odd_to_be_judged(words: list[str], form: str) -> None:
    """Whatever stands in a text record, each line is made, and none is right by it."""
    said = Said(form + " ".join(words))

    async def judged() -> list[Line]:
        given_ = setup(9)
        return [
            await spf.check(given_, said, (ADDRESS,), "set"),
            await dkim.check(given_, said),
            await dmarc.check(given_, said),
        ]

    of_spf, of_dkim, of_dmarc = asyncio.run(judged())
    assert of_spf.state == "wrong" and of_dkim.state == "wrong"
    assert of_dmarc.state == "wrong" or "v=DMARC1" in said._text
