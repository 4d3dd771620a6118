"""Reports of reviews over HTTP: by anybody, once, read by moderators alone, and decided on."""

from typing import Any

import pytest

from tests.support import calling
from tests.support.http import Site, assert_problem, pointers
from tests.support.processes import PATIENCE
from tests.support.reviewing import decide, queue, report, shown, submit

WORDS = "The same sentence stands below nine other tools."


@pytest.fixture
def review(site: Site, tool: str) -> str:
    """A public review of the tool."""
    made: str = submit(site.visitor(), tool)["id"]
    assert shown(site, tool, decide(site, made))
    return made


def reported(site: Site, review: str, after: int) -> dict[str, Any] | None:
    """Give the reports of a review that wait for a moderator, as the queue has them."""
    return next((item["reports"] for item in queue(site, "reported", after) if item["id"] == review), None)


def test_a_report_reaches_the_moderators(site: Site, tool: str, review: str) -> None:
    """The queue counts reports by ground and shows their words; one visitor counts once, and nothing says who reported."""
    ada, bob = site.visitor(), site.visitor()
    first = report(ada, tool, review, words=WORDS)
    assert report(ada, tool, review, ground="private") == first
    last = report(bob, tool, review, ground="ties")
    found = reported(site, review, last)
    assert found is not None
    assert (found["count"], found["grounds"], found["through"]) == (2, {"fake": 1, "ties": 1}, last)
    assert [(one["ground"], one["words"]) for one in found["latest"]] == [("ties", None), ("fake", WORDS)]
    assert ada.visitor not in str(queue(site, "reported", last))


def test_a_kept_review_answers_the_reports_that_were_read(site: Site, tool: str, review: str) -> None:
    """Keeping a review answers the reports up to the one that was read last; a later one waits."""
    read, later = report(site.visitor(), tool, review), report(site.visitor(), tool, review, ground="offensive")
    at = decide(site, review, "keep", through=read)
    found = reported(site, review, at)
    assert found is not None
    assert (found["count"], found["grounds"]) == (1, {"offensive": 1})
    at = decide(site, review, "keep", through=later)
    assert reported(site, review, at) is None
    assert len(shown(site, tool, at)) == 1


def test_a_removed_review_is_gone_and_its_author_told_why(site: Site, tool: str) -> None:
    """Taking a reported review down answers its reports, even while an edit waits; the edit can still be decided on."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    decide(site, review)
    report(site.visitor(), tool, review)
    me.patch(f"/v1/reviews/{review}", {"score": 3})
    at = decide(site, review, "remove", ground="fake")
    assert (shown(site, tool, at), reported(site, review, at)) == ([], None)
    own = me.get(f"/v1/reviews/{review}").json()
    assert (own["status"], own["published"]) == ("pending", None)
    decide(site, review, "reject", ground="ties", reason="You work there.")
    own = me.get(f"/v1/reviews/{review}").json()
    assert (own["status"], own["ground"], own["reason"]) == ("rejected", "ties", "You work there.")


def test_a_reporters_words_go_with_the_reporter(site: Site, tool: str, review: str) -> None:
    """Words are sealed in the log, and whoever wrote a report can erase it."""
    ada = site.visitor()
    report(ada, tool, review, words="A sentence nobody may find.")
    assert "sentence" not in site.operator.get("/v1/ops/events", after=max(0, site.head() - 20), limit=100).text
    erased = ada.delete("/v1/visitors/me").json()
    assert reported(site, review, erased["position"]) is None
    assert_problem(ada.post(f"/v1/tools/{tool}/reviews/{review}/reports", {"ground": "fake"}), 403)


def test_only_what_is_public_can_be_reported(site: Site, tool: str, review: str) -> None:
    """A pending review, another tool's and an unknown one are not found; without a visitor's token it is 401."""
    me = site.visitor()
    pending, other = submit(me, tool)["id"], site.add_tool()
    for path in (f"{tool}/reviews/{pending}", f"{other}/reviews/{review}", f"{tool}/reviews/{'A' * 22}"):
        assert_problem(me.post(f"/v1/tools/{path}/reports", {"ground": "fake"}), 404)
    assert_problem(site.anyone.post(f"/v1/tools/{tool}/reviews/{review}/reports", {"ground": "fake"}), 401)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/ground"),
        ({"ground": "dull"}, "/ground"),
        ({"ground": "fake", "words": ""}, "/words"),
        ({"ground": "fake", "words": "x" * 1001}, "/words"),
        ({"ground": "fake", "words": "a\u202eb"}, "/words"),
        ({"ground": "fake", "who": "me"}, "/who"),
    ],
)
def test_a_bad_report_names_what_is_wrong(site: Site, tool: str, review: str, body: object, pointer: str) -> None:
    """What is no report is a 400 that points at it."""
    answer = site.visitor().post(f"/v1/tools/{tool}/reviews/{review}/reports", body)
    assert pointers(assert_problem(answer, 400)) == [pointer]


def test_a_review_is_reported_without_script(site: Site, tool: str, review: str) -> None:
    """The tool's page leads to a form, which reports the review and leads back to a page that says so."""
    form = f"/tools/{tool}/reviews/{review}/report"
    assert form in site.anyone.get(f"/tools/{tool}").text
    assert "What is wrong with it?" in site.anyone.get(form).text
    with calling.Client(base_url=site.client.base_url, follow_redirects=True, timeout=PATIENCE) as browser:
        page = browser.post(f"{form}s", data={"ground": "fake", "words": WORDS}, headers={"Sec-Fetch-Site": "same-origin"})
    assert "A moderator will look at that review." in page.text
    found = reported(site, review, site.head())
    assert found is not None
    assert [one["words"] for one in found["latest"]] == [WORDS]
