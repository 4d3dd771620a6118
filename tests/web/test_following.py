"""Following the log: from any position, as lines of JSON or Server-Sent Events, without a gap and without a limit of memory."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from services.web.following import AT_ONCE, NETWORK_FOLLOWERS
from tests.support import calling
from tests.support.http import OPERATOR_TOKENS, Site, assert_problem, pointers
from tests.support.processes import PATIENCE, wait_for

SSE, NDJSON = "text/event-stream", "application/x-ndjson"


@contextmanager
def following(site: Site, accept: str, headers: Mapping[str, str] | None = None, **query: Any) -> Iterator[httpx.Response]:
    """Follow the log for a while."""
    sent = {"Authorization": f"Bearer {OPERATOR_TOKENS['read']}", "Accept": accept, **(headers or {})}
    with (
        calling.Client(base_url=site.client.base_url, timeout=PATIENCE) as client,
        client.stream("GET", "/v1/ops/events", params=query, headers=sent) as answer,
    ):
        yield answer


def joined(stack: ExitStack, site: Site, accept: str, **query: Any) -> httpx.Response:
    """Follow the log once there is a place: those that others have just left are free in a moment."""
    answers: list[httpx.Response] = []

    def has_place() -> bool:
        answers.append(stack.enter_context(following(site, accept, **query)))
        return answers[-1].status_code == 200

    assert wait_for(has_place)
    return answers[-1]


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Return the events of a stream of either form; an id must be its event's position."""
    id_ = None
    for line in lines:
        if line.startswith("id: "):
            id_ = int(line.removeprefix("id: "))
        elif line.startswith(("data: ", "{")):
            event: dict[str, Any] = json.loads(line.removeprefix("data: "))
            assert id_ in (None, event["position"])
            yield event


@pytest.mark.parametrize("accept", [SSE, NDJSON])
def test_the_log_is_followed_live_from_a_position(site: Site, tool: str, accept: str) -> None:
    """What was there comes first, whole and in order, then each event as it is recorded."""
    me, start = site.visitor(), site.head()
    me.vote(tool, "ship")
    with following(site, accept, after=start) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"] == accept
        assert answer.headers["cache-control"] == "private, no-store"
        found = events(answer.iter_lines())
        first = next(found)
        assert (first["position"], first["type"], first["data"]["choice"]) == (start + 1, "VoteCast", "ship")
        position = me.vote(tool, "skip")
        assert next(found)["position"] == position
    page = site.operator.get("/v1/ops/events", after=start, limit=1).json()["items"]
    assert page == [first]


def test_a_browser_that_comes_back_misses_nothing(site: Site, tool: str) -> None:
    """Last-Event-ID wins over the address, which still says where it began."""
    me, start = site.visitor(), site.head()
    positions = [me.vote(tool, choice) for choice in ("ship", "skip", "ship")]
    with following(site, SSE, {"Last-Event-ID": str(positions[0])}, after=start) as answer:
        found = events(answer.iter_lines())
        assert [next(found)["position"] for _ in range(2)] == positions[1:]


def test_types_narrow_pages_and_streams(site: Site, tool: str) -> None:
    """Only these types are sent; a page of them says where the search stopped."""
    me, start = site.visitor(), site.head()
    me.vote(tool, "ship")
    me.put(f"/v1/bookmarks/{tool}")
    position = me.vote(tool, "skip")
    query = f"/v1/ops/events?after={start}&type=ToolBookmarked&type=VoteRetracted"
    page = site.operator.get(query).json()
    assert [event["type"] for event in page["items"]] == ["ToolBookmarked"] and page["next"] is None
    with following(site, NDJSON, after=start, type=["VoteCast"]) as answer:
        found = events(answer.iter_lines())
        assert [next(found)["type"], next(found)["position"]] == ["VoteCast", position]
    assert site.operator.get(f"/v1/ops/events?after={2**63 - 1}&type=VoteCast").json() == {"items": [], "next": None}
    for bad in ("Vote Cast", "x" * 61, "../"):
        assert pointers(assert_problem(site.operator.get("/v1/ops/events", type=bad), 400)) == ["/type/0"]


def test_a_long_past_is_sent_piece_by_piece(site: Site) -> None:
    """More events than are read at a time come all, in order."""
    head = site.head()
    while head < 3 * AT_ONCE:
        site.import_catalog({"tools": [{**_tool(), "slug": f"past-{head}-{n}"} for n in range(AT_ONCE)]})
        head = site.head()
    with following(site, NDJSON, after=0) as answer:
        found = events(answer.iter_lines())
        assert [next(found)["position"] for _ in range(head)] == list(range(1, head + 1))


def _tool() -> dict[str, Any]:
    return {
        "name": "Past", "tagline": "t", "description": "d", "category": "c", "best_for": "b",
        "pricing": {"tier": "free", "label": "Free"}, "panel": [],
    }  # fmt: skip


def test_a_page_is_what_programs_get_by_default(site: Site) -> None:
    """Without the media type, or with one that is wanted less, the answer is a page as before."""
    for accept in ("*/*", "application/json", f"application/json, {SSE};q=0.5", f"{SSE};q=0"):
        answer = site.operator.get("/v1/ops/events", headers={"Accept": accept}, limit=1)
        assert answer.headers["content-type"] == "application/json", accept
    head = site.operator.call("HEAD", "/v1/ops/events", headers={"Accept": SSE})
    assert (head.status_code, head.headers["content-type"], head.content) == (200, SSE, b"")


def test_a_position_beyond_the_head_is_refused(site: Site) -> None:
    """Whoever knows more of the log than there is has another one, and is told so."""
    for headers, query in (({}, {"after": site.head() + 1000}), ({"Last-Event-ID": str(2**50)}, {})):
        with following(site, SSE, headers, **query) as answer:
            answer.read()
            assert pointers(assert_problem(answer, 400)) == ["/after"]


def test_it_needs_the_scope_to_follow(site: Site) -> None:
    """A visitor or another operator follows nothing."""
    assert_problem(site.operator_for("webhooks").get("/v1/ops/events", headers={"Accept": SSE}), 403)
    assert_problem(site.visitor().get("/v1/ops/events", headers={"Accept": SSE}), 401)


def test_one_network_does_not_take_all_places(site: Site) -> None:
    """Beyond its share a network is refused with the time to come back; a place that was left is free again."""
    with ExitStack() as stack:
        for _ in range(NETWORK_FOLLOWERS):
            joined(stack, site, SSE, after=0)
        with following(site, SSE, after=0) as answer:
            answer.read()
            assert_problem(answer, 503)
            assert answer.headers["retry-after"]

    def is_free() -> bool:
        with following(site, SSE, after=0) as answer:
            return answer.status_code == 200

    assert wait_for(is_free)


def test_a_caller_that_reads_nothing_holds_up_nobody(site: Site, tool: str) -> None:
    """While one takes nothing of its stream, others follow and vote."""
    url = httpx.URL(str(site.client.base_url))
    assert url.port is not None
    with socket.create_connection(("127.0.0.1", url.port), PATIENCE) as mute:
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = OPERATOR_TOKENS["read"]
        head = ("GET /v1/ops/events HTTP/1.1", "Host: x", f"Accept: {SSE}", f"Authorization: Bearer {token}", "", "")
        mute.sendall("\r\n".join(head).encode())
        start = site.head()
        with ExitStack() as stack:
            answer = joined(stack, site, NDJSON, after=start)
            position = site.visitor().vote(tool, "ship")
            assert next(events(answer.iter_lines()))["position"] == position
