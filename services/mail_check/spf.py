"""SPF (RFC 7208): whether the record at the envelope's domain lets the relay's addresses send, and not everybody.

What a record says of an address is judged by the library `spf`, whose look-ups are ours: bounded in time.
"""

import asyncio
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final, Literal, NamedTuple, cast

import spf  # type: ignore[import-untyped]

from services.mail_check.dns import Answer, Kind, LooksUp
from services.mail_check.lines import Line, Record, right, unknown, wrong
from services.mail_check.setup import ASK_AGAIN, Known, Setup

Result = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"]

STRANGERS: Final = ("198.51.100.77", "2001:db8:ffff::77")
"""Addresses for documentation (RFC 5737, RFC 3849), from which nobody sends: a record that lets them send lets everybody."""
MOST_LOOKUPS: Final = spf.MAX_LOOKUP
LONGEST: Final = 10.0
"""Seconds that a thread waits for a look-up, which takes a few: the event loop may be busy, or gone."""

_SPF: Final = re.compile(r"v=spf1( |$)", re.IGNORECASE)
_ALL: Final = re.compile(r"[+?~-]?all", re.IGNORECASE)


class Judgement(NamedTuple):
    """What a record says of an address: the result, why if it is an error, and how many look-ups it took."""

    result: Result
    why: str
    lookups: int


async def check(setup: Setup, dns: LooksUp, outgoing: Sequence[str], known: Known) -> Line:
    """Return what SPF says of the addresses that the relay sends from."""
    domain = setup.domain
    found = await dns.look_up(domain, "TXT")
    if found.state == "unknown":
        return unknown("spf", f"The SPF record of {domain} can't be looked up: {found.why}", ASK_AGAIN)
    records = [text for text in found.records if _SPF.match(text)]
    if not records:
        return _missing(domain, outgoing)
    if len(records) > 1:
        says = f"{domain} has {len(records)} SPF records, so servers take it to have none (RFC 7208 4.5)"
        return wrong("spf", says, "publish this one in their place", Record(domain, "TXT", _merged(records, outgoing)))
    return await _judged(setup, dns, records[0], outgoing, known)


async def _judged(setup: Setup, dns: LooksUp, record: str, outgoing: Sequence[str], known: Known) -> Line:
    domain = setup.domain
    strangers = [await judge(dns, address, setup.sender, setup.hello) for address in STRANGERS]
    ours = [await judge(dns, address, setup.sender, setup.hello) for address in outgoing]
    for judgement in (*strangers, *ours):
        if judgement.result == "permerror":
            says = f"The SPF record of {domain} can't be taken: {judgement.why}"
            return wrong("spf", says, f"correct it; it is now: {record}", Record(domain, "TXT", _plain(outgoing)))
    if failed := [judgement for judgement in (*strangers, *ours) if judgement.result == "temperror"]:
        return unknown("spf", f"A look-up that the SPF record of {domain} needs has failed: {failed[0].why}", ASK_AGAIN)
    if any(judgement.result == "pass" for judgement in strangers):
        says = f"The SPF record of {domain} lets everybody send in its name: {record}"
        publish = Record(domain, "TXT", await _narrowed(setup, dns, record, outgoing))
        return wrong("spf", says, "end it in -all, and name your own senders before that", publish)
    if not outgoing:
        says = f"{domain} has an SPF record, but it isn't known which addresses the relay sends from"
        return unknown("spf", says, "set BALLOTPRESS_OUTGOING_ADDRESSES to them, and run this again")
    refused = [address for address, judgement in zip(outgoing, ours, strict=True) if judgement.result != "pass"]
    if refused:
        return _refused(domain, record, refused, known)
    lookups = max(judgement.lookups for judgement in (*ours, *strangers))
    return right("spf", f"{domain} lets {_listed(outgoing)} send ({lookups} of at most {MOST_LOOKUPS} look-ups)")


async def _narrowed(setup: Setup, dns: LooksUp, record: str, outgoing: Sequence[str]) -> str:
    """Return the record without its `all`, or one of our own addresses alone if everybody could still send by that."""
    value = _merged([record], outgoing)
    strangers = [await judge(dns, address, setup.sender, setup.hello, value) for address in STRANGERS]
    return _plain(outgoing) if any(judgement.result == "pass" for judgement in strangers) else value


def _missing(domain: str, outgoing: Sequence[str]) -> Line:
    says = f"{domain} has no SPF record, so nothing says who may send in its name"
    if not outgoing:
        mend = "publish one that names your relay: its provider says which `include:` to write before -all"
        return wrong("spf", says, mend, Record(domain, "TXT", "v=spf1 include:YOUR-PROVIDER -all"))
    return wrong("spf", says, "publish it", Record(domain, "TXT", _plain(outgoing)))


def _refused(domain: str, record: str, refused: Sequence[str], known: Known) -> Line:
    publish = Record(domain, "TXT", _merged([record], refused))
    says = f"The SPF record of {domain} doesn't let {_listed(refused)} send"
    if known == "set":
        return wrong("spf", says, "publish it with these addresses", publish)
    mend = (
        "if the relay sends from where its name leads, publish this; else set BALLOTPRESS_OUTGOING_ADDRESSES to"
        " the addresses that it sends from"
    )
    return unknown("spf", f"{says}, which is where the relay's name leads", mend, publish)


def _listed(addresses: Sequence[str]) -> str:
    return " and ".join(addresses)


def _plain(outgoing: Sequence[str]) -> str:
    return _merged(["v=spf1 -all"], outgoing) if outgoing else "v=spf1 include:YOUR-PROVIDER -all"


def _merged(records: Sequence[str], more: Sequence[str]) -> str:
    """Return one record that lets send whom any of these does, and more addresses, and not everybody."""
    terms = [f"ip{ip_address(address).version}:{address}" for address in more]
    said = [term for record in records for term in record.split()[1:]]
    terms += [term for term in said if not _ALL.fullmatch(term)]
    refusals = [term for term in said if term.lower() in ("-all", "~all")]
    end = [] if any(term.lower().startswith("redirect=") for term in said) else [*refusals, "-all"][:1]
    return " ".join(["v=spf1", *dict.fromkeys(terms), *end])


async def judge(dns: LooksUp, address: str, sender: str, hello: str, record: str | None = None) -> Judgement:
    """Return what a record, or that of the sender's domain, says of an address (RFC 7208, check_host)."""
    asked = _Query(dns, asyncio.get_running_loop(), address, sender, hello)
    result, why = await asyncio.to_thread(asked.judge, record)
    return Judgement(result, why, asked.lookups)


class _Query(spf.query):  # type: ignore[misc]
    """A query of the library that looks names up by ours, from a thread of its own."""

    def __init__(self, dns: LooksUp, loop: asyncio.AbstractEventLoop, address: str, sender: str, hello: str) -> None:
        super().__init__(i=address, s=sender, h=hello, strict=True)
        self._dns = dns
        self._loop = loop

    def judge(self, record: str | None) -> tuple[Result, str]:
        """Return the result by a record, or else by that of the domain, and for an error the reason."""
        result, _, why = self.check(spf=record)
        return cast(Result, result), _in_words(str(why))

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        """Return what is found, as the library's own drivers do; aliases are followed by the DNS server."""
        asked = self._dns.look_up(name, cast(Kind, qtype))
        try:
            answer = asyncio.run_coroutine_threadsafe(_awaited(asked), self._loop).result(LONGEST)
        except TimeoutError:
            raise spf.TempError(f"{name}: no answer came in time") from None
        if answer.state == "unknown":
            raise spf.TempError(f"{name}: {answer.why}")
        if not answer.records and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} of its look-ups find nothing, the last {name}")
        return _as_the_library_has_it(qtype, answer)


async def _awaited(asked: Any) -> Answer:
    answer: Answer = await asked
    return answer


def _as_the_library_has_it(qtype: str, answer: Answer) -> list[Any]:
    match qtype:
        case "TXT":
            return [(text.encode("utf-8"),) for text in answer.records]
        case "MX":
            return list(enumerate(answer.records))
        case _:
            return list(answer.records)


def _in_words(why: str) -> str:
    """Return the library's reason without its heading."""
    said = why.removeprefix("SPF Permanent Error: ").removeprefix("SPF Temporary Error: ")
    if said.startswith("Too many DNS lookups"):
        return f"it needs more than {MOST_LOOKUPS} look-ups, and servers do no more"
    return said
