"""Look up what others see in DNS: each look-up is bounded in time and leaves the event loop free.

An answer keeps apart what a DNS server may say: records, no records of the kind, no such name. Where none said anything that
can be believed (silence, SERVFAIL, nonsense, aliases in a circle) the answer is "unknown", with the reason.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.resolver
import dns.reversename

from services.setting_groups import DnsServer

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]
State = Literal["found", "no_data", "no_name", "unknown"]

SECONDS: Final = 5.0
"""Of one look-up, with all its attempts."""
TRY_SECONDS: Final = 1.5
"""Of one attempt, after which the next server is asked."""
MOST_RECORDS: Final = 100
"""Of one name and kind; more are an attack or a mistake."""
PAYLOAD: Final = 1232
"""Bytes of an answer by UDP (DNS Flag Day 2020); what is longer comes by TCP."""
NULL_MX: Final = "."
"""The one exchange of a domain that takes no mail (RFC 7505)."""

_NO_SERVER: Final = "no DNS server is named on this machine"


class Answer(NamedTuple):
    """An answer: `records` if any were found, aliases followed, and `why` if it is unknown.

    Texts are joined from their strings; names are in lower case without the last dot, exchanges in order of preference.
    """

    state: State
    records: tuple[str, ...] = ()
    why: str = ""


class LooksUp(Protocol):
    """Looks a name up."""

    async def look_up(self, name: str, kind: Kind) -> Answer:
        """Return the answer for a name and a kind of record."""


class Resolver:
    """Asks the DNS servers given, or else the system's."""

    def __init__(self, servers: Sequence[DnsServer] = (), *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._resolver = _configured(servers)
        if self._resolver is not None:
            self._resolver.timeout = TRY_SECONDS
            self._resolver.use_edns(0, 0, PAYLOAD)

    async def look_up(self, name: str, kind: Kind) -> Answer:
        """Return the answer for a name and a kind of record."""
        if self._resolver is None:
            return Answer("unknown", why=_NO_SERVER)
        try:
            asked = dns.name.from_text(name)
            found = await self._resolver.resolve(asked, kind, raise_on_no_answer=False, lifetime=self._seconds)
        except dns.resolver.NXDOMAIN:
            return Answer("no_name")
        except dns.exception.DNSException as error:
            return Answer("unknown", why=_reason(error, self._seconds))
        except (OSError, UnicodeError, ValueError) as error:
            return Answer("unknown", why=f"the DNS server can't be asked ({type(error).__name__})")
        if found.rrset is None:
            return Answer("no_data")
        if len(found.rrset) > MOST_RECORDS:
            return Answer("unknown", why=f"the DNS server gave {len(found.rrset)} records")
        return Answer("found", _records(kind, list(found.rrset)))


class Away:
    """Looks nothing up, since no DNS server can be asked: every answer is unknown, for one reason."""

    def __init__(self, why: str) -> None:
        self._answer = Answer("unknown", why=why)

    async def look_up(self, name: str, kind: Kind) -> Answer:
        """Return that nobody knows."""
        return self._answer


class Honesty(NamedTuple):
    """Whether DNS servers can be believed: the lie that they told, if any, and whether they said nothing at all."""

    lie: str
    is_silent: bool


async def probe(dns_servers: LooksUp) -> Honesty:
    """Ask what the truth is known of: a name that can't exist (RFC 6761 6.4), and the root of all names, which does.

    A captive network has an answer for everything, and a closed one has none for what everybody knows.
    """
    name = f"{secrets.token_hex(8)}.invalid"
    root, *impossible = await asyncio.gather(
        dns_servers.look_up(".", "MX"), dns_servers.look_up(name, "A"), dns_servers.look_up(name, "TXT")
    )
    if any(answer.state in ("found", "no_data") for answer in impossible):
        return Honesty("it has an answer for a name that can't exist", is_silent=False)
    if root.state == "no_name":
        return Honesty("it says that the root of all names doesn't exist", is_silent=False)
    return Honesty("", is_silent=all(answer.state == "unknown" for answer in impossible))


def reverse_name(address: str) -> str:
    """Return the name under which the names of an IP address stand."""
    return _host(dns.reversename.from_address(address))


def _configured(servers: Sequence[DnsServer]) -> dns.asyncresolver.Resolver | None:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration:
        return None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(server.address, server.port) for server in servers]
    return resolver if resolver.nameservers else None


def _records(kind: Kind, found: list[dns.rdata.Rdata]) -> tuple[str, ...]:
    match kind:
        case "TXT":
            return tuple(sorted(b"".join(record.strings).decode("utf-8", "backslashreplace") for record in found))  # type: ignore[attr-defined]
        case "MX":
            ordered = sorted((record.preference, _host(record.exchange)) for record in found)  # type: ignore[attr-defined]
            return tuple(exchange for _, exchange in ordered)
        case "PTR":
            return tuple(sorted(_host(record.target) for record in found))  # type: ignore[attr-defined]
        case "A" | "AAAA":
            return tuple(sorted(record.address for record in found))  # type: ignore[attr-defined]


def _host(name: dns.name.Name) -> str:
    return name.canonicalize().to_text(omit_final_dot=True)


def _reason(error: Exception, seconds: float) -> str:
    """Return why there is no answer that can be believed."""
    match error:
        case dns.resolver.LifetimeTimeout():
            return f"the DNS server didn't answer within {seconds:g} s"
        case dns.resolver.NoNameservers():
            return _refusal(error, seconds)
        case dns.message.ChainTooLong():
            return "aliases (CNAME) lead in a circle"
        case dns.name.LabelTooLong() | dns.name.NameTooLong() | dns.name.EmptyLabel() | dns.name.IDNAException():
            return "it is no name that DNS can have"
    return f"the DNS server's answer can't be read ({type(error).__name__})"


def _refusal(error: dns.resolver.NoNameservers, seconds: float) -> str:
    """Return what the last server said, or what was wrong with its answer."""
    *_, cause, response = error.kwargs["errors"][-1]
    if response is not None and response.rcode() != dns.rcode.NOERROR:
        return f"the DNS server answered {dns.rcode.to_text(response.rcode())}"
    return _reason(cause, seconds)
