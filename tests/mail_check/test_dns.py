import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from services.mail_check.dns import NULL_MX, Answer, Honesty, Resolver, probe, reverse_name
from services.mail_check.remembered import Remembered
from services.setting_groups import DnsServer
from tests.support.nameserver import Nameserver, nameserver, saying, silent
from tests.support.processes import PATIENCE, free_port
from tests.support.unbound import unbound

SPLIT = '"v=spf1 ip4:192.0.2.25 " "-all"'
ZONE = {
    ("news.example", "TXT"): [SPLIT, '"something else"'],
    ("news.example", "MX"): ["20 second.news.example.", "10 First.News.Example."],
    ("first.news.example", "A"): ["192.0.2.25"],
    ("first.news.example", "AAAA"): ["2001:db8::25"],
    ("25.2.0.192.in-addr.arpa", "PTR"): ["First.News.Example."],
    ("nomail.example", "MX"): ["0 ."],
}


@pytest.fixture
def liar() -> Iterator[Nameserver]:
    with nameserver() as server:
        server.zone |= ZONE
        yield server


@pytest.fixture(scope="module")
def resolver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsServer]:
    with unbound(tmp_path_factory.mktemp("unbound"), ZONE) as server:
        yield server


async def test_records_are_read_as_they_are_meant(resolver: DnsServer) -> None:
    """By a real resolver: texts are joined, names in lower case, exchanges in order; a domain without mail says so."""
    asked = Resolver([resolver])
    assert set((await asked.look_up("news.example", "TXT")).records) == {"v=spf1 ip4:192.0.2.25 -all", "something else"}
    assert (await asked.look_up("NEWS.example", "MX")).records == ("first.news.example", "second.news.example")
    assert await asked.look_up(reverse_name("192.0.2.25"), "PTR") == Answer("found", ("first.news.example",))
    assert (await asked.look_up("first.news.example", "AAAA")).records == ("2001:db8::25",)
    assert await asked.look_up("nomail.example", "MX") == Answer("found", (NULL_MX,))


async def test_no_such_name_is_told_from_no_such_record(resolver: DnsServer) -> None:
    """A real resolver's two kinds of nothing stay apart."""
    asked = Resolver([resolver])
    assert await asked.look_up("nothing.example", "TXT") == Answer("no_name")
    assert await asked.look_up("first.news.example", "TXT") == Answer("no_data")
    assert await probe(asked) == Honesty("", is_silent=False)


async def test_a_failing_resolver_is_not_believed(resolver: DnsServer) -> None:
    """A real resolver that reaches nobody answers SERVFAIL, which says nothing of the name."""
    answer = await Resolver([resolver], seconds=20).look_up("elsewhere.test-of-a-name.org", "TXT")
    assert (answer.state, answer.records) == ("unknown", ())


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
async def test_a_refusal_is_unknown_and_named(liar: Nameserver, rcode: dns.rcode.Rcode) -> None:
    """What the server answered is in the reason."""
    liar.lies["news.example"] = saying(rcode)
    answer = await Resolver([liar.server]).look_up("news.example", "TXT")
    assert answer == Answer("unknown", why=f"the DNS server answered {rcode.name}")


async def test_silence_is_bounded_and_blocks_nobody(liar: Nameserver) -> None:
    """A server that says nothing costs the seconds given, while the event loop goes on."""
    liar.lies["news.example"] = silent
    beats, asked = 0, asyncio.create_task(Resolver([liar.server], seconds=0.5).look_up("news.example", "TXT"))
    begun = time.monotonic()
    while not asked.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert await asked == Answer("unknown", why="the DNS server didn't answer within 0.5 s")
    assert beats > 5
    assert time.monotonic() - begun < 30


async def test_no_server_there_is_unknown() -> None:
    """A port that nobody listens on."""
    answer = await Resolver([DnsServer("127.0.0.1", free_port())], seconds=0.5).look_up("news.example", "MX")
    assert answer.state == "unknown"


async def test_the_next_server_is_asked(liar: Nameserver) -> None:
    """One server of several that works is enough."""
    answer = await Resolver([DnsServer("127.0.0.1", free_port()), liar.server]).look_up("news.example", "MX")
    assert answer.state == "found"


async def test_what_is_cut_off_comes_by_tcp(liar: Nameserver) -> None:
    """A text that UDP can't carry is asked for once more by TCP, and comes whole."""
    long = "v=spf1 " + " ".join(f"ip4:192.0.2.{number}" for number in range(256)) + " -all"
    pieces = " ".join(f'"{long[at : at + 255]}"' for at in range(0, len(long), 255))
    liar.zone["long.example", "TXT"] = [pieces]
    assert (await Resolver([liar.server]).look_up("long.example", "TXT")).records == (long,)
    assert [how for name, _, how in liar.asked if name == "long.example"] == ["udp", "tcp"]


async def test_a_giant_text_is_read_and_a_flood_of_records_is_not(liar: Nameserver) -> None:
    """60 kB of one text arrive; a thousand texts are no answer."""
    giant = "x" * 60_000
    liar.zone["giant.example", "TXT"] = [" ".join(f'"{giant[at : at + 250]}"' for at in range(0, len(giant), 250))]
    liar.zone["flood.example", "TXT"] = [f'"{number}"' for number in range(1000)]
    asked = Resolver([liar.server])
    assert (await asked.look_up("giant.example", "TXT")).records == (giant,)
    assert await asked.look_up("flood.example", "TXT") == Answer("unknown", why="the DNS server gave 1000 records")


async def test_aliases_are_followed_and_circles_are_unknown(liar: Nameserver) -> None:
    """An alias leads to its records, one that leads nowhere says so, and a circle is no answer."""
    liar.zone["alias.example", "CNAME"] = ["news.example."]
    liar.zone["dangling.example", "CNAME"] = ["gone.example."]
    liar.zone["a.example", "CNAME"] = ["b.example."]
    liar.zone["b.example", "CNAME"] = ["a.example."]
    asked = Resolver([liar.server])
    assert (await asked.look_up("alias.example", "MX")).records == ("first.news.example", "second.news.example")
    assert (await asked.look_up("dangling.example", "TXT")).state == "no_name"
    assert await asked.look_up("a.example", "TXT") == Answer("unknown", why="aliases (CNAME) lead in a circle")


def _another_question(query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
    response = dns.message.make_response(dns.message.make_query("other.example.", "TXT"))
    response.id = query.id
    response.answer.append(dns.rrset.from_text("other.example.", 300, "IN", "TXT", '"v=spf1 +all"'))
    return response


def _another_owner(query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text("other.example.", 300, "IN", "TXT", '"v=spf1 +all"'))
    return response


def _random_bytes(query: dns.message.Message, by_tcp: bool) -> bytes:
    return os.urandom(200)


def _cut_off_even_by_tcp(query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.TC
    return response


@pytest.mark.parametrize("lie", [_another_question, _another_owner, _random_bytes, _cut_off_even_by_tcp])
async def test_an_answer_to_something_else_is_never_taken(liar: Nameserver, lie: object) -> None:
    """Neither another name's records nor bytes without sense become records of the name that was asked for."""
    liar.lies["news.example"] = lie  # type: ignore[assignment]
    answer = await Resolver([liar.server], seconds=0.5).look_up("news.example", "TXT")
    assert answer.records == ()
    assert answer.state in ("unknown", "no_data")


async def test_texts_that_are_no_utf_8_are_read_anyway(liar: Nameserver) -> None:
    """Bytes beyond ASCII are shown, not refused."""
    liar.zone["bytes.example", "TXT"] = [r'"caf\195\169 \255"']
    assert (await Resolver([liar.server]).look_up("bytes.example", "TXT")).records == ("café \\xff",)


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", "a." * 200 + "example", "\udcff.example"])
async def test_what_is_no_name_is_unknown(liar: Nameserver, name: str) -> None:
    """A name that DNS can't have is never asked for."""
    assert (await Resolver([liar.server]).look_up(name, "A")).state == "unknown"
    assert liar.asked == []


async def test_a_server_that_lies_is_found_out(liar: Nameserver) -> None:
    """One that answers for what can't exist, as a captive network does, with records or without; one that knows no root."""
    asked = Resolver([liar.server])
    assert await probe(asked) == Honesty("", is_silent=False)
    truth = liar._truth

    def everything(query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "192.0.2.1"))
        return response

    for lie in (everything, saying(dns.rcode.NOERROR)):
        liar._truth = lie  # type: ignore[method-assign]
        assert (await probe(asked)).lie == "it has an answer for a name that can't exist"
    liar._truth = truth  # type: ignore[method-assign]
    liar.lies["."] = saying(dns.rcode.NXDOMAIN)
    assert (await probe(asked)).lie == "it says that the root of all names doesn't exist"
    liar._truth = saying(dns.rcode.SERVFAIL)  # type: ignore[method-assign]
    liar.lies.clear()
    assert await probe(asked) == Honesty("", is_silent=True)


async def test_a_check_asks_once_and_not_for_ever(liar: Nameserver) -> None:
    """The same name is asked for once, also at the same moment; what comes after the time for all look-ups is unknown."""
    asked = Remembered(Resolver([liar.server]), seconds=PATIENCE)
    answers = await asyncio.gather(*(asked.look_up(name, "MX") for name in ("news.example", "NEWS.example.")))
    assert answers[0] == answers[1] == await asked.look_up("news.example", "MX")
    assert [name for name, _, _ in liar.asked] == ["news.example"]
    late = await Remembered(Resolver([liar.server]), seconds=-1).look_up("first.news.example", "A")
    assert late == Answer("unknown", why="the time for look-ups was over")


async def test_a_machine_without_a_dns_server_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the system names none, nothing is asked."""
    import dns.resolver

    read = dns.resolver.BaseResolver.read_resolv_conf
    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", lambda self, file: read(self, str(tmp_path / "none")))
    assert await Resolver().look_up("news.example", "MX") == Answer("unknown", why="no DNS server is named on this machine")
