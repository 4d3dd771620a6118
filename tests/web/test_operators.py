"""Operators over HTTP: the catalog, voters, how everything stands, the log."""

from typing import Any

import pytest

from tests.support.catalogs import tool as written
from tests.support.http import Site, assert_problem, pointers
from tests.support.processes import wait_for


def catalog(*tools: dict[str, Any], comparisons: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """Write a catalog."""
    return {"tools": list(tools), "comparisons": [{"left": left, "right": right} for left, right in comparisons]}


def test_a_catalog_is_imported_by_what_differs(site: Site) -> None:
    """The same file twice appends nothing; one changed tool appends its one event."""
    file = catalog(written("imported-a"), written("imported-b"), comparisons=(("imported-a", "imported-b"),))
    assert site.operator_for("catalog").post("/v1/ops/catalog", file).json() == {"appended": 3}
    assert site.operator.post("/v1/ops/catalog", file).json() == {"appended": 0}
    assert site.import_catalog(catalog(written("imported-a", name="Other"))) == 1
    assert site.anyone.get("/v1/tools/imported-a").json()["name"] == "Other"


def test_a_retried_import_answers_what_the_first_did(site: Site) -> None:
    """An operator's Idempotency-Key works as a visitor's: the same file, the same answer; another file is 422."""
    key = {"Idempotency-Key": "import"}
    file = catalog(written("keyed"))
    assert [site.operator.post("/v1/ops/catalog", file, key).json() for _ in range(2)] == [{"appended": 1}] * 2
    assert_problem(site.operator.post("/v1/ops/catalog", catalog(), key), 422)


def test_a_key_is_for_one_query(site: Site, tool: str) -> None:
    """The same call with another query under a key is another request: 422, and what the first did stands."""
    me = site.visitor()
    me.vote(tool, "ship")
    path = f"/v1/ops/voters/{me.visitor}/disqualification"
    assert site.operator.post(path, {"reason": "A test of keys"}).status_code == 200
    key = {"Idempotency-Key": "reinstate"}
    asked = f"{path}?reason=Wrongly%20suspected"
    first = site.operator.delete(asked, key)
    assert first.status_code == 200
    assert site.operator.delete(asked, key).json() == first.json()
    for other in (path, f"{path}?reason=Another%20reason"):
        assert_problem(site.operator.delete(other, key), 422)


@pytest.mark.parametrize(
    ("broken", "pointer"),
    [
        ({"tools": [{"slug": "x"}], "comparisons": []}, "/tools/0/name"),
        (catalog(written("UPPER")), "/tools/0/slug"),
        (catalog(written("ok"), written("dear", pricing={"tier": "dear", "label": "x"})), "/tools/1/pricing/tier"),
        (catalog(written("ok", surprise=1)), "/tools/0/surprise"),
        (catalog(written("twice"), written("twice")), "/tools/1/slug"),
        (catalog(comparisons=(("nobody", "nothing"),)), "/comparisons/0/left"),
        (
            catalog(written("ok", panel=[{"persona": "P", "verdict": "ship", "take": "t", "score": 101}])),
            "/tools/0/panel/0/score",
        ),
        ({"tools": {}}, "/tools"),
    ],
)
def test_a_broken_catalog_is_refused_whole(site: Site, broken: object, pointer: str) -> None:
    """What can't be is a 400 that points at it, and nothing of the file is imported."""
    before = site.head()
    assert pointer in pointers(assert_problem(site.operator.post("/v1/ops/catalog", broken), 400))
    assert site.head() == before


def test_a_catalog_may_be_large(site: Site) -> None:
    """A catalog has 16 MiB, not the 64 KiB of other bodies."""
    file = catalog(*(written(f"large-{n}", description="x" * 9_000) for n in range(40)))
    assert site.operator.post("/v1/ops/catalog", file).json() == {"appended": 40}


def test_a_disqualified_voters_votes_go_and_come_back(site: Site, tool: str) -> None:
    """Disqualified, its votes leave the tally and it can cast none; reinstated, they are back; repeating is 200."""
    me, other = site.visitor(), site.visitor()
    me.vote(tool, "ship")
    other.vote(tool, "skip")
    path, why = f"/v1/ops/voters/{me.visitor}/disqualification", {"reason": "bought votes"}
    voters = site.operator_for("voters")
    gone = voters.post(path, why).json()
    assert (gone["visitor"], gone["disqualified"], gone["votes"]) == (me.visitor, True, 1)
    assert site.anyone.get(f"/v1/tools/{tool}", after=gone["position"]).json()["community"]["ship"] == 0
    problem = assert_problem(me.put(f"/v1/tools/{tool}/vote", {"choice": "skip"}), 403)
    assert "bought" not in problem["detail"]
    assert_problem(me.post(f"/v1/tools/{tool}/reviews", {"verdict": "ship", "body": "x" * 30}), 403)
    assert me.get(f"/v1/tools/{tool}/vote").json()["choice"] == "ship"
    again = voters.post(path, why).json()
    assert (again["disqualified"], again["votes"]) == (True, 0)
    back = voters.delete(path).json()
    assert (back["disqualified"], back["votes"]) == (False, 1)
    assert site.anyone.get(f"/v1/tools/{tool}", after=back["position"]).json()["community"]["ship"] == 1
    assert voters.delete(path).json()["votes"] == 0
    assert me.put(f"/v1/tools/{tool}/vote", {"choice": "skip"}).json()["community"]["skip"] == 2


def test_a_visitor_without_events_is_unknown(site: Site) -> None:
    """Whoever has done nothing can be neither disqualified nor reinstated: 404."""
    path = f"/v1/ops/voters/{site.visitor().visitor}/disqualification"
    assert_problem(site.operator.post(path, {"reason": "why"}), 404)
    assert_problem(site.operator.delete(path), 404)


@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 501, "a\nb", "a\u202eb", 7])
def test_a_disqualification_needs_a_reason(site: Site, tool: str, reason: object) -> None:
    """The reason is public: one line with something to read in it."""
    me = site.visitor()
    me.vote(tool, "ship")
    answer = site.operator.post(f"/v1/ops/voters/{me.visitor}/disqualification", {"reason": reason})
    assert pointers(assert_problem(answer, 400)) == ["/reason"]


def test_the_status_tells_how_everything_stands(site: Site, tool: str) -> None:
    """Head, views with their lag, Valkey's queue, and the release that answers."""
    position = site.visitor().vote(tool, "ship")
    reader = site.operator_for("read")

    def views() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = reader.get("/v1/ops/status").json()["views"]
        return found

    # No page waits for the tree over the log, so it may come a moment after the other views.
    wait_for(lambda: all(view["position"] >= position for view in views()))
    status = reader.get("/v1/ops/status").json()
    assert status["head"]["position"] >= position
    assert status["release"]
    assert {"cards", "hours", "bookmarks", "reviews"} <= {view["name"] for view in status["views"]}
    assert all(view["position"] >= position and view["halt"] is None for view in status["views"])
    assert status["queue"]["reachable"] is True


def test_the_log_is_read_page_by_page(site: Site, tool: str) -> None:
    """Events come in order and whole; `next` leads on to the head, where it is null."""
    me = site.visitor()
    start = site.head()
    me.vote(tool, "ship")
    me.vote(tool, "skip")
    me.put(f"/v1/bookmarks/{tool}")
    page = site.operator_for("read").get("/v1/ops/events", after=start, limit=2)
    first = page.json()["items"]
    assert [event["position"] for event in first] == [start + 1, start + 2]
    assert page.json()["next"] == start + 2
    second = site.operator.get(page.links["next"]["url"]).json()
    assert (second["items"][0]["type"], second["next"]) == ("ToolBookmarked", None)
    assert set(first[0]) == {"position", "stream", "version", "type", "schema_version", "data", "meta", "recorded_at"}
    assert (first[1]["type"], first[1]["version"], first[1]["data"]["previous"]) == ("VoteCast", 2, "ship")
    assert first[0]["recorded_at"].endswith("Z")
    stream = site.operator.get("/v1/ops/events", stream=first[0]["stream"], after=start + 1).json()["items"]
    assert [event["position"] for event in stream] == [start + 2]


def test_an_operators_events_say_who_it_was(site: Site, tool: str) -> None:
    """A disqualification is found in the voter's own stream, by the voter's id, with the operator's name."""
    me = site.visitor()
    me.vote(tool, "ship")
    site.operator_for("voters").post(f"/v1/ops/voters/{me.visitor}/disqualification", {"reason": "why"})
    (event,) = site.operator.get("/v1/ops/events", stream=me.visitor).json()["items"]
    assert (event["type"], event["meta"]) == ("VoterDisqualified", {"operator": "voters"})


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [({"after": "-1"}, "/after"), ({"limit": "0"}, "/limit"), ({"limit": "1001"}, "/limit"), ({"stream": "x"}, "/stream")],
)
def test_bad_parameters_are_named(site: Site, parameters: dict[str, str], pointer: str) -> None:
    """What doesn't fit a parameter is a 400 that points at it."""
    assert pointers(assert_problem(site.operator.get("/v1/ops/events", **parameters), 400)) == [pointer]
