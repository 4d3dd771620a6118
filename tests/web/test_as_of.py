"""Numbers under addresses that stay true: a tool, or two, as of a position or a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.catalogs import opinion
from tests.support.http import Site, assert_problem, pointers
from tests.support.processes import wait_for


def then(site: Site, tool: str, **parameters: Any) -> Any:
    """Read a tool as of a moment."""
    answer = site.anyone.get(f"/v1/tools/{tool}", **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_card_of_the_past_stays_as_it_was(site: Site) -> None:
    """After votes, new words and a revised panel, an address with a position gives what was said there, to the byte."""
    tool = site.add_tool(name="Before", panel=[opinion()])
    position = site.visitor().vote(tool, "ship")
    before = site.anyone.get(f"/v1/tools/{tool}", position=position, after=position).json()
    assert (before["name"], before["community"]["ship"], before["position"]) == ("Before", 1, position)
    assert (before["basis"], before["address"][-len(f"?position={position}") :]) == ("counted", f"?position={position}")
    site.add_tool(slug=tool, name="After", panel=[opinion(verdict="skip", take="Worse.")])
    last = site.visitor().vote(tool, "skip")
    assert then(site, tool, after=last)["name"] == "After"
    assert then(site, tool, position=position) == before
    now = then(site, tool, position=last)
    assert (now["community"]["total"], now["panel"]["verdict"]) == (2, "skip")
    assert then(site, tool, as_of=before["as_of"])["community"] == before["community"]


def test_what_is_signed_may_be_kept_for_ever(site: Site, tool: str) -> None:
    """Once a signed checkpoint covers the position, its answer is immutable, and 304 to who has it; corrected, it isn't."""
    position = site.visitor().vote(tool, "ship")
    assert site.anyone.get(f"/v1/tools/{tool}", after=position).status_code == 200

    def kept() -> bool:
        return "immutable" in site.anyone.get(f"/v1/tools/{tool}", position=position).headers["cache-control"]

    assert wait_for(kept)
    answer = site.anyone.get(f"/v1/tools/{tool}", position=position)
    known = {"If-None-Match": answer.headers["etag"]}
    assert site.anyone.get(f"/v1/tools/{tool}", known, position=position).status_code == 304
    assert "immutable" not in site.anyone.get(f"/v1/tools/{tool}", position=position, corrected="true").headers["cache-control"]


@pytest.mark.parametrize("accept", ["text/html", "text/markdown"])
def test_a_page_of_the_past_is_asked_for_again(site: Site, tool: str, accept: str) -> None:
    """Its numbers stay, and what stands around them may change: caches ask again, and forget it by the tool's tag."""
    position = site.visitor().vote(tool, "ship")
    assert site.anyone.get(f"/v1/tools/{tool}", after=position).status_code == 200
    answer = site.anyone.get(f"/tools/{tool}", {"Accept": accept}, position=position)
    assert answer.headers["cache-control"].startswith("public, max-age=0, s-maxage=")
    assert f"tool-{tool}" in answer.headers["cache-tag"].split(",")


def test_a_correction_is_told_beside_what_was_counted(site: Site, tool: str) -> None:
    """A disqualified voter's vote stays in what was counted, and is gone from what is corrected."""
    voter = site.visitor()
    position = voter.vote(tool, "ship")
    assert site.operator.post(f"/v1/ops/voters/{voter.visitor}/disqualification", {"reason": "bought"}).status_code == 200
    last = site.head()
    counted = then(site, tool, position=position, after=last)
    corrected = then(site, tool, position=position, corrected="true")
    assert [(card["basis"], card["community"]["total"]) for card in (counted, corrected)] == [("counted", 1), ("corrected", 0)]
    assert corrected["address"].endswith("&corrected=true")


def test_two_tools_stand_side_by_side_as_they_were(site: Site) -> None:
    """Both sides of a comparison are as of the same position."""
    left, right = site.add_tool(), site.add_tool()
    position = site.visitor().vote(left, "ship")
    last = site.visitor().vote(right, "skip")
    answer = site.anyone.get(f"/v1/comparisons/{left}-vs-{right}", position=position, after=last).json()
    assert [answer[side]["community"]["total"] for side in ("left", "right")] == [1, 0]
    assert (answer["position"], answer["left"]["position"]) == (position, position)
    assert answer["address"].endswith(f"/v1/comparisons/{left}-vs-{right}?position={position}")


def test_what_the_log_does_not_say_is_refused(site: Site, tool: str) -> None:
    """The future, a time before the tool, and two moments at once are refused, with what to do."""
    assert_problem(site.anyone.get(f"/v1/tools/{tool}", position=10**9), 404)
    later = site.add_tool()
    assert_problem(site.anyone.get(f"/v1/tools/{later}", position=1), 404)
    assert_problem(site.anyone.get(f"/v1/tools/{tool}", as_of="2000-01-01T00:00:00Z"), 404)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for parameters in (
        {"as_of": tomorrow},
        {"position": 3, "as_of": "2026-01-01T00:00:00Z"},
        {"as_of": "9999-12-31T23:59:59-10:00"},
    ):
        assert pointers(assert_problem(site.anyone.get(f"/v1/tools/{tool}", **parameters), 400)) == ["/as_of"]
    assert pointers(assert_problem(site.anyone.get(f"/v1/tools/{tool}", position=0), 400)) == ["/position"]
    assert site.anyone.get(f"/tools/{tool}", {"Accept": "text/html"}, position=10**9).status_code == 404


def test_the_page_of_a_moment_says_so(site: Site, tool: str) -> None:
    """It names its position, leads to the present page, and gives the address to quote."""
    position = site.visitor().vote(tool, "ship")
    page = site.anyone.get(f"/tools/{tool}", position=position, after=position)
    assert page.status_code == 200 and f"?position={position}</code>" in page.text
    assert f'href="/tools/{tool}"' in page.text and "1 vote" in page.text


@pytest.mark.parametrize("accept", ["text/markdown", "text/html;q=0.5, text/markdown"])
def test_a_moment_is_served_as_markdown_too(site: Site, tool: str, accept: str) -> None:
    """The same numbers for programs."""
    position = site.visitor().vote(tool, "ship")
    answer = site.anyone.get(f"/tools/{tool}", {"Accept": accept}, position=position, after=position)
    assert answer.headers["content-type"].startswith("text/markdown") and f"?position={position}>" in answer.text


def test_a_personas_verdicts_are_told_as_they_stood(site: Site) -> None:
    """A revised verdict and one that came later don't change what was said at a position, or at its time, page by page."""
    one = site.add_tool(panel=[opinion("Ancient", verdict="ship", take="Then good.")])
    first = site.head()
    two = site.add_tool(panel=[opinion("Ancient", verdict="skip", take="Never good.")])
    second = site.head()
    site.add_tool(slug=one, panel=[opinion("Ancient", verdict="skip", take="Now worse.")])
    path = "/v1/reviewers/ancient"

    def said(**moment: Any) -> list[tuple[str, str]]:
        return [(one["tool"], one["take"]) for one in site.anyone.get(path, **moment).json()["items"]]

    assert said() == [(one, "Now worse."), (two, "Never good.")]
    assert said(position=first) == [(one, "Then good.")]
    assert said(position=second) == [(two, "Never good."), (one, "Then good.")]
    told = site.anyone.get(path, position=second, limit=1).json()
    assert told["position"] == second and said(as_of=told["as_of"]) == said(position=second)
    assert said(position=second, limit=1, cursor=told["next"]) == [(one, "Then good.")]
    page = site.anyone.get("/reviewers/ancient", {"Accept": "text/html"}, position=second).text
    assert "Then good." in page and "Now worse." not in page and "as they stood at entry" in page
    more = site.anyone.get("/reviewers/ancient", {"Accept": "text/html"}, position=second, limit=1).text
    assert f'href="/reviewers/ancient?position={second}&amp;cursor=' in more or f"?position={second}&cursor=" in more
    assert "immutable" not in site.anyone.get(path, position=second).headers["cache-control"]


def test_a_personas_moment_that_never_was_is_refused(site: Site) -> None:
    """Beyond the log there is nothing; two moments at once, and the future, are refused as for a tool."""
    site.add_tool(panel=[opinion("Refused")])
    path = "/v1/reviewers/refused"
    assert_problem(site.anyone.get(path, position=10**9), 404)
    assert pointers(assert_problem(site.anyone.get(path, position=3, as_of="2026-01-01T00:00:00Z"), 400)) == ["/as_of"]
    assert site.anyone.get(path, as_of="2000-01-01T00:00:00Z").json()["items"] == []
