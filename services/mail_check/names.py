"""Where the relay sends from, whether that has a name that leads back (PTR), and by what name it greets others (HELO)."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from services.mail_check.dns import LooksUp, reverse_name
from services.mail_check.lines import Line, Record, right, unknown, wrong
from services.mail_check.relay import Greeted
from services.mail_check.setup import ASK_AGAIN, Known, Setup

_NAME_US: Final = "set BALLOTPRESS_EHLO_NAME to this machine's full name, and publish its address"
_NAME_RELAY: Final = "give the relay its machine's full name (in Postfix: myhostname), and publish its address"
_SET_ADDRESSES: Final = "set BALLOTPRESS_OUTGOING_ADDRESSES to the addresses that the relay sends from, and run this again"


async def addresses_of(dns: LooksUp, name: str) -> tuple[tuple[str, ...], str]:
    """Return the addresses of a name, and why they are unknown if they are."""
    found: list[str] = []
    why = ""
    for kind in ("A", "AAAA"):
        answer = await dns.look_up(name, kind)
        found += answer.records
        why = why or answer.why
    return tuple(found), "" if found else why


async def outgoing(setup: Setup, dns: LooksUp, host: str) -> tuple[tuple[str, ...], Known]:
    """Return the addresses that the relay sends from: those that are set, else the public ones that its name leads to."""
    if setup.outgoing:
        return setup.outgoing, "set"
    try:
        found: Sequence[str] = [str(ip_address(host))]
    except ValueError:
        found, _ = await addresses_of(dns, host)
    return tuple(address for address in found if ip_address(address).is_global), "looked up"


async def check_ptr(dns: LooksUp, addresses: Sequence[str], known: Known, hello: str) -> Line:
    """Return whether each address has a name that leads back to it, as Gmail and many others ask (RFC 1912 2.1)."""
    if not addresses:
        return unknown("ptr", "It isn't known which addresses the relay sends from", _SET_ADDRESSES)
    lines = [await _ptr(dns, address, known, hello) for address in addresses]
    by_weight = sorted(lines, key=lambda line: ("wrong", "unknown", "right").index(line.state))
    return by_weight[0] if by_weight[0].state != "right" else right("ptr", "; ".join(line.says for line in lines))


async def _ptr(dns: LooksUp, address: str, known: Known, hello: str) -> Line:
    name = reverse_name(address)
    found = await dns.look_up(name, "PTR")
    if found.state == "unknown":
        return unknown("ptr", f"The name of {address} can't be looked up: {found.why}", ASK_AGAIN)
    publish = Record(name, "PTR", hello)
    if not found.records:
        return _no_way_back(f"{address} has no name", known, publish)
    reasons = []
    for host in found.records:
        back, why = await addresses_of(dns, host)
        if address in back:
            return right("ptr", f"{address} is {host}, which leads back to it")
        reasons += [why] if why else []
    names = " and ".join(found.records)
    if reasons:
        return unknown("ptr", f"{address} is {names}, whose address can't be looked up: {reasons[0]}", ASK_AGAIN)
    return _no_way_back(f"{address} is {names}, which doesn't lead back to it", known, publish)


def _no_way_back(says: str, known: Known, publish: Record) -> Line:
    if known == "set":
        mend = "publish it; who gave you the address publishes a PTR, mostly on a page of its own"
        return wrong("ptr", f"{says}, so many servers refuse or doubt what comes from it", mend, publish)
    return unknown("ptr", f"{says}; it is where the relay's name leads", _SET_ADDRESSES)


async def check_helo(setup: Setup, dns: LooksUp, addresses: Sequence[str], known: Known, greeted: Greeted) -> Line:
    """Return whether the names by which we greet the relay, and the relay others, can be looked up."""
    ours = await _without_address(dns, setup.hello, _NAME_US)
    if ours is not None and not greeted.is_here:
        return ours
    if greeted.name is None:
        return unknown("helo", f"The relay didn't say its name: {greeted.trouble or greeted.unfit}", "see the line on TLS")
    if not greeted.is_here and (known != "set" or greeted.address not in addresses):
        says = (
            f"We greet as {setup.hello}, which can be looked up; by what name the relay greets others can't be seen from here"
        )
        return unknown("helo", says, "if it isn't yours, its provider sees to it; else set BALLOTPRESS_OUTGOING_ADDRESSES")
    publish = _address_record(greeted.name, addresses)
    nowhere = await _without_address(dns, greeted.name, _NAME_RELAY, publish)
    return nowhere or await _leads_there(dns, addresses, greeted.name, publish)


def _address_record(name: str, addresses: Sequence[str]) -> Record | None:
    """Return the record that lets a relay's name lead to its address; None if that isn't known, or the name is none for DNS."""
    if not addresses or "." not in name:
        return None
    return Record(name, "A" if ip_address(addresses[0]).version == 4 else "AAAA", addresses[0])


async def _leads_there(dns: LooksUp, addresses: Sequence[str], name: str, publish: Record | None) -> Line:
    leads, _ = await addresses_of(dns, name)
    if not addresses or set(leads) & set(addresses):
        return right("helo", f"The relay greets as {name}, which can be looked up")
    says = f"The relay greets as {name}, which doesn't lead to {' or '.join(addresses)}"
    return wrong("helo", says, "let that name lead there, or give the relay another", publish)


async def _without_address(dns: LooksUp, name: str, mend: str, publish: Record | None = None) -> Line | None:
    """Return a line if a name that greets can't be looked up."""
    if name.startswith("["):
        return None  # an address as it is written in a greeting (RFC 5321 4.1.3)
    leads, why = await addresses_of(dns, name)
    if why:
        return unknown("helo", f"The name {name} can't be looked up: {why}", ASK_AGAIN)
    if leads:
        return None
    return wrong(
        "helo", f"The name {name} greets others, but leads nowhere, and many servers refuse such a greeting", mend, publish
    )
