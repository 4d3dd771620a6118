"""What nobody could say is unknown, never right: DNS that fails or lies, and records that are odd beyond sense."""

import asyncio
from typing import Any

import pytest
from dns import rcode
from dns.message import Message, make_response
from dns.rrset import from_text
from hypothesis import given, settings
from hypothesis import strategies as st

from services.clock import now
from services.mail_check import dkim, dmarc, spf
from services.mail_check.dns import Answer, Kind, Resolver
from services.mail_check.lines import Line
from services.mail_check.run import run
from tests.support.certificates import Authority
from tests.support.mail_setups import (
    ADDRESS,
    DOMAIN,
    RELAY,
    checked,
    faults,
    relaying,
    setup,
)
from tests.support.nameserver import Nameserver, nameserver, silent
from tests.support.nameserver import saying as scripted_refusal


@pytest.mark.parametrize("lie", [silent, scripted_refusal(rcode.SERVFAIL), scripted_refusal(rcode.REFUSED)])
async def test_what_dns_does_not_say_is_never_right(trusted: Authority, lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DNS that is silent or refuses leaves every line that rests on it unknown, with what to do; none is green or red."""
    monkeypatch.setattr("services.mail_check.run.LOOKUP_SECONDS", 3.0)
    with nameserver() as server:
        server._truth = lie  # type: ignore[method-assign]
        async with relaying(trusted.serving(RELAY)) as port:
            lines = await run(setup(port), Resolver([server.server], seconds=0.3), now())
    assert {name for name, _, _ in server.asked if not name.endswith(".invalid")} == {DOMAIN, "."}, "it isn't asked again"
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


async def test_a_dns_that_denies_everything_makes_nothing_red(dns: Nameserver) -> None:
    """In a closed network no name exists, not even the root: that says nothing of the site."""
    dns._truth = scripted_refusal(rcode.NXDOMAIN)  # type: ignore[method-assign]
    lines = await run(setup(9), Resolver([dns.server]), now())
    assert {line.state for line in lines} == {"unknown"}


async def test_a_failed_include_is_unknown_not_wrong(trusted: Authority, dns: Nameserver) -> None:
    """SPF that needs a look-up which fails: nobody can say whether the record allows us."""
    dns.zone[DOMAIN, "TXT"] = ['"v=spf1 include:provider.example.org -all"']
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


WORDS = [
    "v=spf1", "all", "-all", "~all", "+all", "include:", "include:x.example", "a", "mx", "ptr", "ip4:1.2.3.4", "ip4:1.2.3",
    "ip4:1.2.3.4/33", "ip6::", "ip6:zz", "exists:%{i}.x", "redirect=", "redirect=x.example", "exp=%{d}", "a:%{l}%{o}%{d4r}",
    "%{", "%%", "%z", "a/24//64", "mx:/", "é", "=", ":", "a:..b", "a:-x", "v=DMARC1;", "p=", "p=none;", ";", "sp=", "rua=",
    "mailto:", "!", "v=DKIM1;", "k=rsa;", "h=sha1;", "s=x", "t=y", "p=;", "\x00",
]  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS), max_size=8), form=st.sampled_from(["v=spf1 ", "v=DMARC1;", "v=DKIM1; ", ""]))
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
