"""DKIM (RFC 6376): whether the key that signs is published, and an issue that it signed verifies by another's library."""

import asyncio
import re
from typing import Final

import dkim  # type: ignore[import-untyped]

from services.mail_check.dns import Answer, LooksUp
from services.mail_check.lines import Line, Record, right, unknown, wrong
from services.mail_check.setup import ASK_AGAIN, DkimKey, Setup, Specimen

SHORT_BITS: Final = 2048
"""Google signs with keys of this length and asks senders for it; shorter ones of 1024 bits are still taken."""

_SPACES: Final = re.compile(r"\s+")
_TEST_IT: Final = (
    "if your relay signs, let `ballotpress digest send --to YOUR-ADDRESS` send you an issue, and look in what arrives for"
    " `dkim=pass` under Authentication-Results, with both List-Unsubscribe headers in the signature's h=; if it doesn't, make a"
    " key and set BALLOTPRESS_DKIM_DOMAIN, BALLOTPRESS_DKIM_SELECTOR and BALLOTPRESS_DKIM_KEY_FILE"
)


async def check(setup: Setup, dns: LooksUp) -> Line:
    """Return whether the mails of this site are signed so that others can verify it."""
    if setup.broken_key is not None:
        return wrong(
            "dkim", setup.broken_key, "name another file in BALLOTPRESS_DKIM_KEY_FILE: `openssl genrsa 2048` makes one"
        )
    if setup.key is None:
        return unknown("dkim", "This site doesn't sign its mails, and whether the relay does can't be seen from here", _TEST_IT)
    found = await dns.look_up(setup.key.name, "TXT")
    if found.state == "unknown":
        return unknown("dkim", f"The key at {setup.key.name} can't be looked up: {found.why}", ASK_AGAIN)
    publish = Record(setup.key.name, "TXT", setup.key.record)
    if fault := _fault(setup.key, found):
        return wrong("dkim", *fault, publish)
    if setup.specimen is None:
        return unknown("dkim", f"{setup.key.name} has our key, but no issue could be written: {setup.no_specimen}", _READ_LOG)
    if not await asyncio.to_thread(_verifies, setup.specimen, setup.key.name, found.records[0]):
        says = f"{setup.key.name} has our key, but an issue that it signed doesn't verify"
        return wrong("dkim", says, "publish the record as it is here, and nothing beside it", publish)
    length = "" if setup.key.bits >= SHORT_BITS else f"; {SHORT_BITS} bits are better than {setup.key.bits}"
    return right("dkim", f"An issue signed by {setup.key.name} verifies{length}")


_READ_LOG: Final = "mend that, and run this again"


def _fault(key: DkimKey, found: Answer) -> tuple[str, str] | None:
    """Return what is wrong with the published record, and what to do; None if it is our key's."""
    if not found.records:
        what = "doesn't exist" if found.state == "no_name" else "has no text record"
        return f"{key.name} {what}, so no signature of ours can be verified", "publish our key there"
    if len(found.records) > 1:
        return f"{key.name} has {len(found.records)} text records, of which servers take any", "leave this one alone there"
    tags = _tags(found.records[0])
    if tags is None or tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return f"{key.name} has no key, but: {found.records[0][:80]}", "publish our key in its place"
    if not tags["p"]:
        return f"The key at {key.name} is revoked: its p= is empty", "publish our key again, or sign with a new one"
    if tags["p"] != _tags(key.record)["p"]:  # type: ignore[index]
        return f"{key.name} has another key than the one that signs", "publish our key, or name the key's own file and selector"
    return _narrowed(key, tags)


def _narrowed(key: DkimKey, tags: dict[str, str]) -> tuple[str, str] | None:
    """Return what keeps a record with our key from being taken for our mails (RFC 6376 3.6.1)."""
    if tags.get("k", "rsa").lower() != "rsa":
        return f"{key.name} says that our RSA key is of the kind {tags['k']}", "publish it as it is here"
    if "h" in tags and "sha256" not in tags["h"].split(":"):
        return f"{key.name} doesn't let the key sign with SHA-256 (h={tags['h']})", "leave out h="
    if "s" in tags and not {"*", "email"} & set(tags["s"].split(":")):
        return f"{key.name} doesn't let the key sign mail (s={tags['s']})", "leave out s="
    if "y" in tags.get("t", "").split(":"):
        return f"{key.name} is marked as a test (t=y), so servers treat our mails as unsigned", "leave out t="
    return None


def _tags(record: str) -> dict[str, str] | None:
    """Return the tags of a record without their spaces; None if it has none."""
    pairs = [part.partition("=") for part in record.split(";") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        return None
    return {name.strip(): _SPACES.sub("", value) for name, _, value in pairs}


def _verifies(specimen: Specimen, name: str, record: str) -> bool:
    """Return whether a library that isn't ours verifies the signature by this record."""

    def found(asked: bytes, timeout: float = 5) -> bytes | None:
        return record.encode() if asked.decode().rstrip(".") == name else None

    try:
        return bool(dkim.verify(specimen.message, dnsfunc=found))
    except dkim.DKIMException:
        return False
