"""Operators' pages while a view has halted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from projections.registry import PROJECTIONS
from projections.runner import follow_log
from services.clock import now
from services.settings import OperatorToken
from services.status.views import read_views
from tests.support.processes import PATIENCE
from tests.support.runners import APPEND_UNKNOWN
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

EDITOR = OperatorToken(
    name="editor", scopes=frozenset({"read", "voters", "quarantine"}), token="token-of-an-editor-of-the-tests"
)
READER = OperatorToken(name="reader", scopes=frozenset({"read", "voters"}), token="token-of-a-reader-of-the-tests")


@pytest.fixture
async def http(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of an operator who has signed in."""
    given = settings(dsn, valkey_url, operator_tokens=(EDITOR, READER))
    cookie = await session_cookie(given, EDITOR)
    async with client(given) as made:
        made.headers.update({"cookie": cookie, "sec-fetch-site": "same-origin", "accept": "text/html"})
        yield made


@pytest.fixture
async def halted(dsn: str, connection: Any) -> AsyncIterator[int]:
    """The position of an event that no view can take; all have halted there, and their projector runs on."""
    position: int = await connection.fetchval(APPEND_UNKNOWN)
    projector = asyncio.create_task(follow_log(dsn, now))
    await _until(connection, len(PROJECTIONS))
    yield position
    projector.cancel()
    await asyncio.wait([projector])


async def _until(connection: Any, halts: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while sum(view.halt is not None for view in await read_views(connection)) != halts:
            await asyncio.sleep(0.05)


async def test_the_overview_says_what_is_wrong_and_what_to_do(http: httpx.AsyncClient, halted: int) -> None:
    """Each problem stands there in words: where a view has halted, and the command that lets it go on."""
    page = await http.get("/ops")
    assert page.status_code == 200
    assert f"<strong>cards halted at position {halted}:" in page.text
    assert f"<code>ballotpress quarantine drop {halted} --reason TEXT</code>" in page.text and "`" not in page.text
    assert "Problem(" not in page.text


async def test_a_halted_view_skips_an_event_once_an_operator_says_so(
    http: httpx.AsyncClient, halted: int, connection: Any
) -> None:
    """The quarantine lists each halt; its form lets every view halted at the position go on, and nothing elsewhere.

    The tree over the log stays halted, and the page says why; asked for it alone, the form is refused.
    """
    page = await http.get("/ops/quarantine")
    assert all(f"{projection.name} at position {halted}" in page.text for projection in PROJECTIONS)
    elsewhere = await http.post("/ops/quarantine", data={"position": str(halted + 1), "reason": "why"})
    assert elsewhere.status_code == 400
    dropped = await http.post("/ops/quarantine", data={"position": str(halted), "reason": "of a later release"})
    assert (dropped.status_code, dropped.headers["location"]) == (303, "/ops/quarantine?said=dropped")
    await _until(connection, 1)
    after = await http.get("/ops/quarantine?said=dropped")
    assert f"proof at position {halted}" in after.text and 'role="status"' in after.text
    assert "has a leaf for every event, so it can skip none" in after.text and "Skip this event" not in after.text
    refused = await http.post("/ops/quarantine", data={"position": str(halted), "reason": "of a later release"})
    assert refused.status_code == 409 and "skips no event" in refused.text


async def test_to_skip_an_event_takes_a_scope_of_its_own(
    http: httpx.AsyncClient, halted: int, dsn: str, valkey_url: str, connection: Any
) -> None:
    """Who may read sees the halts, and neither page nor API lets that operator skip one; the scope `quarantine` does."""
    cookie = await session_cookie(settings(dsn, valkey_url, operator_tokens=(EDITOR, READER)), READER)
    page = await http.get("/ops/quarantine", headers={"cookie": cookie})
    assert f"cards at position {halted}" in page.text and "Skip this event" not in page.text
    assert "takes the scope <code>quarantine</code>" in page.text
    form = {"position": str(halted), "reason": "why"}
    assert (await http.post("/ops/quarantine", data=form, headers={"cookie": cookie})).status_code == 403
    reader, editor = ({"authorization": f"Bearer {one.token}"} for one in (READER, EDITOR))
    listed = (await http.get("/v1/ops/quarantine", headers=reader)).json()["items"]
    assert {one["position"] for one in listed} == {halted} and len(listed) == len(PROJECTIONS)
    assert [one["view"] for one in listed if not one["can_skip"]] == ["proof"]
    path = f"/v1/ops/quarantine/{halted}/drop"
    assert (await http.post(path, json={"reason": "why"}, headers=reader)).status_code == 403
    assert (await http.post(path, json={"reason": "a\nb"}, headers=editor)).status_code == 400
    assert (await http.post(f"/v1/ops/quarantine/{halted + 1}/drop", json={"reason": "why"}, headers=editor)).status_code == 404
    done = await http.post(path, json={"reason": "of a later release"}, headers=editor)
    assert done.json()["position"] == halted and set(done.json()["views"]) == {one.name for one in PROJECTIONS} - {"proof"}
    await _until(connection, 1)
    again = await http.post(path, json={"reason": "of a later release"}, headers=editor)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/nothing-passed")


@pytest.mark.parametrize(
    ("voters", "said"),
    [
        (",", "The list of voters must be 1 to 1000 visitors&#39; ids."),
        ("not-an-id", "The list of voters holds what is no visitor&#39;s id: not-an-id."),
        ("<script>alert(1)</script>", "holds what is no visitor&#39;s id: &lt;script&gt;alert(1)&lt;/script&gt;."),
        ("A" * 22 + ", x", "holds what is no visitor&#39;s id: x."),
    ],
)
async def test_wrong_ids_of_voters_are_said_beside_the_form(http: httpx.AsyncClient, voters: str, said: str) -> None:
    """The form comes back as it was filled in, with a sentence about what is wrong, and nothing happens."""
    form = {"voters": f" {voters}", "reason": "One hand", "action": "reinstate", "step": "do"}
    page = await http.post("/ops/voters", data=form)
    assert (page.status_code, said in page.text) == (400, True)
    assert 'value="One hand"' in page.text and 'value="reinstate" required checked' in page.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/ops/log?before=x", 400), ("GET", "/ops/reviews", 403), ("POST", "/ops/quarantine", 400)],
)
async def test_refusals_stand_in_the_operators_frame(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """An operator who is refused keeps the operators' menu and name, and the way back to the overview."""
    page = await http.request(method, path, data={"position": "x", "reason": "why"} if method == "POST" else None)
    assert page.status_code == status
    assert 'href="/ops/voters"' in page.text and "Sign out" in page.text and "editor" in page.text
    assert 'href="/newsletter"' not in page.text


async def test_an_unknown_page_below_ops_tells_a_stranger_nothing(http: httpx.AsyncClient) -> None:
    """Nobody has been admitted there, so no name and no menu stands on it, just the way to the overview."""
    page = await http.get("/ops/no-such-page")
    assert (page.status_code, 'href="/ops"' in page.text) == (404, True)
    assert "editor" not in page.text and "/newsletter" not in page.text


async def test_the_overview_says_who_shows_badges(http: httpx.AsyncClient, connection: Any) -> None:
    """Hosts whose pages showed badges in the last days stand on the overview, those that show most first."""
    days = "insert into status.badge_hosts values (current_date, 'blog.example', 3), (current_date - 6, 'docs.example', 1200)"
    await connection.execute(f"{days}, (current_date - 60, 'long.ago.example', 9)")
    text = (await http.get("/ops")).text
    assert text.index("docs.example") < text.index("1,200 badges shown") < text.index("blog.example")
    assert "long.ago.example" not in text
