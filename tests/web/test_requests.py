"""What every route does alike: tokens and scopes, bodies, paths, caching, HEAD, the wait for a position."""

import pytest

from services.web.app import ROUTES
from services.web.http.endpoints import Operation
from services.web.http.problems import KINDS, UNEXPECTED
from tests.support.http import Caller, Site, assert_problem, pointers

ID = "A" * 22
OPERATIONS: list[Operation] = [route.opt["operation"] for route in ROUTES]
PATHS = {
    "mail": "none.eml",
    "tool": "no-such-tool",
    "pair": "a-vs-b",
    "persona": "nobody",
    "category": "none",
    "id": ID,
    "visitor": ID,
    "review": ID,
    "webhook": ID,
    "subscriber": ID,
    "provider": "none.example",
    "number": "1",
    "entry": "1",
    "log": "1",
    "tile": "0/000",
    "pack": "0.jsonl.gz",
}
WITH_BODY = [o for o in OPERATIONS if o.has_body]
VISITORS = [o for o in OPERATIONS if o.by.kind == "visitor"]
OPERATORS = [o for o in OPERATIONS if o.by.kind == "operator"]
PUBLIC_LISTS = ["/v1/tools", "/v1/comparisons", "/v1/categories", "/v1/reviewers"]
PRIVATE_LISTS = ["/v1/bookmarks", "/v1/ops/reviews"]


def name(operation: Operation) -> str:
    """Name an operation in the tests' report."""
    return f"{operation.method} {operation.path}"


def path_of(operation: Operation) -> str:
    """Fill a path in."""
    return operation.path.format(**PATHS)


def caller_of(operation: Operation, site: Site) -> Caller:
    """Make somebody who may call an operation."""
    match operation.by.kind:
        case "visitor":
            return site.visitor()
        case "operator":
            return site.operator
        case _:
            return site.anyone


@pytest.mark.parametrize("operation", VISITORS + OPERATORS, ids=name)
def test_without_a_token_nothing_is_done(site: Site, operation: Operation) -> None:
    """Without a token, or with a forged one, the answer is 401, and nobody may keep it for others."""
    for caller in (site.anyone, Caller(site.client, "made.up.token")):
        answer = caller.call(operation.method, path_of(operation), {})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "private" in answer.headers["cache-control"]


@pytest.mark.parametrize("operation", [one for one in OPERATORS if one.by.scope], ids=name)
def test_an_operator_needs_the_scope(site: Site, operation: Operation) -> None:
    """An operator's token without the scope is 403, and a visitor's token is none of an operator's."""
    other = "read" if operation.by.scope != "read" else "catalog"
    assert_problem(site.operator_for(other).call(operation.method, path_of(operation), {}), 403)
    assert_problem(site.visitor().call(operation.method, path_of(operation), {}), 401)


@pytest.mark.parametrize("operation", VISITORS + OPERATORS, ids=name)
def test_answers_that_depend_on_the_caller_are_private(site: Site, operation: Operation) -> None:
    """Whatever becomes of a call with a token, its answer is the caller's own."""
    answer = caller_of(operation, site).call(operation.method, path_of(operation), {})
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["vary"] == "Authorization, Cookie"


@pytest.mark.parametrize("operation", WITH_BODY, ids=name)
@pytest.mark.parametrize(
    ("raw", "media", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", None, 415),
        (b"", "application/json", 400),
        (b'{"a": 1', "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"ship"', "application/json", 400),
        (b'{"x\xff": 1}', "application/json", 400),
        (b'{"unknown \\u0000": 1}', "application/json", 400),
        (b"[" * 20_000, "application/json", 400),
        (b'{"surprise": 1}', "application/json", 400),
    ],
)
def test_a_bad_body_is_refused(site: Site, operation: Operation, raw: bytes, media: str | None, status: int) -> None:
    """A body that isn't the JSON it should be is a 400 or 415, wherever one is taken."""
    headers = {"Authorization": f"Bearer {caller_of(operation, site).token}"}
    if media is not None:
        headers["Content-Type"] = media
    answer = site.client.request(operation.method, path_of(operation), content=raw, headers=headers)
    site.client.cookies.clear()
    assert_problem(answer, status)


@pytest.mark.parametrize("operation", WITH_BODY, ids=name)
def test_a_huge_body_is_refused(site: Site, operation: Operation) -> None:
    """A body over the limit, 64 KiB or 16 MiB of a catalog, is 413."""
    size = (16 * 1024 if operation.path == "/v1/ops/catalog" else 64) * 1024 + 1
    headers = {"Authorization": f"Bearer {caller_of(operation, site).token}", "Content-Type": "application/json"}
    answer = site.client.request(operation.method, path_of(operation), content=b" " * size, headers=headers)
    site.client.cookies.clear()
    assert_problem(answer, 413)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if "{tool}" in o.path], ids=name)
@pytest.mark.parametrize("slug", ["Upper", "dot.", "sp%20ace", "nul%00", "%C3%A9", "a" * 121, "a%0A", "..%2F.."])
def test_an_odd_slug_is_not_found(site: Site, operation: Operation, slug: str) -> None:
    """What can't be a slug is no tool's, whatever characters it has."""
    answer = caller_of(operation, site).call(operation.method, operation.path.format(**{**PATHS, "tool": slug}), {})
    assert answer.status_code in (404, 400)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if "{tool}" in o.path], ids=name)
def test_an_unknown_tool_is_not_found(site: Site, operation: Operation) -> None:
    """No route finds a tool that isn't there."""
    bodies = {
        "vote": {"choice": "ship"},
        "reviews": {"verdict": "ship", "body": "x" * 30},
        "reports": {"ground": "fake"},
        "puzzle": {"hours": 1},
    }
    body = bodies.get(operation.path.rpartition("/")[2])
    assert_problem(caller_of(operation, site).call(operation.method, path_of(operation), body), 404)


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.method == "GET"], ids=name)
def test_head_answers_as_get_without_the_body(site: Site, operation: Operation) -> None:
    """HEAD has GET's status and headers, and no body."""
    caller = caller_of(operation, site)
    got, head = caller.get(path_of(operation)), caller.call("HEAD", path_of(operation))
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("cache-control") == got.headers.get("cache-control")


@pytest.mark.parametrize("path", PUBLIC_LISTS + PRIVATE_LISTS)
def test_a_list_known_by_its_etag_is_not_sent_again(site: Site, path: str) -> None:
    """Lists carry a weak ETag, and who has that version already gets 304."""
    caller = site.operator if "ops" in path else site.visitor()
    first = caller.get(path)
    assert first.headers["etag"].startswith('W/"')
    again = caller.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]


@pytest.mark.parametrize("path", ["/v1/tools", "/v1/comparisons", "/v1/reviewers/builder", *PRIVATE_LISTS])
def test_a_forged_cursor_is_refused(site: Site, path: str) -> None:
    """A cursor that we never gave out, or gave out for another list, is a 400 that names it."""
    caller = site.operator if "ops" in path else site.visitor()
    site.add_tool(panel=[{"persona": "Builder", "verdict": "ship", "take": "t"}])
    site.add_tool()
    other = site.anyone.get("/v1/tools", limit=1, sort="community").json()["next"]
    for cursor in ("x", "A" * 40, other, other[:-2], "%00"):
        assert pointers(assert_problem(caller.get(path, cursor=cursor), 400)) == ["/cursor"]


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.path in PUBLIC_LISTS], ids=name)
@pytest.mark.parametrize("after", ["-1", "x", "1.5", str(2**63), ""])
def test_after_must_be_a_position(site: Site, operation: Operation, after: str) -> None:
    """What is no position is a 400 that names `after`."""
    assert pointers(assert_problem(site.anyone.get(operation.path, after=after), 400)) == ["/after"]


def test_a_position_to_come_is_answered_503(site: Site) -> None:
    """A position that the log hasn't reached is 503 with Retry-After."""
    answer = site.anyone.get("/v1/categories", after=2**62)
    assert_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1


def test_every_page_of_a_list_is_linked(site: Site) -> None:
    """The link of a page leads to the next one, with the same filters, until there is none; nothing comes twice or never."""
    slugs = [site.add_tool(category="Paged & linked") for _ in range(5)]
    seen, page = [], site.anyone.get("/v1/tools", category="Paged & linked", limit=2)
    while True:
        seen += [tool["slug"] for tool in page.json()["items"]]
        if page.json()["next"] is None:
            break
        assert page.links["next"]["url"]
        page = site.anyone.get(page.links["next"]["url"])
    assert sorted(seen) == sorted(slugs)
    assert "link" not in page.headers


def test_the_type_of_every_problem_leads_somewhere(site: Site) -> None:
    """The `type` of a refusal is a path on this site, and its page says what it means."""
    ours = [kind for error, kind in KINDS.items() if not error.__module__.startswith("tests.")]
    for kind in (UNEXPECTED, *ours):
        shown = site.anyone.get(kind.type)
        assert (shown.status_code, kind.title in shown.text) == (200, True), kind.type
    assert site.anyone.get("/problems/no-such").status_code == 404
