"""The sender's domain: whether it exists and is this site's own, takes bounces back, and how it takes mail in (notes alone)."""

from pathlib import Path
from typing import Final

from services.mail_check.dns import NULL_MX, LooksUp
from services.mail_check.lines import Line, Record, note, right, unknown, wrong
from services.mail_check.names import addresses_of
from services.mail_check.setup import ASK_AGAIN, Setup, organisation

FREE: Final = frozenset((Path(__file__).parent / "free_providers.txt").read_text().split())
"""Domains whose owners let nobody else send in their name, so that DMARC fails for all who do."""
_SET_SENDER: Final = "set BALLOTPRESS_MAIL_FROM to an address at a domain of your own"


async def check_from(setup: Setup, dns: LooksUp) -> Line:
    """Return whether the sender's domain exists, and isn't one of a provider of free mailboxes."""
    domain = setup.domain
    if domain in FREE or organisation(domain) in FREE:
        says = f"{domain} is a provider's, which lets nobody but itself send in its name"
        return wrong("from", says, _SET_SENDER)
    found = [await dns.look_up(domain, kind) for kind in ("MX", "A", "AAAA", "TXT")]
    if any(answer.state == "found" for answer in found):
        return right("from", f"{domain} exists, and is no provider's")
    if why := next((answer.why for answer in found if answer.why), ""):
        return unknown("from", f"Whether {domain} exists can't be looked up: {why}", ASK_AGAIN)
    return wrong("from", f"The sender's domain {domain} doesn't exist, so servers refuse its mail", _SET_SENDER)


async def check_bounces(setup: Setup, dns: LooksUp) -> Line:
    """Return whether bounces find their way back: our envelopes' sender is the mails' sender."""
    domain = setup.domain
    found = await dns.look_up(domain, "MX")
    if found.state == "unknown":
        return unknown("bounces", f"The mail servers of {domain} can't be looked up: {found.why}", ASK_AGAIN)
    if found.records == (NULL_MX,):
        says = f"{domain} says that it takes no mail (a null MX, RFC 7505), and servers refuse mail that can't be answered"
        return wrong("bounces", says, "name the server that takes its mail", Record(domain, "MX", f"10 mail.{domain}."))
    if not found.records:
        return await _without_mx(domain, dns)
    troubles = []
    for host in found.records:
        leads, why = await addresses_of(dns, host)
        if leads:
            return right("bounces", f"Bounces to {setup.sender} go to {host}")
        troubles.append(why)
    hosts = " and ".join(found.records)
    if any(troubles):
        why = next(filter(None, troubles))
        return unknown("bounces", f"Bounces go to {hosts}, whose address can't be looked up: {why}", ASK_AGAIN)
    return wrong(
        "bounces",
        f"Bounces to {setup.sender} go to {hosts}, which has no address",
        "publish its address, or name another server",
    )


async def _without_mx(domain: str, dns: LooksUp) -> Line:
    leads, why = await addresses_of(dns, domain)
    publish = Record(domain, "MX", f"10 mail.{domain}.")
    if why:
        return unknown("bounces", f"The mail servers of {domain} can't be looked up: {why}", ASK_AGAIN)
    if leads:
        says = f"{domain} names no mail server, so bounces go to {leads[0]} itself (RFC 5321 5.1)"
        return unknown("bounces", says, "see that mail is taken there, or name the server that takes it", publish)
    says = f"{domain} names no mail server, so bounces are lost and some servers refuse its mail"
    return wrong("bounces", says, "name the server that takes its mail", publish)


async def check_mta_sts(setup: Setup, dns: LooksUp) -> Line:
    """Return whether mail to the sender's domain must come over TLS (RFC 8461); no mail of ours depends on it."""
    found = await dns.look_up(f"_mta-sts.{setup.domain}", "TXT")
    if any(text.startswith("v=STSv1") for text in found.records):
        return note("mta-sts", f"{setup.domain} has a policy that mail to it must come over TLS")
    if found.state == "unknown":
        return note("mta-sts", f"Whether {setup.domain} has a policy can't be looked up: {found.why}")
    return note("mta-sts", f"{setup.domain} has no policy that mail to it must come over TLS", "it may have one (RFC 8461)")


async def check_tls_rpt(setup: Setup, dns: LooksUp) -> Line:
    """Return whether others report failures of TLS with the sender's domain (RFC 8460); no mail of ours depends on it."""
    found = await dns.look_up(f"_smtp._tls.{setup.domain}", "TXT")
    if any(text.startswith("v=TLSRPTv1") for text in found.records):
        return note("tls-rpt", f"{setup.domain} gets reports on TLS that failed")
    if found.state == "unknown":
        return note("tls-rpt", f"Whether {setup.domain} gets reports can't be looked up: {found.why}")
    return note("tls-rpt", f"{setup.domain} gets no reports on TLS that failed", "it may ask for them (RFC 8460)")
