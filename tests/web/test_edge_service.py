"""What the API says of itself: health, metrics, and its own description, which needs no network."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import httpx
import msgspec
import pytest

from services.clock import now
from services.newsletter.periods import RELEASE
from services.settings import Newsletter
from services.web.app import ROUTES
from services.web.http import checks
from services.web.http.answers import Versioned
from services.web.http.checks import Check, Checks, ask_all
from services.web.http.endpoints import PATH_PATTERNS
from services.web.http.networks import Networks
from services.web.http.openapi import implied
from tests.support import servers
from tests.support.processes import PATIENCE
from tests.support.runners import catch_up_all, until
from tests.support.settings import settings
from tests.support.sites import client, opened

PAGE = Versioned(b'{"a":1}')


@pytest.fixture
async def site(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The API."""
    async with client(settings(dsn, valkey_url)) as made:
        yield made


async def test_the_process_runs_whatever_is_gone(valkey_url: str) -> None:
    """Without a database the process lives, isn't ready, and says so as a problem that tells when to ask again."""
    async with client(settings("postgresql://nobody@/none?host=/nonexistent", valkey_url)) as made:
        assert (await made.get("/health/live")).json() == {"status": "ok"}
        answer = await made.get("/health/ready")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "database" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1


async def test_without_valkey_the_process_is_degraded(dsn: str) -> None:
    """With Valkey gone the limits' check is a reason, and no reason to be taken out of service."""
    with servers.valkey() as (url, process):
        async with opened(settings(dsn, url)) as app:
            site = app.state.site
            os.kill(process.pid, signal.SIGKILL)
            process.wait(5)
            await site.limit_new_visitor(site.networks.of("192.0.2.7"))
            vital, other = await ask_all([site.limits.check()])
            assert vital == []
            assert "counts by itself" in other[0]


async def test_a_check_that_hangs_or_fails_is_a_reason() -> None:
    """A check has a second; what it throws is a reason too, and vital ones are kept apart."""

    async def hang() -> str | None:
        await asyncio.sleep(3600)
        return None

    async def fail() -> str | None:
        raise ValueError("inner words")

    vital, other = await ask_all([Check("slow", True, hang), Check("broken", False, fail)])
    assert vital == ["slow: no answer within 1 s"]
    assert other == ["broken: ValueError"]


async def test_one_look_serves_all_who_ask_for_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, and whoever hangs up, a check is asked once in a second; then again."""
    monkeypatch.setattr(checks, "FRESH_SECONDS", PATIENCE)
    asked = 0

    async def ask() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)
        return f"{asked}"

    made = Checks()
    made.add(Check("counted", False, ask))
    impatient, *patient = (asyncio.ensure_future(made.look()) for _ in range(50))
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert [look.other for look in await asyncio.gather(*patient)] == [["counted: 1"]] * 49
    assert (await made.look()).other == ["counted: 1"]
    monkeypatch.setattr(checks, "FRESH_SECONDS", 0)
    assert (await made.look()).other == ["counted: 2"]


async def test_metrics_count_by_route(site: httpx.AsyncClient) -> None:
    """Requests are counted by method, template and class of status; made-up paths and methods add no labels."""
    for path in ("/v1/tools/never-there", "/a", "/b"):
        await site.get(path)
    await site.request("BREW", "/a")
    text = (await site.get("/metrics")).text
    assert 'ballotpress_http_requests_total{method="GET",route="/v1/tools/{tool}",status="4xx"} 1.0' in text
    assert 'ballotpress_http_requests_total{method="GET",route="unmatched",status="4xx"} 2.0' in text
    assert 'ballotpress_http_requests_total{method="_OTHER",route="unmatched",status="4xx"} 1.0' in text
    assert 'ballotpress_http_request_seconds_bucket{le="+Inf",method="GET",route="unmatched",status="4xx"} 2.0' in text
    assert "process_resident_memory_bytes" in text


async def test_readiness_says_that_the_newsletter_is_held(dsn: str, site: httpx.AsyncClient, connection: Any) -> None:
    """Who asks for readiness alone learns of it, and what to do; pages are served all the same."""
    await connection.execute("update newsletter.schedule set held = 'mails may have gone out', paused_at = now()")
    await catch_up_all(dsn)

    async def is_said() -> bool:
        answer = await site.get("/health/ready")
        said = f"newsletter: The newsletter is held: mails may have gone out: {RELEASE}"
        return answer.status_code == 200 and said in answer.json()["reasons"]

    await until(is_said)


async def test_metrics_alarm_over_a_very_late_issue(dsn: str, valkey_url: str, connection: Any) -> None:
    """An edition more than a day late is 1, the other 0; before it was due, both are 0."""
    at = now()
    two_days_ago = Newsletter(day=(at.weekday() - 2) % 7, hour=at.hour)
    async with client(settings(dsn, valkey_url, newsletter=two_days_ago)) as site:
        assert 'ballotpress_issue_late{edition="weekly"} 0.0' in (await site.get("/metrics")).text
        await connection.execute("update newsletter.schedule set since = now() - interval '30 days'")
        text = (await site.get("/metrics")).text
        assert 'ballotpress_issue_late{edition="weekly"} 1.0' in text and 'ballotpress_issue_late{edition="monthly"}' in text


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [
        (None, 200),
        ('W/"%s"', 304),
        ('"%s"', 304),
        ("*", 304),
        ('"other", W/"%s" , "more"', 304),
        ('W/"%s0"', 200),
        ("%s", 200),
        ("", 200),
    ],
)
def test_a_known_etag_is_answered_304(if_none_match: str | None, status: int) -> None:
    """Tags are compared weakly, alone or in a list; a 304 carries what a cache needs and nothing else."""
    tag = PAGE.etag.decode().removeprefix('W/"').removesuffix('"')
    answer = PAGE.answer(None if if_none_match is None else if_none_match.replace("%s", tag).encode())
    assert answer.status == status
    assert answer.body == (b'{"a":1}' if status == 200 else b"")


async def test_every_answer_says_who_may_keep_and_embed_it(site: httpx.AsyncClient) -> None:
    """Refusals, health and metrics are kept by nobody; pages are isolated; what other sites embed stays open to them."""
    for method, path in (("GET", "/health/live"), ("GET", "/metrics"), ("GET", "/v1/none"), ("PUT", "/v1/tools/a/vote")):
        answer = await site.request(method, path)
        (cache,) = answer.headers.get_list("cache-control")
        assert "no-store" in cache or "private" in cache, path
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    page = await site.get("/newsletter", headers={"accept": "text/html"})
    assert page.headers["cross-origin-opener-policy"] == page.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in page.headers["permissions-policy"]
    for path in ("/embed.js", "/v1/categories"):
        embedded = await site.get(path)
        assert embedded.status_code == 200 and "cross-origin-resource-policy" not in embedded.headers
        assert "public" in embedded.headers["cache-control"]


async def test_the_document_is_served_with_an_etag(site: httpx.AsyncClient) -> None:
    """The OpenAPI document can be asked for conditionally, over HTTP."""
    first = await site.get("/schema/openapi.json")
    again = await site.get("/schema/openapi.json", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert "content-length" not in again.headers
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]


async def test_the_page_works_offline(site: httpx.AsyncClient) -> None:
    """The page names this site's own files only, each is served, and its policy lets nothing else in."""
    page = await site.get("/schema")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = set(re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text)) - {"/"}  # the way back to the site
    assert "/schema/openapi.json" in named
    for path in named:
        assert path.startswith(("/schema/", "data:"))
        assert path.startswith("data:") or (await site.get(path)).status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


async def test_the_document_tells_what_is_checked(site: httpx.AsyncClient) -> None:
    """Every route is in the document with its input, its answer, and the problems it can have."""
    document = (await site.get("/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for route in ROUTES:
        operation = route.opt["operation"]
        described = document["paths"][operation.path][operation.method.lower()]
        for status in operation.statuses:
            assert str(status) in described["responses"]
        assert ("requestBody" in described) == (operation.has_body or operation.reads is not None)
        if operation.by.kind != "anyone":
            assert described["security"]
            assert "401" in described["responses"]
        for parameter in described["parameters"]:
            if parameter["in"] == "path":
                assert parameter["schema"]["pattern"] == PATH_PATTERNS[parameter["name"]]
        problems = [answer for status, answer in described["responses"].items() if int(status) >= 400]
        assert all("application/problem+json" in answer["content"] for answer in problems)


def test_an_endpoint_declares_no_problem_that_follows_by_itself() -> None:
    """What caller, path and body imply stands in the document without being listed, so a list says what the rules refuse."""
    operations = [route.opt["operation"] for route in ROUTES]
    assert [operation.path for operation in operations if implied(operation).intersection(operation.problems)] == []


async def test_every_reference_of_the_document_leads_somewhere(site: httpx.AsyncClient) -> None:
    """No schema names one that isn't there."""
    document = (await site.get("/schema/openapi.json")).json()
    references = set(re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', msgspec.json.encode(document).decode()))
    assert references <= set(document["components"]["schemas"])


def test_every_body_refuses_what_it_does_not_know() -> None:
    """No Struct that bodies are read into, however deep, lets an unknown field pass."""
    bodies = [route.opt["operation"].takes for route in ROUTES if route.opt["operation"].has_body]
    _, schemas = msgspec.json.schema_components(bodies)
    objects = {name: schema for name, schema in schemas.items() if schema.get("type") == "object"}
    assert objects
    assert [name for name, schema in objects.items() if schema.get("additionalProperties") is not False] == []


PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("192.0.2.77", [], "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.77", [], "192.0.2.0/24"),
        ("192.0.2.77", [b"198.51.100.1"], "192.0.2.0/24"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.0/24"),
        ("10.0.0.1", [b"203.0.113.9, 198.51.100.1"], "198.51.100.0/24"),
        ("10.0.0.1", [b"203.0.113.9", b"198.51.100.1, 10.0.0.2"], "198.51.100.0/24"),
        ("fd00::1", [b"2001:db8:9::1"], "2001:db8:9::/64"),
        ("10.0.0.1", [b"[2001:db8:9::1]:4711"], "2001:db8:9::/64"),
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.0/24"),
        ("10.0.0.1", [b"198.51.100.1, junk"], "10.0.0.0/24"),
        ("10.0.0.1", [b"\xff"], "10.0.0.0/24"),
        ("10.0.0.1", [b"10.0.0.2, 10.0.0.3"], "10.0.0.0/24"),
        ("10.0.0.1", [], "10.0.0.0/24"),
        ("", [], "local"),
    ],
)
def test_the_network_is_seen_through_trusted_proxies_only(peer: str, forwarded: list[bytes], network: str) -> None:
    """X-Forwarded-For counts as far as proxies we trust wrote it; nobody can choose the network they count as."""
    networks: Any = Networks(PROXIES)
    assert networks.of(peer, forwarded)[0].name == network
