"""Public pages behind nginx's cache, by the configuration that we ship: kept for all, poisoned by nobody, soon true again."""

import re
import ssl
import time
from collections.abc import Iterator

import httpx
import pytest

from services.web.app import PAGES
from tests.support import nginx
from tests.support.http import Site
from tests.support.nginx import SHIPPED
from tests.support.processes import wait_for
from tests.support.routes import all_routes

CONF = SHIPPED.read_text()
KEPT = re.compile(re.search(r"location ~ (\^/\S+) \{", CONF)[1])  # type: ignore[index]
PARAMETERS = set(re.findall(r"map \$arg_(\w+)", CONF))
# Public, and not kept by nginx: what people post forms to, what each entry of the log changes, what other sites load by CORS,
# paths of before, and badges, which are counted by the host that shows them.
NOT_KEPT = re.compile(
    r"/(newsletter|newsletter/sent|proof|proof/entries/[^/]+|proof/verify.py|problems/[^/]+|embed.js|puzzle.js|\.well-known/.+"
    r"|tool/[^/]+|reviewer/[^/]+|badge/[^/]+)"
)
KNOWN = {"HIT", "STALE", "UPDATING", "REVALIDATED"}
"""What nginx says of an answer that it has; between slow requests a second may end."""
PRIVATE = re.compile(
    r"/(ops|outbox|newsletter/|bookmarks|proof/mine|your-data/mine|reviews/|tools/[^/]+/|health|metrics|v1/|log/|schema)"
)


@pytest.fixture(scope="module")
def front(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of nginx before the site."""
    folder, api = tmp_path_factory.mktemp("nginx"), int(site.client.base_url.port or 0)
    context = ssl._create_unverified_context()  # noqa: S323 - the certificate is the test's own
    with nginx.before(folder, api) as port, httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context) as client:
        yield client


def cache_status(answer: httpx.Response) -> str:
    """Give where nginx had an answer from."""
    assert answer.status_code in (200, 304), answer.text
    return answer.headers["x-cache-status"]


def vote_and_see(site: Site, path: str, text: str) -> None:
    """Vote on a page's tool, and wait until the site itself shows a text there."""
    site.visitor().vote(path.rpartition("/")[2], "ship")
    assert wait_for(lambda: text in site.anyone.get(path).text)


def settle() -> None:
    """Wait for the beginning of a second: a page that is asked for now is kept for its rest."""
    now = time.time()
    time.sleep(1.3 - now % 1)


def test_every_public_page_and_parameter_is_known_to_the_configuration() -> None:
    """A page that anybody may see is in the cached location, or named here; each parameter that it reads has its line."""
    addresses = [route.address() for route in all_routes() if route.method == "GET"]
    public = [address for address in addresses if not PRIVATE.match(address) or NOT_KEPT.fullmatch(address)]
    assert [address for address in public if not NOT_KEPT.fullmatch(address) and not KEPT.search(address)] == []
    assert [address for address in addresses if address not in public and KEPT.search(address)] == []
    for page in PAGES:
        if page.opt.get("takes") and any(KEPT.search(path.replace("{", "").replace(":str}", "")) for path in page.paths):
            assert set(page.opt["takes"].__struct_fields__) <= PARAMETERS, page.paths


def test_a_page_is_made_once_for_everybody(site: Site, tool: str, front: httpx.Client) -> None:
    """Whoever asks within the second gets the same bytes, a visitor's cookie or not, packed or not; who has them gets 304."""
    settle()
    path, cookie = f"/tools/{tool}", {"Cookie": f"ballotpress_visitor={site.visitor().token}"}
    first = front.get(path, headers=cookie)
    again = front.get(path)
    assert (cache_status(first), cache_status(again) in KNOWN) == ("MISS", True)
    assert first.content == again.content == site.anyone.get(path).content
    assert "set-cookie" not in again.headers and "x-accel-expires" not in again.headers
    assert again.headers["cache-tag"] == f"page,tool-{tool}"
    unchanged = front.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert "content-encoding" not in front.get(path, headers={"Accept-Encoding": "br, gzip;q=0"}).headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "666"},
        {"Forwarded": "host=evil.example", "X-Host": "evil.example", "X-Forwarded-Server": "evil.example"},
        {"X-Original-URL": "/ops", "X-Rewrite-URL": "/bookmarks"},
        {"X-Request-Id": "evil"},
        {"Origin": "https://evil.example"},
        {"Cookie": "ballotpress_visitor=evil; __Host-ballotpress_visitor=evil"},
        {"Authorization": "Bearer evil"},
        {"Accept": "application/json"},
        {"Accept": "text/markdown"},
        {"Accept": "text/html;q=0, text/markdown;q=0.1, evil/evil"},
        {"Accept-Encoding": "evil"},
        {"Accept-Encoding": "identity"},
        {"Accept-Language": "tlh", "User-Agent": "evil", "Range": "bytes=0-3", "If-None-Match": "*"},
        {"X-HTTP-Method-Override": "POST", "Content-Type": "text/evil", "Transfer-Encoding": "chunked"},
    ],
    ids=lambda headers: "+".join(headers),
)
def test_no_header_gets_into_what_others_are_shown(site: Site, front: httpx.Client, tool: str, headers: dict[str, str]) -> None:
    """After a page was asked for with strange headers, everybody else still gets what the API gives a plain caller."""
    path = f"/tools/{tool}"
    front.get(path, headers=headers)
    plain, direct = front.get(path), site.anyone.get(path)
    assert plain.content == direct.content
    kept = {name: value for name, value in plain.headers.items() if name not in _OF_NGINX}
    assert kept == {name: value for name, value in direct.headers.items() if name not in _OF_NGINX}
    assert "evil" not in plain.text + str(plain.headers)


_OF_NGINX = {"server", "date", "connection", "x-cache-status", "x-accel-expires", "transfer-encoding", "content-length"}


@pytest.mark.parametrize(
    "query",
    ["utm_source=a", "%73ort=panel", "sort=name&sort=panel", "SORT=panel", "sort=name%00", "a&sort=name", "sort=name#x"],
)
def test_no_query_gets_into_what_others_are_shown(site: Site, front: httpx.Client, query: str) -> None:
    """Parameters that pages don't know are dropped, and oddly written ones never fill the place of a plain address."""
    settle()
    front.get(f"/tools?{query}")
    for path in ("/tools", "/tools?sort=name", "/tools?sort=panel"):
        assert front.get(path).content == site.anyone.get(path).content


@pytest.mark.parametrize(
    "accept",
    [
        "text/markdown",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        "application/json",
        "text/html;q=0.5, text/markdown",
        "text/markdown;q=0.5, text/html",
        "text/markdown, text/html",
    ],
)
def test_page_and_markdown_are_kept_apart(site: Site, tool: str, front: httpx.Client, accept: str) -> None:
    """Through the cache everybody gets the form that the API gives them, page or markdown, and a problem where it gives one."""
    asked = {"Accept": accept}
    for path in (f"/tools/{tool}", "/tools/no-such-tool"):
        for _ in range(2):
            front.get(path, headers={"Accept": "text/markdown, text/html;q=0.1"})
            through, direct = front.get(path, headers=asked), site.anyone.get(path, headers=asked)
            assert through.headers["content-type"] == direct.headers["content-type"]
            assert through.status_code == direct.status_code


def test_junk_in_the_query_is_no_page_of_its_own(front: httpx.Client, tool: str) -> None:
    """A page asked for under a thousand names is made once."""
    settle()
    seen = [cache_status(front.get(f"/tools/{tool}?utm={number}")) for number in range(5)]
    assert seen[0] == "MISS" and set(seen[1:]) <= KNOWN


def test_what_is_one_readers_own_is_never_kept(site: Site, tool: str, front: httpx.Client) -> None:
    """Neither a page that a form led to, nor a page of the reader's own; and writes go through as they are."""
    me = site.visitor()
    own = {"Cookie": f"ballotpress_visitor={me.token}"}
    position = me.vote(tool, "ship")
    for path in (f"/tools/{tool}?after={position}", f"/tools/{tool}?after={position}&said=voted"):
        assert [cache_status(front.get(path)) for _ in range(2)] == ["BYPASS", "BYPASS"]
        assert front.get(path).headers["cache-control"] == "private, no-store"
    assert "Your vote is counted" not in front.get(f"/tools/{tool}").text
    mine = front.get(f"/tools/{tool}/mine", headers=own)
    assert ("x-cache-status" in mine.headers, 'value="ship" aria-pressed="true"' in mine.text) == (False, True)
    assert 'aria-pressed="true"' not in front.get(f"/tools/{tool}/mine").text
    form = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html", **own}
    back = front.post(f"/tools/{tool}/vote", data={"choice": "skip"}, headers=form)
    assert back.status_code == 303
    asked = front.get(f"/v1/visitors/me/tools?tool={tool}", headers=own)
    assert asked.json()["items"][0]["choice"] == "skip"


def test_a_vote_is_seen_through_the_cache_within_two_seconds(site: Site, tool: str, front: httpx.Client) -> None:
    """A page that is asked for all the time, and one that is asked for now and then, show a vote two seconds later."""
    path = f"/tools/{tool}"
    for number, asked_meanwhile in ((1, True), (2, True), (3, False)):
        front.get(path)
        vote_and_see(site, path, f"{number} ship / 0 skip")
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if asked_meanwhile:
                front.get(path)
            time.sleep(0.02)
        assert f"{number} ship / 0 skip" in front.get(path).text
