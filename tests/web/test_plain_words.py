"""What readers read when something is refused: sentences, and nothing that only programs know."""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlencode

import httpx
import pytest

from events.log.committer import Committer
from projections.tally import community
from services.clock import fresh_id
from services.web.filters import flips
from services.web.http.auth import VisitorTokens, visitor_cookie
from tests.support.log import add_tools
from tests.support.runners import catch_up_all
from tests.support.settings import SECRET_KEY, settings
from tests.support.sites import client

TEXT = "A text that is long enough to be a review."
FORM = {"verdict": "ship", "body": TEXT}
HIDDEN = "\u200b"


@pytest.fixture
async def http(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of a reader who has our cookie."""
    given = settings(dsn, valkey_url)
    cookie = visitor_cookie(VisitorTokens((SECRET_KEY,)).issue(fresh_id()), given.base_url)[1].partition(b";")[0]
    async with client(given) as made:
        made.headers.update({"cookie": cookie.decode(), "sec-fetch-site": "same-origin", "accept": "text/html"})
        yield made


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("/tools/a/reviews", {**FORM, "body": "short"}, "The review must have 20 to 4000 characters"),
        ("/tools/a/reviews", {**FORM, "body": TEXT + HIDDEN}, "The review has a character that can&#39;t be seen, U+200B"),
        ("/tools/a/reviews", {"body": TEXT}, "Choose a verdict: Ship or Skip."),
        ("/tools/a/reviews", {**FORM, "score": "101"}, "The score is a whole number from 0 to 100"),
        ("/tools/a/reviews", {**FORM, "score": "many"}, "The score is a whole number from 0 to 100"),
        ("/tools/a/reviews", {**FORM, "display_name": "x" * 61}, "The name to show is one line of up to 60 characters"),
        ("/tools/a/vote", {"choice": "maybe", "back": "/"}, "Press one of the buttons: Ship, Skip or Take back."),
        ("/tools/a/vote", {}, "Something in the form can&#39;t be taken."),
        ("/bookmarks/a", {"keep": "perhaps", "back": "/"}, "Press the button Bookmark."),
    ],
)
async def test_a_form_is_refused_in_sentences(http: httpx.AsyncClient, path: str, form: Mapping[str, str], said: str) -> None:
    """Each fault is a sentence that says what the field takes."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    page = await http.post(path, content=urlencode(form), headers=headers)
    assert page.status_code == 400
    assert said in page.text
    assert speaks_plainly(page.text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/comparisons?cursor=x", 400),
        ("/comparisons?limit=many", 400),
        ("/tools?sort=best", 400),
        ("/tools/a?said=nonsense", 400),
        ("/tools/a?after=-1", 400),
        ("/tools?limit=1&limit=2", 400),
        ("/tools/no-such-tool", 404),
        ("/compare/a-vs-b", 404),
        ("/reviewers/nobody", 404),
        ("/issues/999", 404),
        ("/newsletter/preferences", 400),
        ("/newsletter/confirm?token=x", 410),
        ("/nothing", 404),
    ],
)
async def test_an_address_is_refused_in_sentences(http: httpx.AsyncClient, path: str, status: int) -> None:
    """Whatever is wrong with an address, the page says so without the names of parameters."""
    page = await http.get(path)
    assert page.status_code == status
    assert speaks_plainly(page.text)


def speaks_plainly(html: str) -> bool:
    """Tell whether a page has none of the words that are for programs."""
    main = html.partition("<main")[2].partition("</main>")[0]
    assert "<h1>" in main
    words = ("`", "Expected", "Object missing", "slug", "cursor", "$.", "Invalid enum", "token", "/v1/", "display_name", "JSON")
    return not [word for word in words if word in main.replace("?token=", "")]


async def test_a_comparison_names_the_tool_that_is_not_there(http: httpx.AsyncClient, committer: Committer, dsn: str) -> None:
    """The reader learns which of the two it is, and nothing that is no slug is said again."""
    await add_tools(committer, "here", "there")
    await catch_up_all(dsn)
    assert "There is no tool “gone” here." in (await http.get("/compare/here-vs-gone")).text
    assert "There is no tool “gone” here." in (await http.get("/compare/gone-vs-there")).text
    assert "There is no tool “gone” and no tool “away” here." in (await http.get("/compare/gone-vs-away")).text
    assert "No two different listed tools" in (await http.get("/compare/here-vs-here")).text
    assert 'href="/compare?left=here">Choose another tool<' in (await http.get("/compare/here-vs-gone")).text
    assert 'href="/compare?left=there">Choose another tool<' in (await http.get("/compare/gone-vs-there")).text
    assert "All comparisons" in (await http.get("/compare/gone-vs-away")).text
    assert "GONE" not in (await http.get("/compare/here-vs-GONE")).text


def test_what_would_flip_a_tally_is_said_of_one_that_is_called() -> None:
    """Of a tally that it is too early to call nothing could be flipped."""
    assert flips(community(3, 1)) == "" and flips(community(0, 0)) == ""
    assert flips(community(90, 10)) == "41 voters changing sides would flip it"
