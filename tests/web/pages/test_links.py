"""A crawler's walk: from the first page, the sitemap and llms.txt, every link of every public page leads somewhere."""

import re
from collections import deque
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

from tests.support import calling
from tests.support.heads import Head
from tests.support.processes import PATIENCE

BEGINNINGS = ("/", "/robots.txt", "/sitemap.xml", "/llms.txt", "/agents", "/tools/facts", "/tools.xml", "/feed.xml")
MOST = 3_000
"""More pages than the demo's tools, pairs and lists have: a walk that goes on has found addresses without end."""
ENDLESS = ("/v1/tallies/live",)
LEADS_ON = (301, 302, 303, 307, 308)
IN_TEXTS = re.compile(
    r"<loc>([^<]+)</loc>|href=\"([^\"]+)\"|\]\((https?://[^)]+)\)|<(https?://[^>]+)>|^Sitemap: (\S+)", re.MULTILINE
)


class Links(HTMLParser):
    """The addresses that a page leads to, by links and by what it shows; what forms do is no address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if value and name in ("href", "src") and not value.startswith("data:")]


def links_of(answer: httpx.Response) -> list[str]:
    """Give what an answer leads to."""
    media = answer.headers["content-type"].partition(";")[0]
    if media == "text/html":
        return Links(answer.text).found
    if media == "application/json":
        return re.findall(r"\"(?:as_of|page|address)\":\"(http[^\"]+)\"", answer.text)
    readable = media.endswith("xml") or media in ("text/plain", "text/markdown")
    return [next(filter(None, groups)).replace("&amp;", "&") for groups in IN_TEXTS.findall(answer.text)] if readable else []


def walk(client: httpx.Client) -> Iterator[tuple[str, str, httpx.Response]]:
    """Read each address once; give it with the address that it was found at."""
    waiting = deque((path, path) for path in BEGINNINGS)
    seen = set(BEGINNINGS)
    while waiting:
        path, found_at = waiting.popleft()
        answer = client.get(path, headers={"Accept": "text/html,*/*;q=0.5"})
        yield path, found_at, answer
        for link in links_of(answer) if answer.status_code == 200 else [answer.headers.get("location", "")]:
            where = urlsplit(urljoin(str(client.base_url.join(path)), urldefrag(link)[0]))
            address = where.path + (f"?{where.query}" if where.query else "")
            if where.netloc == client.base_url.netloc.decode() and address not in seen and not address.startswith(ENDLESS):
                seen.add(address)
                waiting.append((address, path))


def test_every_link_leads_somewhere(base: str) -> None:
    """Nothing is missing, nothing fails, nothing goes on for ever; each page that is public has its own address and title."""
    titles: dict[str, set[str]] = {}
    wrong: list[str] = []
    walked = 0
    with calling.Client(base_url=base, timeout=PATIENCE) as client:
        for path, found_at, answer in walk(client):
            walked += 1
            assert walked < MOST, path
            if answer.status_code not in (200, *LEADS_ON):
                wrong.append(f"{answer.status_code} {path}, found at {found_at}")
            elif answer.status_code == 200 and answer.headers["content-type"].startswith("text/html") and path != "/schema":
                head = Head(answer.text)
                assert head.canonical or head.meta["robots"] == "noindex", path
                if head.canonical:
                    titles.setdefault(head.title, set()).add(head.canonical)
    assert wrong == []
    assert walked > 150
    assert {title: addresses for title, addresses in titles.items() if len(addresses) > 1} == {}
