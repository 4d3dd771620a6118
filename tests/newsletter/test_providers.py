"""Whose mailbox an address is: known at once, never waited for, and never a reason to send elsewhere."""

import asyncio
from collections.abc import Sequence

import pytest

from services.mail_check.dns import Resolver
from services.newsletter import providers
from services.newsletter.providers import Providers, by_domain, by_exchanges, exchanges_from
from tests.support.nameserver import nameserver
from tests.support.runners import until


@pytest.mark.parametrize(
    "domain, provider",
    [
        ("gmail.com", "google"), ("googlemail.com", "google"), ("hotmail.co.uk", "microsoft"), ("outlook.com.br", "microsoft"),
        ("live.nl", "microsoft"), ("yahoo.co.jp", "yahoo"), ("aol.com", "yahoo"), ("icloud.com", "apple"),
        ("gmx.de", "united-internet"),
        ("example.com", None), ("live.example.com", None), ("yahoo.example", None), ("outlook", None), ("mygmail.com", None),
    ],
)  # fmt: skip
def test_a_providers_own_domains_are_known(domain: str, provider: str | None) -> None:
    """In every country; a domain that only sounds like one is its own."""
    assert by_domain(domain) == provider


@pytest.mark.parametrize(
    "hosts, provider",
    [
        (["aspmx.l.google.com.", "ALT1.ASPMX.L.GOOGLE.COM"], "google"),
        (["example-com.mail.protection.outlook.com"], "microsoft"),
        (["example-com.p-v1.mx.microsoft"], "microsoft"),
        (["mx1.example.com"], None),
        (["aspmx.l.google.com", "mx1.example.com"], None),
        (["notgoogle.com"], None),
        ([], None),
    ],
)
def test_mx_hosts_name_the_provider(hosts: Sequence[str], provider: str | None) -> None:
    """All of them must be its."""
    assert by_exchanges(hosts) == provider


async def test_nobody_waits_for_a_look_up() -> None:
    """A resolver that hangs changes nothing; once it answers, the domain counts as its provider's, and isn't asked again."""
    answers, asked = asyncio.Event(), []

    async def look_up(domain: str) -> Sequence[str]:
        asked.append(domain)
        await answers.wait()
        return ["aspmx.l.google.com"]

    known = Providers(look_up)
    running = asyncio.create_task(known.run())
    assert known.of("Firm.example.") == "firm.example"

    async def is_asked() -> bool:
        return asked == ["firm.example"]

    await until(is_asked)
    assert known.of("firm.example") == "firm.example"
    answers.set()

    async def is_known() -> bool:
        return known.of("firm.example") == "google"

    await until(is_known)
    running.cancel()
    assert set(asked) == {"firm.example"}


async def test_a_resolver_that_is_away_or_lies_leaves_the_domain_as_it_is() -> None:
    """An error, nonsense or no answer names nobody, and later domains are still looked up."""

    async def look_up(domain: str) -> Sequence[str]:
        if domain == "away.example":
            raise OSError("no route")
        return {"lies.example": ["\x00..", ""], "none.example": []}.get(domain, ["mx.yandex.net"])

    known = Providers(look_up)
    running = asyncio.create_task(known.run())
    domains = ("away.example", "lies.example", "none.example", "last.example")
    [known.of(domain) for domain in domains]

    async def is_known() -> bool:
        return known.of("last.example") == "yandex"

    await until(is_known)
    running.cancel()
    assert [known.of(domain) for domain in domains[:3]] == list(domains[:3])


async def test_dns_names_the_provider_and_its_silence_nobody() -> None:
    """Records of a real server are read; where it is silent or gives no MX a domain is its own."""
    with nameserver() as server:
        server.zone[("firm.example", "MX")] = ["10 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com."]
        server.lies["silent.example"] = lambda query, by_tcp: None
        known = Providers(exchanges_from(Resolver([server.server], seconds=0.2)))
        running = asyncio.create_task(known.run())
        domains = ("silent.example", "none.example", "firm.example")
        [known.of(domain) for domain in domains]

        async def is_known() -> bool:
            return known.of("firm.example") == "google"

        await until(is_known)
        running.cancel()
        assert [known.of(domain) for domain in domains[:2]] == list(domains[:2])


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a million domains neither queues nor keeps more than its bounds."""
    monkeypatch.setattr(providers, "MOST_KNOWN", 5)
    monkeypatch.setattr(providers, "LONGEST_QUEUE", 20)
    monkeypatch.setattr(providers, "BETWEEN_SECONDS", 0)
    asked = []

    async def look_up(domain: str) -> Sequence[str]:
        asked.append(domain)
        return ["mx.mail.ru"]

    known = Providers(look_up)
    assert [known.of(f"d{n}.example") for n in range(1000)] == [f"d{n}.example" for n in range(1000)]
    running = asyncio.create_task(known.run())

    async def all_asked() -> bool:
        return len(asked) == 20

    await until(all_asked)
    await asyncio.sleep(0)
    running.cancel()
    assert len(known._known) <= 6
