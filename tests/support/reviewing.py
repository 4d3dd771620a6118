"""Readers' reviews over HTTP: submitted, decided on, reported, and read again."""

from typing import Any

from tests.support.http import Caller, Site

TEXT = "Ran it for a month on our own tickets;\n<b>it held up</b> & saved hours.  "


def submit(author: Caller, tool: str, **fields: Any) -> dict[str, Any]:
    """Submit a review; give the answer."""
    answer = author.post(f"/v1/tools/{tool}/reviews", {"verdict": "ship", "body": TEXT, **fields})
    assert answer.status_code == 202, answer.text
    given: dict[str, Any] = answer.json()
    return given


def decide(site: Site, review: str, decision: str = "approve", **fields: Any) -> int:
    """Decide on a review; give the position."""
    answer = site.operator_for("moderate").post(f"/v1/ops/reviews/{review}/decision", {"decision": decision, **fields})
    assert answer.status_code == 200, answer.text
    position: int = answer.json()["position"]
    return position


def shown(site: Site, tool: str, after: int, **parameters: Any) -> list[dict[str, Any]]:
    """List a tool's public reviews once the views have reached a position."""
    answer = site.anyone.get(f"/v1/tools/{tool}/reviews", after=after, **parameters)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def queue(site: Site, status: str, after: int) -> list[dict[str, Any]]:
    """Read the whole queue of a status."""
    moderator, items = site.operator_for("moderate"), []
    page = moderator.get("/v1/ops/reviews", status=status, after=after, limit=100)
    assert page.status_code == 200, page.text
    items += page.json()["items"]
    while page.json()["next"]:
        page = moderator.get(page.links["next"]["url"])
        items += page.json()["items"]
    return items


def report(caller: Caller, tool: str, review: str, **fields: Any) -> int:
    """Report a review; give the position."""
    answer = caller.post(f"/v1/tools/{tool}/reviews/{review}/reports", {"ground": "fake", **fields})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["review"], answer.json()["status"]) == (review, "reported")
    position: int = answer.json()["position"]
    return position
