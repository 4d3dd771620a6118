"""Pages of other sites, siblings of ours among them: whatever cookies their requests carry, they change nothing here."""

from collections.abc import AsyncIterator
from itertools import cycle, product
from typing import Any

import httpx
import pytest

from services.clock import fresh_id
from services.settings import OperatorToken
from services.web.http.auth import VisitorTokens
from tests.support.routes import all_routes
from tests.support.settings import SECRET_KEY, settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

ADMITTED = "https://blog.example"
EDITOR = OperatorToken(name="editor", scopes=frozenset({"read", "voters", "moderate"}), token="token-of-an-editor-here")
PROVE_THEMSELVES = {"/v1/webhooks/mail/generic", "/v1/webhooks/mail/ses", "/newsletter/unsubscribe"}
"""Signed by their sender, or by the token of a mail alone (RFC 8058)."""
WRITES = [route for route in all_routes() if route.method != "GET" and route.path not in PROVE_THEMSELVES]
FOREIGN: tuple[dict[str, str], ...] = (
    {"sec-fetch-site": "same-site", "origin": "http://sibling.site.test"},
    {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "null"},
    {"origin": "http://sibling.site.test"},
    {"origin": "http://site.test.evil.example"},
    {"origin": "http://[evil"},
    {"origin": "null"},
)


@pytest.fixture
async def browser(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that holds a visitor's cookie and an operator's session."""
    given = settings(dsn, valkey_url, operator_tokens=(EDITOR,), cors_origins=(ADMITTED,))
    session = await session_cookie(given, EDITOR)
    async with client(given) as made:
        made.headers["cookie"] = f"ballotpress_visitor={VisitorTokens((SECRET_KEY,)).issue(fresh_id())}; {session}"
        made.headers["accept"] = "text/html"
        yield made


BODIES: tuple[dict[str, Any], ...] = ({"data": {"token": "x", "choice": "ship"}}, {"json": {"choice": "ship"}}, {})


async def test_no_write_is_taken_from_another_sites_page(browser: httpx.AsyncClient, connection: Any) -> None:
    """Every write is refused as foreign, as a form and as JSON, from a sibling site as well; nothing is appended."""
    assert len(WRITES) > 25
    for (route, headers), body in zip(product(WRITES, FOREIGN), cycle(BODIES), strict=False):
        answer = await browser.request(route.method, route.address(), headers=headers, **body)
        assert answer.status_code == 403, (route, headers, body, answer.text)
        assert "/problems/cross-origin" in answer.text or "Not from here" in answer.text, (route, headers, body)
        assert "set-cookie" not in answer.headers
    assert await connection.fetchval("select position from log.head") == 0


async def test_an_admitted_origin_and_a_program_may_write(browser: httpx.AsyncClient) -> None:
    """The widget on an admitted site, a page of ours, and a program that sends neither header get their visitor."""
    for headers in ({"sec-fetch-site": "cross-site", "origin": ADMITTED}, {"sec-fetch-site": "same-origin"}, {}):
        assert (await browser.post("/v1/visitors", headers=headers)).status_code == 200
