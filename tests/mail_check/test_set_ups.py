"""A good set-up has no red line; each broken one says what is wrong, and the record that mends it."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.clock import now
from services.mail_check import dmarc, names, spf
from services.mail_check.dns import Resolver
from services.mail_check.lines import Record
from services.mail_check.run import run
from services.mail_check.setup import Specimen
from tests.support.certificates import Authority
from tests.support.mail_setups import (
    ADDRESS,
    DOMAIN,
    FEEDBACK_ID,
    GREETS,
    KEY_NAME,
    RELAY,
    REVERSE,
    SENDER,
    checked,
    cut,
    faults,
    issue,
    key,
    record,
    relaying,
    setup,
    signed,
    zone,
)
from tests.support.nameserver import Nameserver
from tests.support.unbound import unbound

JUDGED = (
    "dns", "from", "bounces", "spf", "dkim", "dmarc", "ptr", "helo", "tls", "unsubscribe", "list-id", "feedback-id", "cfbl",
    "size",
)  # fmt: skip


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
RECORD = record()
INCLUDES = "v=spf1 " + " ".join(f"include:{number}.spf.example.com" for number in range(11)) + f" ip4:{ADDRESS} -all"
NESTED = {(f"{number}.spf.example.com", "TXT"): ['"v=spf1 ip4:203.0.113.1 -all"'] for number in range(11)}
VOIDS = "v=spf1 a:gone1.example.com a:gone2.example.com a:gone3.example.com -all"


def altered(before: str, after: str) -> Specimen:
    """Return an issue that differs in one place, signed as it is."""
    message = issue()
    assert message.count(before.encode()) == 1
    return signed(message.replace(before.encode(), after.encode()))


# fmt: off
BROKEN = [
    Broken("no SPF", {SPF: ['"hello"']}, {}, "spf", "wrong", "has no SPF record", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "two SPF records", {SPF: ['"v=spf1 include:a.example.net ~all"', '"V=SPF1 ip4:203.0.113.7 ?all"']}, {}, "spf",
        "wrong", "has 2 SPF records", (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:203.0.113.7 include:a.example.net ~all"),
    ),
    Broken(
        "SPF of somebody else", {SPF: ['"v=spf1 ip4:203.0.113.7 ~all"']}, {}, "spf", "wrong", f"doesn't let {ADDRESS} send",
        (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:203.0.113.7 ~all"),
    ),
    Broken("SPF for all", {SPF: ['"v=spf1 +all"']}, {}, "spf", "wrong", "lets everybody send", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "SPF for half of the world each", {SPF: ['"v=spf1 ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all"']}, {}, "spf", "wrong",
        "lets everybody send", (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken(
        "SPF for all beside others", {SPF: ['"v=spf1 ip4:203.0.113.7 all"']}, {}, "spf", "wrong", "lets everybody send",
        (DOMAIN, "TXT", f"v=spf1 ip4:{ADDRESS} ip4:203.0.113.7 -all"),
    ),
    Broken(
        "SPF with too many look-ups", {SPF: [cut(INCLUDES)], **NESTED}, {}, "spf", "wrong", "more than 10 look-ups",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken(
        "SPF that includes itself", {SPF: [f'"v=spf1 include:{DOMAIN} -all"']}, {}, "spf", "wrong", "recursion",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken("SPF into nothing", {SPF: [f'"{VOIDS}"']}, {}, "spf", "wrong", "find nothing", (DOMAIN, "TXT", GOOD_SPF)),
    Broken(
        "SPF that isn't written right", {SPF: ['"v=spf1 ipv4:192.0.2.25 -all"']}, {}, "spf", "wrong", "ipv4",
        (DOMAIN, "TXT", GOOD_SPF),
    ),
    Broken("DKIM key removed", {(KEY_NAME, "TXT"): None}, {}, "dkim", "wrong", "doesn't exist", (KEY_NAME, "TXT", RECORD)),
    Broken(
        "DKIM key revoked", {(KEY_NAME, "TXT"): ['"v=DKIM1; k=rsa; p="']}, {}, "dkim", "wrong", "is revoked",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "another DKIM key", {(KEY_NAME, "TXT"): [cut(record(1))]}, {}, "dkim", "wrong", "has another key",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "DKIM key cut off", {(KEY_NAME, "TXT"): [f'"{RECORD[:255]}"']}, {}, "dkim", "wrong", "has another key",
        (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "two DKIM keys", {(KEY_NAME, "TXT"): [cut(RECORD), cut(record(1))]}, {}, "dkim", "wrong",
        "has 2 text records", (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "DKIM as a test", {(KEY_NAME, "TXT"): [cut(f"t=y; {RECORD}".replace("t=y; v=DKIM1;", "v=DKIM1; t=y;"))]}, {}, "dkim",
        "wrong", "is marked as a test", (KEY_NAME, "TXT", RECORD),
    ),
    Broken(
        "no DKIM key at all", {(KEY_NAME, "TXT"): ['"<html>"']}, {}, "dkim", "wrong", "has no key", (KEY_NAME, "TXT", RECORD),
    ),
    Broken("a key file that is none", {}, {"broken_key": "the DKIM key is no private key"}, "dkim", "wrong", "no private key"),
    Broken(
        "no DMARC", {DMARC: None}, {}, "dmarc", "wrong", "has no DMARC policy",
        ("_dmarc.example.com", "TXT", "v=DMARC1; p=none; rua=mailto:dmarc@example.com"),
    ),
    Broken(
        "DMARC without a policy", {DMARC: ['"v=DMARC1; rua=mailto:d@example.com"']}, {}, "dmarc", "wrong", "says no p=",
        (DMARC[0], "TXT", "v=DMARC1; p=none; rua=mailto:d@example.com"),
    ),
    Broken(
        "DMARC with a policy that there isn't", {DMARC: ['"v=DMARC1; p=block"']}, {}, "dmarc", "wrong", "says p=block",
        (DMARC[0], "TXT", "v=DMARC1; p=none"),
    ),
    Broken(
        "DMARC that reports to no address", {DMARC: ['"v=DMARC1; p=reject; rua=d@example.com"']}, {}, "dmarc", "wrong",
        "no mailto: address", (DMARC[0], "TXT", "v=DMARC1; p=reject; rua=mailto:d@example.com"),
    ),
    Broken(
        "two DMARC policies", {DMARC: ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}, {}, "dmarc", "wrong", "has 2 policies",
        (DMARC[0], "TXT", "v=DMARC1; p=none"),
    ),
    Broken("no PTR", {(REVERSE, "PTR"): None}, {}, "ptr", "wrong", "has no name", (REVERSE, "PTR", GREETS)),
    Broken(
        "a PTR that doesn't lead back", {(REVERSE, "PTR"): ["host-25.provider.example."]}, {}, "ptr", "wrong",
        "doesn't lead back", (REVERSE, "PTR", GREETS),
    ),
    Broken("bounces to nowhere", {(DOMAIN, "MX"): ["10 gone.example.com."]}, {}, "bounces", "wrong", "has no address"),
    Broken(
        "takes no mail", {(DOMAIN, "MX"): ["0 ."]}, {}, "bounces", "wrong", "takes no mail",
        (DOMAIN, "MX", f"10 mail.{DOMAIN}."),
    ),
    Broken(
        "no MX", {(DOMAIN, "MX"): None}, {}, "bounces", "unknown", "names no mail server",
        (DOMAIN, "MX", f"10 mail.{DOMAIN}."),
    ),
    Broken("a site without https", {}, {"base_url": f"http://{DOMAIN}"}, "unsubscribe", "wrong", "isn't https"),
    Broken("no Feedback-ID", {}, {"specimen": signed(issue(None))}, "feedback-id", "wrong", "but: none"),
    Broken(
        "a Feedback-ID without sender", {}, {"specimen": altered(FEEDBACK_ID, "a:b:c:x")}, "feedback-id", "wrong",
        "but: a:b:c:x",
    ),
    Broken(
        "complaints to somebody else", {}, {"specimen": altered(f"{SENDER.address}; report", "fbl@elsewhere.org; report")},
        "cfbl", "wrong", "isn't at the sender's domain",
    ),
    Broken(
        "no address for complaints", {}, {"specimen": altered("CFBL-Address", "X-Nothing")}, "cfbl", "wrong", "no CFBL-Address",
    ),
    Broken(
        "a List-Id of somebody else", {}, {"specimen": signed(issue(list_id="list.elsewhere.org"))}, "list-id", "wrong",
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
        ("dkim", "unsubscribe", "list-id", "feedback-id", "cfbl"), "unknown"
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


async def test_a_long_issue_is_cut_off(dns: Nameserver) -> None:
    """HTML above what Gmail shows."""
    long = issue().replace(b"</body>", b"<p>" + b"\r\n".join([b"x" * 70] * 1400) + b"</p></body>")
    line = (await checked(dns, setup(9, specimen=signed(long))))["size"]
    assert (line.state, "Gmail cuts it off" in line.says) == ("wrong", True)
