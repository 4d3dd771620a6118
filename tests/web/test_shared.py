"""Public pages are the same for everybody: nothing of a request but its address gets into them; caches know what they show."""

import pytest

from tests.support.http import Caller, Site

PATHS = (
    "/", "/tools", "/tools?sort=panel", "/tools/{one}", "/comparisons", "/compare/{one}-vs-{two}", "/compare", "/reviewers",
    "/reviewers/builder", "/categories", "/leaderboard", "/search?q=tool", "/agents", "/issues", "/corrections", "/settled",
    "/integrity", "/your-data", "/newsletter", "/proof", "/llms.txt", "/tools/facts", "/tools.xml",
)  # fmt: skip
HOSTILE = {
    "Host": "planted7.example",
    "X-Forwarded-Host": "planted7.example",
    "X-Forwarded-Proto": "planted7",
    "Forwarded": "host=planted7.example",
    "X-Original-URL": "/planted7",
    "X-Request-Id": "planted7",
    "Origin": "https://planted7.example",
    "Referer": "https://planted7.example/",
    "Accept-Language": "tlh",
    "User-Agent": "planted7",
}
# Told by the clock, and by the server that was asked.
OF_THE_MOMENT = {"date", "x-accel-expires"}


@pytest.fixture(scope="module")
def tools(site: Site) -> tuple[str, str]:
    """Two tools, one with a review of the panel."""
    return site.add_tool(panel=[{"persona": "Builder", "verdict": "ship", "take": "t"}]), site.add_tool()


@pytest.fixture(scope="module")
def voter(site: Site, tools: tuple[str, str]) -> Caller:
    """A visitor whose vote and bookmark the views have."""
    me = site.visitor()
    me.put(f"/v1/bookmarks/{tools[0]}")
    assert site.anyone.get("/v1/categories", after=me.vote(tools[0], "ship")).status_code == 200
    return me


@pytest.mark.parametrize("path", PATHS)
def test_a_public_page_depends_on_its_address_alone(site: Site, tools: tuple[str, str], voter: Caller, path: str) -> None:
    """A visitor's cookie, the host asked for, and what else a caller writes change neither a byte nor a header."""
    address = path.format(one=tools[0], two=tools[1])
    plain = site.anyone.get(address)
    assert plain.status_code == 200
    for headers in ({"Cookie": f"ballotpress_visitor={voter.token}"}, {"Authorization": f"Bearer {voter.token}"}, HOSTILE):
        request = site.client.build_request("GET", address, headers=headers)
        asked = site.client.send(request)
        site.client.cookies.clear()
        assert asked.content == plain.content
        assert _lasting(asked.headers) == _lasting(plain.headers)
        assert "planted7" not in asked.text + str(asked.headers)


def _lasting(headers: object) -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name not in OF_THE_MOMENT}  # type: ignore[call-overload]


@pytest.mark.parametrize("path", PATHS)
def test_caches_are_told_how_long_they_may_keep_a_page_and_by_what_to_forget_it(
    site: Site, tools: tuple[str, str], path: str
) -> None:
    """A second in shared caches, none in browsers; no cookie in `Vary`; both forms of tags name the tools shown."""
    one, two = tools
    headers = site.anyone.get(path.format(one=one, two=two)).headers
    assert headers["cache-control"] == "public, max-age=0, s-maxage=1, stale-while-revalidate=1"
    assert set(headers["vary"].split(", ")) <= {"Accept-Encoding", "Accept"}
    assert "x-request-id" not in headers and "set-cookie" not in headers
    tags = headers["cache-tag"].split(",")
    assert tags == headers["surrogate-key"].split(" ") and tags[0] == "page"
    shown = {f"tool-{slug}" for name, slug in (("one", one), ("two", two)) if f"{{{name}}}" in path}
    assert {tag for tag in tags if tag.startswith("tool-")} == shown


@pytest.mark.parametrize("query", ["after=1", "said=voted", "said=voted&after=1"])
def test_what_a_form_led_to_is_kept_by_nobody(site: Site, tools: tuple[str, str], query: str) -> None:
    """A page that confirms something, or waits for it, is for its reader alone, and has no tags."""
    for path in (f"/tools/{tools[0]}", f"/compare/{tools[0]}-vs-{tools[1]}"):
        headers = site.anyone.get(f"{path}?{query}").headers
        assert headers["cache-control"] == "private, no-store"
        assert not {"cache-tag", "surrogate-key", "x-accel-expires"} & set(headers)


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("/v1/tools/{one}", "page,tool-{one}"),
        ("/v1/comparisons/{one}-vs-{two}", "page,tool-{one},tool-{two}"),
        ("/v1/tools", "page,list"),
        ("/v1/comparisons", "page,list"),
        ("/v1/categories", "page,list"),
        ("/v1/reviewers", "page,list"),
    ],
)
def test_public_json_is_tagged_and_asked_for_each_time(site: Site, tools: tuple[str, str], path: str, tags: str) -> None:
    """JSON is checked by its ETag each time, as ever: what is fresh waits for no cache. Its tags name what it shows."""
    one, two = tools
    headers = site.anyone.get(path.format(one=one, two=two)).headers
    assert headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert headers["cache-tag"] == tags.format(one=one, two=two)
