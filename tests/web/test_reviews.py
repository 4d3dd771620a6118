"""Readers' reviews over HTTP: pending, public, edited, withdrawn; moderated by revision."""

from typing import Any

import pytest

from tests.support.http import Site, assert_problem, pointers
from tests.support.reviewing import TEXT, decide, queue, shown, submit


def test_a_review_is_public_once_approved(site: Site, tool: str) -> None:
    """Pending, it is shown to nobody but its author; approved, as written, with nothing that says who wrote it."""
    me = site.visitor()
    made = submit(me, tool, score=78, display_name="Ada")
    assert (made["status"], shown(site, tool, made["position"])) == ("pending", [])
    own = me.get(f"/v1/reviews/{made['id']}").json()
    assert (own["body"], own["display_name"], own["score"], own["status"]) == (TEXT, "Ada", 78, "pending")
    assert (own["tool"], own["revision"], own["published"]) == (tool, 1, None)
    (item,) = shown(site, tool, decide(site, made["id"]))
    assert set(item) == {"id", "verdict", "score", "body", "display_name", "published_at", "ties"}
    assert (item["id"], item["verdict"], item["score"], item["body"], item["display_name"]) == (
        made["id"],
        "ship",
        78,
        TEXT,
        "Ada",
    )


def test_an_edit_waits_while_the_approved_text_stays_up(site: Site, tool: str) -> None:
    """An edit is pending; the author sees both, the public the approved one, until the edit is approved."""
    me = site.visitor()
    review = submit(me, tool, score=50, display_name="Ada")["id"]
    decide(site, review)
    edited = me.patch(f"/v1/reviews/{review}", {"body": "y" * 20, "score": None}).json()
    assert (edited["status"], edited["revision"], edited["body"], edited["score"]) == ("pending", 2, "y" * 20, None)
    assert edited["published"]["body"] == TEXT
    assert shown(site, tool, edited["position"])[0]["body"] == TEXT
    (item,) = shown(site, tool, decide(site, review))
    assert (item["body"], item["score"], item["display_name"]) == ("y" * 20, None, "Ada")


def test_the_same_words_are_no_edit(site: Site, tool: str) -> None:
    """A PATCH that changes nothing appends nothing: what was approved stays so."""
    me = site.visitor()
    review = submit(me, tool, display_name="Ada")["id"]
    position = decide(site, review)
    for body in ({}, {"body": TEXT}, {"display_name": "Ada", "verdict": "ship", "score": None}):
        same = me.patch(f"/v1/reviews/{review}", body).json()
        assert (same["status"], same["revision"], same["position"]) == ("approved", 1, position)


def test_a_withdrawn_review_is_gone_and_may_be_written_anew(site: Site, tool: str) -> None:
    """Withdrawing takes it off the page and from its author; twice is 200; then the place is free."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    decide(site, review)
    gone = me.delete(f"/v1/reviews/{review}")
    assert (gone.status_code, gone.json()["status"]) == (200, "withdrawn")
    assert shown(site, tool, gone.json()["position"]) == []
    again = me.delete(f"/v1/reviews/{review}")
    assert (again.status_code, again.json()["status"]) == (200, "withdrawn")
    assert_problem(me.get(f"/v1/reviews/{review}"), 404)
    assert_problem(me.patch(f"/v1/reviews/{review}", {"score": 1}), 404)
    assert submit(me, tool)["id"] != review


def test_a_second_review_is_refused_with_the_firsts_id(site: Site, tool: str) -> None:
    """One review per visitor and tool: a second is 409 and says which there is."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    problem = assert_problem(me.post(f"/v1/tools/{tool}/reviews", {"verdict": "skip", "body": TEXT}), 409)
    assert problem["id"] == review


def test_a_retried_submission_is_one_review(site: Site, tool: str) -> None:
    """The same Idempotency-Key gives the first submission's id."""
    me = site.visitor()
    body, key = {"verdict": "ship", "body": TEXT}, {"Idempotency-Key": "r"}
    first, again = (me.post(f"/v1/tools/{tool}/reviews", body, key).json() for _ in range(2))
    assert first == again


def test_a_review_is_its_authors_alone(site: Site, tool: str) -> None:
    """To another visitor a review is not there, approved or not."""
    review, other = submit(site.visitor(), tool)["id"], site.visitor()
    decide(site, review)
    assert_problem(other.get(f"/v1/reviews/{review}"), 404)
    assert_problem(other.patch(f"/v1/reviews/{review}", {"body": "x" * 30}), 404)
    assert_problem(other.delete(f"/v1/reviews/{review}"), 404)


def test_an_authors_answers_are_kept_by_nobody(site: Site, tool: str) -> None:
    """What an author reads or writes isn't stored on the way."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    for answer in (me.get(f"/v1/reviews/{review}"), me.patch(f"/v1/reviews/{review}", {"score": 3})):
        assert answer.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"body": "too short"}, "/body"),
        ({"body": " " * 30}, "/body"),
        ({"body": " " * 30 + "x" * 19}, "/body"),
        ({"body": "x" * 4001}, "/body"),
        ({"body": "x" * 30 + "\0"}, "/body"),
        ({"body": None}, "/body"),
        ({"verdict": "mixed"}, "/verdict"),
        ({"score": 101}, "/score"),
        ({"score": -1}, "/score"),
        ({"score": 7.5}, "/score"),
        ({"score": "7"}, "/score"),
        ({"display_name": ""}, "/display_name"),
        ({"display_name": "   "}, "/display_name"),
        ({"display_name": "x" * 61}, "/display_name"),
        ({"display_name": "a\nb"}, "/display_name"),
        ({"display_name": "a\u202eb"}, "/display_name"),
        ({"display_name": "a\u2066b"}, "/display_name"),
        ({"display_name": "a\x1bb"}, "/display_name"),
        ({"ties": "a little"}, "/ties"),
        ({"surprise": 1}, "/surprise"),
    ],
)
def test_a_bad_review_names_what_is_wrong(site: Site, tool: str, fields: dict[str, Any], pointer: str) -> None:
    """What a review can't say is a 400 that points at it, when it is written and when it is edited."""
    me = site.visitor()
    bad = me.post(f"/v1/tools/{tool}/reviews", {"verdict": "ship", "body": TEXT, **fields})
    assert pointers(assert_problem(bad, 400)) == [pointer]
    review = submit(me, tool)["id"]
    assert pointers(assert_problem(me.patch(f"/v1/reviews/{review}", fields), 400)) == [pointer]


def test_ties_stand_beside_the_review(site: Site, tool: str) -> None:
    """What an author tells of ties is public with the review and can be changed; who doesn't tell is shown as such."""
    me, other = site.visitor(), site.visitor()
    review, silent = submit(me, tool, ties="given")["id"], submit(other, tool)["id"]
    waiting = {item["id"]: item["ties"] for item in queue(site, "pending", site.head())}
    assert (waiting[review], waiting[silent]) == ("given", None)
    decide(site, silent)
    assert [item["ties"] for item in shown(site, tool, decide(site, review))] == ["given", None]
    edited = me.patch(f"/v1/reviews/{review}", {"ties": "works_there"}).json()
    assert (edited["ties"], edited["published"]["ties"]) == ("works_there", "given")
    page = site.anyone.get(f"/tools/{tool}", after=decide(site, review)).text
    assert "<span>Works there</span>" in page and "<span>Ties not disclosed</span>" in page


def test_lengths_count_characters_without_the_space_around(site: Site, tool: str) -> None:
    """20 to 4,000 characters are characters, not bytes, and the text is kept as written."""
    me = site.visitor()
    text = "\n " + "\U0001f6a2" * 4000 + " \n"
    review = submit(me, tool, body=text, display_name="\u00e9" * 60)["id"]
    assert me.get(f"/v1/reviews/{review}").json()["body"] == text


def test_public_reviews_page_newest_first(site: Site, tool: str) -> None:
    """The last approved comes first, and pages hold each once."""
    reviews = [submit(site.visitor(), tool)["id"] for _ in range(5)]
    position = [decide(site, review) for review in reviews][-1]
    page = site.anyone.get(f"/v1/tools/{tool}/reviews", limit=2, after=position)
    seen = [item["id"] for item in page.json()["items"]]
    while page.json()["next"]:
        page = site.anyone.get(page.links["next"]["url"])
        seen += [item["id"] for item in page.json()["items"]]
    assert seen == reviews[::-1]


def test_public_reviews_carry_an_etag(site: Site, tool: str) -> None:
    """Known by its ETag, the list isn't sent again, until it changes."""
    path = f"/v1/tools/{tool}/reviews"
    etag = site.anyone.get(path).headers["etag"]
    assert site.anyone.get(path, headers={"If-None-Match": etag}).status_code == 304
    position = decide(site, submit(site.visitor(), tool)["id"])
    assert site.anyone.get(path, after=position, headers={"If-None-Match": etag}).status_code == 200


def test_a_moderator_finds_what_waits(site: Site, tool: str) -> None:
    """The queue has each pending revision as written, oldest first, under its tool's slug."""
    me, other = site.visitor(), site.visitor()
    first, second = submit(me, tool, score=5, display_name="Ada"), submit(other, tool)
    position = me.patch(f"/v1/reviews/{first['id']}", {"score": 6}).json()["position"]
    mine = [item for item in queue(site, "pending", position) if item["tool"] == tool]
    assert [item["id"] for item in mine] == [first["id"], second["id"]]
    assert (mine[0]["revision"], mine[0]["score"], mine[0]["body"], mine[0]["display_name"]) == (2, 6, TEXT, "Ada")
    assert mine[0]["status"] == "pending"
    position = decide(site, first["id"])
    assert first["id"] not in [item["id"] for item in queue(site, "pending", position)]
    assert first["id"] in [item["id"] for item in queue(site, "approved", position)]


def test_a_decision_on_an_old_revision_is_refused(site: Site, tool: str) -> None:
    """A decision that names a revision edited since is 409 and says which is current; one without is about the current one."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    me.patch(f"/v1/reviews/{review}", {"score": 1})
    path = f"/v1/ops/reviews/{review}/decision"
    problem = assert_problem(site.operator.post(path, {"decision": "approve", "revision": 1}), 409)
    assert problem["revision"] == 2
    assert site.operator.post(path, {"decision": "approve", "revision": 2}).json()["status"] == "approved"


def test_a_rejection_tells_the_author_why(site: Site, tool: str) -> None:
    """A rejected review isn't shown, its author reads the reason, and rejecting again changes nothing."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    position = decide(site, review, "reject", reason="An advertisement.")
    assert shown(site, tool, position) == []
    own = me.get(f"/v1/reviews/{review}").json()
    assert (own["status"], own["reason"]) == ("rejected", "An advertisement.")
    assert decide(site, review, "reject", reason="An advertisement.") == position


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/decision"),
        ({"decision": "maybe"}, "/decision"),
        ({"decision": "approve", "revision": 0}, "/revision"),
        ({"decision": "approve", "revision": 2**40}, "/revision"),
        ({"decision": "reject", "reason": "a\nb"}, "/reason"),
        ({"decision": "reject", "why": "x"}, "/why"),
        ({"decision": "reject", "ground": "dull"}, "/ground"),
        ({"decision": "keep"}, "/through"),
    ],
)
def test_a_bad_decision_names_what_is_wrong(site: Site, tool: str, body: object, pointer: str) -> None:
    """What is no decision is a 400 that points at it."""
    review = submit(site.visitor(), tool)["id"]
    answer = site.operator.post(f"/v1/ops/reviews/{review}/decision", body)
    assert pointers(assert_problem(answer, 400)) == [pointer]


def test_a_decision_needs_a_review(site: Site, tool: str) -> None:
    """A review that isn't there, or was withdrawn, can't be decided on."""
    me = site.visitor()
    review = submit(me, tool)["id"]
    me.delete(f"/v1/reviews/{review}")
    for id_ in (review, "A" * 22):
        assert_problem(site.operator.post(f"/v1/ops/reviews/{id_}/decision", {"decision": "approve"}), 404)


def test_a_visitor_erases_what_it_wrote(site: Site, tool: str) -> None:
    """Reviews and bookmarks go, votes stay counted; a second time there is nothing left to erase."""
    me = site.visitor()
    me.vote(tool, "ship")
    me.put(f"/v1/bookmarks/{tool}")
    review = submit(me, tool)["id"]
    decide(site, review)
    erased = me.delete("/v1/visitors/me").json()
    assert (erased["visitor"], erased["reviews"], erased["bookmarks"]) == (me.visitor, 1, 1)
    assert shown(site, tool, erased["position"]) == []
    assert me.get("/v1/bookmarks", after=erased["position"]).json()["items"] == []
    assert site.anyone.get(f"/v1/tools/{tool}").json()["community"]["total"] == 1
    assert_problem(me.get(f"/v1/reviews/{review}"), 404)
    again = me.delete("/v1/visitors/me").json()
    assert (again["reviews"], again["bookmarks"], again["position"]) == (0, 0, erased["position"])


def test_an_erased_visitor_writes_nothing_any_more(site: Site, tool: str) -> None:
    """Its token is 403 for votes, bookmarks and reviews, and may still read and take back; the visitor it asks for is new."""
    me = site.visitor()
    me.vote(tool, "ship")
    me.delete("/v1/visitors/me")
    for refused in (
        me.put(f"/v1/tools/{tool}/vote", {"choice": "skip"}),
        me.put(f"/v1/bookmarks/{tool}"),
        me.post(f"/v1/tools/{tool}/reviews", {"verdict": "ship", "body": "Twenty characters or a few more."}),
    ):
        assert_problem(refused, 403)
        assert "erased" in refused.json()["detail"]
    assert me.get(f"/v1/tools/{tool}/vote").json()["choice"] == "ship"
    assert me.delete(f"/v1/tools/{tool}/vote").json()["choice"] is None
    anew = me.post("/v1/visitors")
    assert (anew.status_code, anew.json()["visitor"] != me.visitor) == (201, True)


def test_erasure_of_nobody_is_nothing(site: Site) -> None:
    """A visitor without any event has nothing to erase, and nothing is recorded."""
    erased = site.visitor().delete("/v1/visitors/me").json()
    assert (erased["reviews"], erased["bookmarks"], erased["position"]) == (0, 0, None)


def test_no_word_of_a_review_is_in_the_log(site: Site, tool: str) -> None:
    """The events of a review hold its text and name sealed only."""
    made = submit(site.visitor(), tool, body="A sentence nobody may find.", display_name="Adalovelace")
    events = site.operator.get("/v1/ops/events", stream=made["id"])
    assert [event["type"] for event in events.json()["items"]] == ["ReviewSubmitted"]
    assert "sentence" not in events.text
    assert "Adalovelace" not in events.text
