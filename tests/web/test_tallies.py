"""Tallies of the past over HTTP: as of a time, counted or corrected, and their history."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from projections.settled import settled_interval
from tests.support.http import Site, assert_problem, pointers


def tally(site: Site, tool: str, **parameters: Any) -> dict[str, Any]:
    """Read a tally."""
    answer = site.anyone.get(f"/v1/tools/{tool}/tally", **parameters)
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


def history(site: Site, tool: str, **parameters: Any) -> list[dict[str, Any]]:
    """Read a history's points."""
    answer = site.anyone.get(f"/v1/tools/{tool}/tally/history", **parameters)
    assert answer.status_code == 200, answer.text
    points: list[dict[str, Any]] = answer.json()["points"]
    return points


def recorded_at(site: Site, position: int) -> str:
    """Return when an event was recorded."""
    (event,) = site.operator.get("/v1/ops/events", after=position - 1, limit=1).json()["items"]
    return str(event["recorded_at"])


def test_a_tally_is_shown_as_of_each_of_its_votes(site: Site, tool: str) -> None:
    """At the very moment of a vote it counts, and none that came later does."""
    positions = [site.visitor().vote(tool, choice) for choice in ("ship", "skip", "ship")]
    seen = [tally(site, tool, as_of=recorded_at(site, position), after=positions[-1]) for position in positions]
    assert [(one["ship"], one["skip"], one["position"]) for one in seen] == [
        (1, 0, positions[0]), (1, 1, positions[1]), (2, 1, positions[2])
    ]  # fmt: skip
    assert [one["as_of"] for one in seen] == [recorded_at(site, position) for position in positions]


def test_a_tally_says_all_that_the_community_says(site: Site, tool: str) -> None:
    """Without a time it is the present one: the card's fields, flat, with the position and basis."""
    position = site.visitor().vote(tool, "ship")
    now = tally(site, tool, after=position)
    card = site.anyone.get(f"/v1/tools/{tool}").json()["community"]
    assert {name: now[name] for name in card} == card
    assert (now["tool"], now["basis"]) == (tool, "counted")
    assert now["position"] >= position


def test_every_point_of_the_past_says_what_was_settled(site: Site, tool: str) -> None:
    """Seven votes alike settle nothing and the eighth a ship: as of each time, in the history, and for the next voter."""
    positions = [site.visitor().vote(tool, "ship") for _ in range(8)]
    seventh, eighth = (tally(site, tool, as_of=recorded_at(site, at), after=positions[-1]) for at in positions[-2:])
    assert (seventh["verdict"], seventh["settled"]) == ("ship", None)
    assert (eighth["settled"], eighth["settled_interval"]) == ("ship", [52.2, 100.0])
    last = history(site, tool)[-1]
    assert (last["settled"], last["settled_interval"]) == ("ship", [52.2, 100.0])
    assert history(site, tool)[0]["settled_interval"] is None
    answer = site.visitor().put(f"/v1/tools/{tool}/vote", {"choice": "skip"}).json()["community"]
    by_rule = settled_interval(answer["ship"], answer["skip"])
    assert by_rule is not None
    assert (answer["settled"], answer["settled_interval"]) == (None, [*by_rule])


def test_a_disqualified_vote_counted_then_and_does_not_since(site: Site, tool: str) -> None:
    """As counted, the vote stands before the disqualification and not after; as corrected, at no time; until reinstated."""
    me = site.visitor()
    voted = me.vote(tool, "ship")
    path = f"/v1/ops/voters/{me.visitor}/disqualification"
    gone = site.operator.post(path, {"reason": "why"}).json()["position"]
    times = [recorded_at(site, position) for position in (voted, gone)]
    assert [tally(site, tool, as_of=time, after=gone)["ship"] for time in times] == [1, 0]
    corrected = [tally(site, tool, as_of=time, corrected="true") for time in times]
    assert [(one["ship"], one["basis"]) for one in corrected] == [(0, "corrected")] * 2
    back = site.operator.delete(path).json()["position"]
    assert [tally(site, tool, as_of=time, after=back)["ship"] for time in times] == [1, 0]
    assert [tally(site, tool, as_of=time, corrected="true")["ship"] for time in times] == [1, 1]
    assert (history(site, tool)[-1]["ship"], history(site, tool, corrected="true")[-1]["ship"]) == (1, 1)


def test_before_the_first_vote_there_is_none(site: Site, tool: str) -> None:
    """Long before the log began the tally is nil, at position 0; any offset from UTC will do."""
    site.visitor().vote(tool, "ship")
    for time in ("1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2000-01-01T00:00:00+14:00"):
        then = tally(site, tool, as_of=time)
        assert (then["total"], then["position"], then["ship_percent"], then["provisional"]) == (0, 0, None, True)


@pytest.mark.parametrize("path", ["tally", "tally/history"])
@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"as_of": "2999-01-01T00:00:00Z", "from_": "2999-01-01T00:00:00Z"}, ("/as_of", "/from")),
        ({"as_of": "yesterday", "from_": "yesterday"}, ("/as_of", "/from")),
        ({"as_of": "2026-01-01T00:00:00", "from_": "2026-01-01T00:00:00"}, ("/as_of", "/from")),
        ({"as_of": "0001-01-01T00:00:00+14:00", "from_": "0001-01-01T00:00:00+14:00"}, ("/as_of", "/from")),
        ({"corrected": "yes"}, ("/corrected", "/corrected")),
    ],
)
def test_a_bad_time_is_named(site: Site, tool: str, path: str, parameters: dict[str, str], pointer: tuple[str, str]) -> None:
    """A time that is to come, or none, is a 400 that points at the parameter."""
    answer = site.anyone.get(f"/v1/tools/{tool}/{path}", **parameters)
    assert pointers(assert_problem(answer, 400)) == [pointer[path == "tally/history"]]


def test_a_history_ends_with_the_present(site: Site, tool: str) -> None:
    """Unasked, it is the last 30 days by day, each at its end; today stands as it does now."""
    position = [site.visitor().vote(tool, choice) for choice in ("ship", "ship", "skip")][-1]
    points = history(site, tool, after=position)
    assert len(points) == 30
    ends = [datetime.fromisoformat(point["at"]) for point in points]
    assert {later - earlier for earlier, later in pairwise(ends)} == {timedelta(days=1)}
    assert ends[-1] - timedelta(days=1) <= datetime.now(UTC) < ends[-1] + timedelta(minutes=1)
    nothing: dict[str, Any] = {"settled": None, "settled_interval": None}
    assert points[0] == {"at": points[0]["at"], "ship": 0, "skip": 0, "total": 0, "ship_percent": None} | nothing
    wide = nothing | {"settled_interval": [6.6, 99.6]}
    assert points[-1] == {"at": points[-1]["at"], "ship": 2, "skip": 1, "total": 3, "ship_percent": 67} | wide


@pytest.mark.parametrize(
    ("every", "ends"),
    [
        ("hour", ["2026-03-04T11:00:00Z", "2026-03-04T12:00:00Z"]),
        ("day", ["2026-03-05T00:00:00Z"]),
        ("week", ["2026-03-09T00:00:00Z"]),
    ],
)
def test_periods_begin_where_the_calendar_says(site: Site, tool: str, every: str, ends: list[str]) -> None:
    """Hours and days are UTC's, weeks begin on Monday; every period that the span touches is there."""
    points = history(site, tool, every=every, from_="2026-03-04T10:30:00Z", to="2026-03-04T12:00:00Z")
    assert [point["at"] for point in points] == ends


def test_a_history_has_at_most_a_thousand_points(site: Site, tool: str) -> None:
    """A thousand are given; more is a 400 that says which period fits."""
    path = f"/v1/tools/{tool}/tally/history"
    span = {"from_": "2024-01-01T00:00:00Z", "to": "2024-02-11T16:00:00Z"}
    assert len(history(site, tool, every="hour", **span)) == 1000
    problem = assert_problem(site.anyone.get(path, every="hour", **{**span, "to": "2024-02-11T16:00:01Z"}), 400)
    assert pointers(problem) == ["/every"]
    assert "every=day fits" in problem["detail"]
    decade = {"from_": "2010-01-01T00:00:00Z", "to": "2020-01-01T00:00:00Z"}
    assert "every=week fits" in assert_problem(site.anyone.get(path, every="hour", **decade), 400)["detail"]
    century = {"from_": "1900-01-01T00:00:00Z", "to": "2000-01-01T00:00:00Z"}
    assert "no period fits" in assert_problem(site.anyone.get(path, every="week", **century), 400)["detail"]


def test_a_span_must_run_forward(site: Site, tool: str) -> None:
    """A span that ends before it begins is a 400 that points at `from`."""
    answer = site.anyone.get(f"/v1/tools/{tool}/tally/history", from_="2026-03-02T00:00:00Z", to="2026-03-01T00:00:00Z")
    assert pointers(assert_problem(answer, 400)) == ["/from"]
    first = {"from_": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"}
    assert len(history(site, tool, **first)) == 1
    assert pointers(assert_problem(site.anyone.get(f"/v1/tools/{tool}/tally/history", to=first["to"]), 400)) == ["/to"]


def test_an_unlisted_tool_has_no_tally_to_show(site: Site, tool: str) -> None:
    """Off the site, a tool's past is 404 like its page."""
    site.add_tool(slug=tool, listed=False)
    assert_problem(site.anyone.get(f"/v1/tools/{tool}/tally"), 404)
    assert_problem(site.anyone.get(f"/v1/tools/{tool}/tally/history"), 404)
