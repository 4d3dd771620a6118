"""Forms: whose they are, where they lead, and what they refuse."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support import calling

HERE = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
VOTE = "/tools/assay-bench/vote"


@pytest.fixture
def visitor(base: str) -> dict[str, str]:
    """The headers of a visitor's browser on this site."""
    token = calling.post(f"{base}/v1/visitors").json()["token"]
    return {**HERE, "Cookie": f"ballotpress_visitor={token}"}


def total(base: str, tool: str = "assay-bench") -> int:
    """Count a tool's votes."""
    count: int = calling.get(f"{base}/v1/tools/{tool}").json()["community"]["total"]
    return count


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        VOTE,
        "/bookmarks/ollama",
        "/tools/ollama/reviews",
        "/newsletter",
        "/newsletter/undo",
        "/your-data/mine/erase",
        "/ops/sign-in",
        "/ops/voters",
        "/ops/sign-out",
    ],
)
def test_a_form_of_another_site_does_nothing(base: str, visitor: dict[str, str], path: str, headers: dict[str, str]) -> None:
    """What isn't known to be posted by a page of ours is refused, whatever cookies come with it."""
    before = total(base)
    kept = {name: value for name, value in visitor.items() if name != "Sec-Fetch-Site"}
    answer = calling.post(base + path, data={"choice": "ship"}, headers={**kept, **headers})
    assert (answer.status_code, "Not from here" in answer.text) == (403, True)
    assert "set-cookie" not in answer.headers
    assert total(base) == before


def test_an_origin_of_ours_is_enough_where_the_browser_says_no_more(base: str, visitor: dict[str, str]) -> None:
    """A browser that sends Origin alone may post from our own pages."""
    kept = {name: value for name, value in visitor.items() if name != "Sec-Fetch-Site"}
    assert calling.post(base + VOTE, data={"choice": "ship"}, headers={**kept, "Origin": base}).status_code == 303


@pytest.mark.parametrize("choice", ["ship", "skip"])
def test_a_mails_link_makes_the_choice_and_its_button_alone_votes(base: str, visitor: dict[str, str], choice: str) -> None:
    """Opening it counts nothing, however often; the form that it shows is an ordinary vote of whoever presses the button."""
    tool, other = ("swatchmoor", {"ship": "skip", "skip": "ship"}[choice])
    before = total(base, tool)
    for _ in range(2):
        page = calling.get(f"{base}/tools/{tool}/vote", params={"choice": choice}, headers={"Accept": "text/html"})
        assert page.status_code == 200
    assert f'value="{choice}" required checked>' in page.text
    assert f'value="{other}" required>' in page.text
    assert "set-cookie" not in page.headers
    assert total(base, tool) == before
    done = calling.post(f"{base}/tools/{tool}/vote", data={"choice": choice, "back": f"/tools/{tool}"}, headers=visitor)
    assert (done.status_code, urlsplit(done.headers["location"]).path) == (303, f"/tools/{tool}")
    own = calling.get(f"{base}/v1/tools/{tool}/vote", headers=visitor).json()
    assert own["choice"] == choice


def test_a_mails_link_to_vote_without_a_choice_lets_one_choose(base: str) -> None:
    """A choice that there isn't is refused, and so is a tool."""
    page = calling.get(f"{base}{VOTE}")
    assert (page.status_code, "checked" in page.text) == (200, False)
    assert calling.get(f"{base}{VOTE}", params={"choice": "maybe"}).status_code == 400
    assert calling.get(f"{base}/tools/no-such-tool/vote", params={"choice": "ship"}).status_code == 404


def test_a_first_vote_counts_only_once_the_cookie_came_back(base: str) -> None:
    """Without a cookie the browser is given one and sent here again; without it then, the vote is refused and not counted."""
    tool = "plinthcast"  # no other test votes on it: the pages may follow a vote by a moment
    vote, before = f"/tools/{tool}/vote", total(base, tool)
    first = calling.post(base + vote, data={"choice": "ship"}, headers=HERE)
    assert (first.status_code, first.headers["location"]) == (307, f"{vote}?cookie=asked")
    assert "HttpOnly" in first.headers["set-cookie"]
    again = base + first.headers["location"]
    assert calling.post(again, data={"choice": "ship"}, headers=HERE).status_code == 403
    assert total(base, tool) == before
    cookie = {"Cookie": first.headers["set-cookie"].partition(";")[0]}
    counted = calling.post(again, data={"choice": "ship"}, headers={**HERE, **cookie})
    assert counted.status_code == 303
    position = parse_qs(urlsplit(counted.headers["location"]).query)["after"][0]
    calling.get(f"{base}/v1/tools/{tool}?after={position}")
    assert total(base, tool) == before + 1


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example/x",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\u00e9/evil.example",
        "/\u2028/evil.example",
        "/\t/evil.example",
        "/\u0001/evil.example",
        "/x\r\nSet-Cookie: a=b",
        "/ /evil.example",
    ],
)
def test_a_form_leads_back_to_this_site_only(base: str, visitor: dict[str, str], back: str) -> None:
    """A page to return to on another site is not followed."""
    answer = calling.post(base + VOTE, data={"choice": "ship", "back": back}, headers=visitor)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/?after=")


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        (VOTE, {"choice": "maybe"}, "Press one of the buttons"),
        (VOTE, {"vote": "ship"}, "Something in the form"),
        ("/tools/ollama/reviews", {"verdict": "ship", "body": "too short"}, "The review must have"),
        (
            "/tools/ollama/reviews",
            {"verdict": "ship", "body": "long enough to be a review", "score": "101"},
            "The score is a whole number",
        ),
        (
            "/tools/ollama/reviews",
            {"verdict": "ship", "body": "long enough to be a review", "display_name": "\u202ex"},
            "The name must be one line",
        ),
    ],
)
def test_what_a_form_cannot_say_is_said(base: str, visitor: dict[str, str], path: str, data: dict[str, str], said: str) -> None:
    """What is wrong with a field is refused on a page that says so in a sentence."""
    answer = calling.post(base + path, data=data, headers=visitor)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert said in answer.text


def test_a_second_review_leads_to_the_first(base: str, visitor: dict[str, str]) -> None:
    """One review per reader and tool: sending another shows the one there is, to edit."""
    data = {"verdict": "ship", "body": "It does what it says, and says what it does."}
    assert "said=reviewed#" in calling.post(f"{base}/tools/n8n/reviews", data=data, headers=visitor).headers["location"]
    again = calling.post(f"{base}/tools/n8n/reviews", data=data, headers=visitor).headers["location"]
    assert "said=reviewed-before" in again
    page = calling.get(base + again, headers=visitor).text
    assert "It does what it says" in page and "Save my review" in page
    assert "It does what it says" not in calling.get(f"{base}/tools/n8n").text


def test_no_page_holds_inline_code_and_all_say_so(base: str) -> None:
    """Every page has the policy, and neither inline script, style, nor handler that it would refuse. JSON-LD is no script."""
    for path in ("/", "/compare/ollama-vs-llama-cpp", "/tools/ollama", "/bookmarks", "/newsletter", "/ops/sign-in", "/nothing"):
        answer = calling.get(base + path, headers={"Accept": "text/html"})
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert _inline(answer.text) == []


def _inline(html: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names = dict(attrs)
            is_code = tag == "script" and names.get("type") != "application/ld+json"
            if tag == "style" or (is_code and "src" not in names) or "style" in names:
                found.append(tag)
            found.extend(name for name in names if name.startswith("on"))

    Reader().feed(html)
    return found


def test_programs_get_problems_and_people_pages(base: str) -> None:
    """The same refusal is a page for a browser and a problem for a program; the API's own paths give problems alone."""
    assert calling.get(f"{base}/tools/nope").headers["content-type"] == "application/problem+json"
    assert calling.get(f"{base}/tools/nope", headers=HERE).headers["content-type"] == "text/html; charset=utf-8"
    assert calling.get(f"{base}/v1/tools/nope", headers=HERE).headers["content-type"] == "application/problem+json"


def test_an_operators_token_is_in_no_cookie_page_or_address(base: str, token: str) -> None:
    """Signing in gives a cookie that scripts can't read, for /ops alone, without the token in it; signing out takes it away."""
    assert calling.get(f"{base}/ops", headers=HERE).headers["location"] == "/ops/sign-in"
    wrong = calling.post(f"{base}/ops/sign-in", data={"token": "x" * 20}, headers=HERE)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
    answer = calling.post(f"{base}/ops/sign-in", data={"token": token}, headers=HERE)
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("Path=/ops", "HttpOnly", "SameSite=Strict"))
    headers = {**HERE, "Cookie": cookie.partition(";")[0]}
    for path in ("/ops", "/ops/reviews", "/ops/log"):
        page = calling.get(base + path, headers=headers)
        assert page.status_code == 200
        assert token not in page.text + str(page.headers) + cookie
        assert page.headers["cache-control"] == "private, no-store"
    assert "Max-Age=0" in calling.post(f"{base}/ops/sign-out", headers=headers).headers["set-cookie"]
    assert calling.get(f"{base}/ops", headers=headers).headers["location"] == "/ops/sign-in"  # a copy of the cookie is dead


def test_pages_hold_nothing_of_this_machine(base: str) -> None:
    """No page names another site's script, style, image or font."""
    for path in ("/", "/compare/ollama-vs-llama-cpp", "/tools/ollama"):
        html = calling.get(base + path).text
        assert str(Path.cwd()) not in html
        assert 'src="http' not in html and "@import" not in html
