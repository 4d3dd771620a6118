"""The operators' pages of suspected votes, by their forms."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from events.log.committer import Committer
from services.settings import OperatorToken
from services.web.filters import odds
from tests.support.cohorts import cast, out, suspect
from tests.support.log import add_tools
from tests.support.runners import catch_up_all
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

EDITOR = OperatorToken(name="editor", scopes=frozenset({"voters"}), token="token-of-an-editor-of-the-tests")


@pytest.mark.parametrize(
    "p, words",
    [(0.04, "1 in 25"), (1.23e-7, "1 in 8,100,000"), (1e-12, "less than 1 in a billion"), (0.0, "less than 1 in a billion")],
)
def test_chance_is_told_as_one_in_so_many(p: float, words: str) -> None:
    """An operator reads how rarely chance does it, not a power of ten; no chance at all divides nothing by zero."""
    assert odds(p) == words


@pytest.fixture
async def http(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of an operator who has signed in."""
    given = settings(dsn, valkey_url, operator_tokens=(EDITOR,))
    cookie = await session_cookie(given, EDITOR)
    async with client(given) as made:
        made.headers.update({"cookie": cookie, "sec-fetch-site": "same-origin", "accept": "text/html"})
        yield made


async def test_a_form_decides_and_says_what_came_of_it(
    http: httpx.AsyncClient, dsn: str, committer: Committer, connection: Any
) -> None:
    """A void leads back to the cohort. A reason that is none, and a decision that stands in the way, are said there."""
    tool = (await add_tools(committer, "a"))["a"]
    voters = await cast(committer, tool, "ship", 5)
    await catch_up_all(dsn)
    cohort = await suspect(connection, tool)
    path = f"/ops/integrity/{cohort.id}"
    assert "<h1>Votes that look bought</h1>" in (await http.get("/ops/integrity")).text
    form = {"decision": "void", "reason": "one hand", "revision": "1"}
    blank = await http.post(f"{path}/decision", data=form | {"reason": "one\u202ehand"})
    assert (blank.status_code, "The reason can&#39;t be taken" in blank.text) == (400, True)
    done = await http.post(f"{path}/decision", data=form)
    assert done.status_code == 303 and done.headers["location"].startswith(f"{path}?after="), done.text
    assert await out(connection, voters) == set(voters)
    await catch_up_all(dsn)
    assert "Voided. The correction is public." in (await http.get(done.headers["location"])).text
    held = await http.post(f"{path}/decision", data={"decision": "dismiss", "reason": "x"})
    assert (held.status_code, "It is voided: undo that first." in held.text) == (409, True)
    stale = await http.post(f"{path}/decision", data={"decision": "undo", "reason": "x", "revision": "1"})
    assert stale.headers["location"] == f"{path}?said=changed"
