"""DMARC (RFC 7489): whether the sender's domain has a policy, and SPF or DKIM speak for that domain."""

import re
from typing import Final

from services.mail_check.dns import LooksUp
from services.mail_check.lines import Line, Record, right, unknown, wrong
from services.mail_check.setup import ASK_AGAIN, Setup, organisation

_DMARC: Final = re.compile(r"v\s*=\s*DMARC1\s*(;|$)")  # RFC 7489 6.4: the case of "DMARC1" matters
_POLICIES: Final = ("none", "quarantine", "reject")


async def check(setup: Setup, dns: LooksUp) -> Line:
    """Return what DMARC makes of mails from this site's sender."""
    domain, organisational = setup.domain, organisation(setup.domain)
    for place in dict.fromkeys((domain, organisational)):
        found = await dns.look_up(f"_dmarc.{place}", "TXT")
        if found.state == "unknown":
            return unknown("dmarc", f"The policy at _dmarc.{place} can't be looked up: {found.why}", ASK_AGAIN)
        records = [text for text in found.records if _DMARC.match(text)]
        if len(records) > 1:
            says = f"_dmarc.{place} has {len(records)} policies, so servers take it to have none (RFC 7489 6.6.3)"
            return wrong("dmarc", says, "leave one of them", Record(f"_dmarc.{place}", "TXT", records[0]))
        if records:
            return await _judged(setup, dns, place, records[0])
    says = f"{domain} has no DMARC policy, which Gmail and Yahoo ask of everybody who sends to many"
    value = f"v=DMARC1; p=none; rua=mailto:dmarc@{organisational}"
    mend = "publish one; the address after rua= gets reports, so name one that takes mail"
    return wrong("dmarc", says, mend, Record(f"_dmarc.{organisational}", "TXT", value))


async def _judged(setup: Setup, dns: LooksUp, place: str, record: str) -> Line:
    tags = _tags(record)
    if fault := _fault(tags):
        value = _corrected(tags)
        return wrong("dmarc", f"The policy at _dmarc.{place} {fault}: {record}", "publish it corrected", _at(place, value))
    if unaligned := _unaligned(setup, tags):
        return unaligned
    policy = tags["p"] if place == setup.domain else tags.get("sp", tags["p"])
    reports = await _reports(dns, place, tags)
    return right("dmarc", f"{place} asks servers to {_asks(policy)} mail that neither SPF nor DKIM speak for; {reports}")


def _fault(tags: dict[str, str]) -> str | None:
    """Return what makes a policy one that servers ignore."""
    if "p" not in tags:
        return "says no p="
    for tag in ("p", "sp"):
        if tag in tags and tags[tag] not in _POLICIES:
            return f"says {tag}={tags[tag]}, which is none of {', '.join(_POLICIES)}"
    for address in filter(None, tags.get("rua", "").split(",")):
        if not address.strip().startswith("mailto:"):
            return f"sends its reports to {address.strip()}, which is no mailto: address"
    return None


def _corrected(tags: dict[str, str]) -> str:
    kept = {tag: value for tag, value in tags.items() if tag not in ("v", "p", "sp", "rua") or value in _POLICIES}
    addresses = [word.strip() for word in tags.get("rua", "").split(",") if word.strip()]
    if addresses:
        kept["rua"] = ",".join(word if word.startswith("mailto:") else f"mailto:{word}" for word in addresses)
    return "; ".join(["v=DMARC1", f"p={kept.pop('p', 'none')}", *(f"{tag}={value}" for tag, value in kept.items())])


def _unaligned(setup: Setup, tags: dict[str, str]) -> Line | None:
    """Return a line if what we sign as is another domain than the sender's (RFC 7489 3.1).

    Our envelope's domain is the sender's always, so SPF is aligned; but it ends where a mail is forwarded.
    """
    if setup.key is None or aligned(setup.domain, setup.key.domain, strict=tags.get("adkim", "r") == "s"):
        return None
    says = f"Mails from {setup.domain} are signed as {setup.key.domain}, so DKIM doesn't count for DMARC"
    mend = f"set BALLOTPRESS_DKIM_DOMAIN to {setup.domain}, and publish the key there"
    return wrong("dmarc", says, mend, Record(f"{setup.key.selector}._domainkey.{setup.domain}", "TXT", setup.key.record))


def aligned(sender: str, other: str, *, strict: bool) -> bool:
    """Return whether another domain speaks for a sender's: the same, or one of the same organisation."""
    if strict:
        return sender.lower() == other.lower()
    return organisation(sender) == organisation(other)


async def _reports(dns: LooksUp, place: str, tags: dict[str, str]) -> str:
    """Return who gets the reports, and who would but may not (RFC 7489 7.1)."""
    addresses = [
        word.strip().removeprefix("mailto:").partition("!")[0] for word in tags.get("rua", "").split(",") if word.strip()
    ]
    if not addresses:
        return "nobody gets reports: add rua=mailto:ADDRESS to see who sends in your name"
    for address in addresses:
        other = address.rpartition("@")[2]
        if organisation(other) != organisation(place):
            found = await dns.look_up(f"{place}._report._dmarc.{other}", "TXT")
            if found.state in ("no_name", "no_data"):
                return f"{other} gets no reports until it publishes {place}._report._dmarc.{other} TXT v=DMARC1"
    return f"{' and '.join(addresses)} gets reports"


def _asks(policy: str) -> str:
    return {"none": "let pass", "quarantine": "put to junk", "reject": "refuse"}[policy]


def _at(place: str, value: str) -> Record:
    return Record(f"_dmarc.{place}", "TXT", value)


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";") if part.strip())
    return {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
