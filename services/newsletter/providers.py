"""Name the provider that keeps a reader's mailbox: it decides for all its domains at once whether our mail is taken.

The name is known from the domain, else from the domain's MX hosts, else it is the domain. Nobody waits for a look-up: until its
answer is there, and where it fails or lies, a domain is a provider of its own, and no mail goes elsewhere for it.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from services.mail_check.dns import LooksUp

RELAY: Final = ""
"""The name that stands for the relay itself, and so for everybody."""
LONGEST_QUEUE: Final = 1000
MOST_KNOWN: Final = 20_000
KNOWN_SECONDS: Final = 24 * 3600.0
UNKNOWN_SECONDS: Final = 3600.0
"""Seconds until a domain whose MX hosts could not be read is looked up again."""
BETWEEN_SECONDS: Final = 0.05
"""Seconds between two look-ups, so that a large list floods no resolver."""

LookUp = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the MX hosts of a domain; none if it has none. It may raise, and takes the time that it takes."""

# fmt: off
_DOMAINS: Final = {
    "google": ("gmail.com", "googlemail.com", "google.com"),
    "microsoft": ("outlook", "hotmail", "live", "msn.com", "windowslive.com", "passport.com", "microsoft.com"),
    "yahoo": ("yahoo", "ymail.com", "rocketmail.com", "aol", "aim.com", "myyahoo.com", "verizon.net", "att.net",
              "sbcglobal.net", "bellsouth.net", "cox.net", "frontier.com"),
    "apple": ("icloud.com", "me.com", "mac.com"),
    "united-internet": ("gmx", "web.de", "mail.com", "1und1.de", "caramail.com"),
    "proton": ("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
    "fastmail": ("fastmail", "messagingengine.com"),
    "zoho": ("zoho", "zohomail.com", "zohomail.eu"),
    "yandex": ("yandex", "ya.ru"),
    "mail.ru": ("mail.ru", "bk.ru", "list.ru", "inbox.ru", "internet.ru"),
    "tencent": ("qq.com", "foxmail.com", "vip.qq.com"),
    "netease": ("163.com", "126.com", "yeah.net"),
    "comcast": ("comcast.net",),
    "orange": ("orange.fr", "wanadoo.fr"),
    "telekom": ("t-online.de", "magenta.de"),
    "libero": ("libero.it", "virgilio.it", "inwind.it", "iol.it"),
    "seznam": ("seznam.cz", "email.cz", "post.cz"),
}
"""The domains of mailboxes that anybody can have. A name without a dot has that name in every country: gmx.de, gmx.net."""

_EXCHANGES: Final = {
    "google.com": "google", "googlemail.com": "google",
    "protection.outlook.com": "microsoft", "outlook.com": "microsoft", "hotmail.com": "microsoft", "mx.microsoft": "microsoft",
    "yahoodns.net": "yahoo",
    "icloud.com": "apple",
    "gmx.net": "united-internet", "kundenserver.de": "united-internet", "1and1.com": "united-internet",
    "ionos.com": "united-internet",
    "protonmail.ch": "proton",
    "messagingengine.com": "fastmail",
    "zoho.com": "zoho", "zoho.eu": "zoho", "zohomail.com": "zoho",
    "yandex.net": "yandex", "yandex.ru": "yandex",
    "mail.ru": "mail.ru",
    "qq.com": "tencent", "exmail.qq.com": "tencent",
    "netease.com": "netease", "163.com": "netease",
    "comcast.net": "comcast",
    "t-online.de": "telekom",
    "seznam.cz": "seznam",
    "mimecast.com": "mimecast", "mimecast.co.za": "mimecast",
    "pphosted.com": "proofpoint", "ppe-hosted.com": "proofpoint", "gpphosted.com": "proofpoint",
    "barracudanetworks.com": "barracuda",
    "iphmx.com": "cisco",
    "messagelabs.com": "symantec",
    "emailsrvr.com": "rackspace",
    "secureserver.net": "godaddy",
    "ovh.net": "ovh",
    "mail.gandi.net": "gandi",
    "improvmx.com": "improvmx", "forwardemail.net": "forwardemail", "mx.cloudflare.net": "cloudflare",
    "amazonaws.com": "amazon", "awsapps.com": "amazon",
    "registrar-servers.com": "namecheap", "privateemail.com": "namecheap",
    "hostinger.com": "hostinger", "titan.email": "titan", "migadu.com": "migadu", "mailbox.org": "mailbox.org",
}
"""The ends of the names of MX hosts, and whose they are."""
# fmt: on

_COUNTRY: Final = re.compile(r"com|net|org|(?:com?\.)?[a-z]{2}")
_BY_DOMAIN: Final = {domain: name for name, domains in _DOMAINS.items() for domain in domains}

logger = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True):
    """What was looked up of a domain, and until when that counts."""

    provider: str | None
    until: float


class Providers:
    """The providers as one process knows them."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._queued: OrderedDict[str, None] = OrderedDict()
        self._asked = asyncio.Event()

    def of(self, domain: str) -> str:
        """Return the name of the provider that keeps a domain's mailboxes; at once, and perhaps better the next time."""
        domain = domain.lower().rstrip(".")
        if (named := by_domain(domain)) is not None:
            return named
        known = self._known.get(domain)
        if self._look_up is not None and (known is None or known.until < asyncio.get_running_loop().time()):
            self._ask(domain)
        return domain if known is None else known.provider or domain

    async def run(self) -> None:
        """Look the domains up that were asked for, one at a time, until cancelled."""
        while self._look_up is not None:
            await self._asked.wait()
            while self._queued:
                domain, _ = self._queued.popitem(last=False)
                self._keep(domain, await self._read(self._look_up, domain))
                await asyncio.sleep(BETWEEN_SECONDS)
            self._asked.clear()

    def _ask(self, domain: str) -> None:
        if len(self._queued) < LONGEST_QUEUE:
            self._queued[domain] = None
            self._asked.set()

    async def _read(self, look_up: LookUp, domain: str) -> _Known:
        now = asyncio.get_running_loop().time
        try:
            return _Known(by_exchanges(await look_up(domain)), now() + KNOWN_SECONDS)
        except Exception as error:  # whatever a resolver does, mail goes out
            logger.debug("a domain's MX hosts could not be read: %s", type(error).__name__)
            before = self._known.get(domain)
            return _Known(None if before is None else before.provider, now() + UNKNOWN_SECONDS)

    def _keep(self, domain: str, known: _Known) -> None:
        self._known[domain] = known
        self._known.move_to_end(domain)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def exchanges_from(dns: "LooksUp") -> LookUp:
    """Return a look-up of MX hosts by DNS. It raises OSError where nobody can be believed."""

    async def look_up(domain: str) -> Sequence[str]:
        answer = await dns.look_up(domain, "MX")
        if answer.state == "unknown":
            raise OSError(answer.why)
        return answer.records

    return look_up


def by_domain(domain: str) -> str | None:
    """Return the provider whose own domain this is; None if it is nobody's that we know."""
    first, _, rest = domain.partition(".")
    return _BY_DOMAIN.get(first if _COUNTRY.fullmatch(rest) and first in _BY_DOMAIN else domain) if rest else None


def by_exchanges(hosts: Iterable[str]) -> str | None:
    """Return the provider that all MX hosts belong to; None if they are of several, or of one that isn't known."""
    found = {_owner(host.lower().rstrip(".")) for host in hosts}
    return found.pop() if len(found) == 1 else None


def _owner(host: str) -> str | None:
    labels = host.split(".")
    ends = (".".join(labels[place:]) for place in range(len(labels)))
    return next((_EXCHANGES[end] for end in ends if end in _EXCHANGES), None)
