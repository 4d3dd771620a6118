"""What a visitor did with tools, over HTTP: from the log, for its own eyes alone."""

import pytest

from tests.support.http import Site, assert_problem, pointers

OWN = "/v1/visitors/me/tools"
NOTHING = {"choice": None, "bookmarked": False, "review": None}
REVIEW = {"verdict": "ship", "body": "It does what it says, and says what it does."}


def test_a_visitor_sees_each_choice_bookmark_and_review(site: Site) -> None:
    """Votes, bookmarks and the state of reviews come back at once, in the order asked; nobody may keep the answer."""
    me, (one, two) = site.visitor(), (site.add_tool(), site.add_tool())
    me.vote(one, "skip")
    me.put(f"/v1/bookmarks/{two}")
    review = me.post(f"/v1/tools/{two}/reviews", REVIEW).json()["id"]
    answer = me.get(f"{OWN}?tool={two}&tool={one}&tool={two}")
    assert answer.json()["items"] == [
        {"tool": two, "choice": None, "bookmarked": True, "review": {"id": review, "status": "pending"}},
        {"tool": one, "choice": "skip", "bookmarked": False, "review": None},
    ]
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("private, no-store", "Authorization, Cookie")


def test_a_review_is_followed_through_decision_edit_and_withdrawal(site: Site, tool: str) -> None:
    """Its status is that of its last event; withdrawn, there is none."""
    me = site.visitor()
    review = me.post(f"/v1/tools/{tool}/reviews", REVIEW).json()["id"]

    def status() -> str | None:
        found = me.get(f"{OWN}?tool={tool}").json()["items"][0]["review"]
        return found and str(found["status"])

    assert status() == "pending"
    assert site.operator.post(f"/v1/ops/reviews/{review}/decision", {"decision": "approve"}).status_code == 200
    assert status() == "approved"
    me.patch(f"/v1/reviews/{review}", {"verdict": "skip"})
    assert status() == "pending"
    assert site.operator.post(f"/v1/ops/reviews/{review}/decision", {"decision": "reject"}).status_code == 200
    assert status() == "rejected"
    me.delete(f"/v1/reviews/{review}")
    assert status() is None


def test_whoever_is_no_visitor_did_nothing(site: Site, tool: str) -> None:
    """Without a token, or with a forged one, the states are empty; another visitor's acts are in none of them."""
    site.visitor().vote(tool, "ship")
    for caller in (site.anyone, site.visitor()):
        assert caller.get(f"{OWN}?tool={tool}").json() == {"items": [{"tool": tool, **NOTHING}]}
    forged = site.anyone.get(f"{OWN}?tool={tool}", headers={"Authorization": "Bearer made.up"})
    assert forged.json() == {"items": [{"tool": tool, **NOTHING}]}


def test_an_erased_visitor_keeps_its_votes_alone(site: Site, tool: str) -> None:
    """After an erasure the vote is still counted and so still shown; bookmark and review are gone."""
    me = site.visitor()
    me.vote(tool, "ship")
    me.put(f"/v1/bookmarks/{tool}")
    me.post(f"/v1/tools/{tool}/reviews", REVIEW)
    me.delete("/v1/visitors/me")
    assert me.get(f"{OWN}?tool={tool}").json()["items"] == [{**NOTHING, "tool": tool, "choice": "ship"}]


def test_what_is_no_tool_is_left_out(site: Site, tool: str) -> None:
    """A page may still show a tool that was taken off the site: the answer is about the others."""
    me = site.visitor()
    assert [item["tool"] for item in me.get(f"{OWN}?tool=no-such-tool&tool={tool}").json()["items"]] == [tool]
    assert pointers(assert_problem(me.get(f"{OWN}?tool={tool}&tool=%C3%A9%3C"), 400)) == ["/tool/1"]


@pytest.mark.parametrize("count", [0, 51])
def test_at_most_fifty_tools_are_asked_for_at_once(site: Site, count: int) -> None:
    """None and more than fifty are refused in a way that names the parameter."""
    answer = site.anyone.get(f"{OWN}?{'&'.join(f'tool=t-{number}' for number in range(count))}")
    assert pointers(assert_problem(answer, 400)) == ["/tool"]
