"""What a visitor is told of itself: in general, in full, and until it wants it gone."""

import httpx

from services.person.table import KEPT
from services.web.quotas import COPIES_PER_HOUR
from tests.support.http import Caller, Site, assert_problem
from tests.support.reviewing import TEXT, decide, report, submit

OWN = "/v1/visitors/me"
MINE = "/your-data/mine"
OTHERS_TEXT = "This is what somebody else wrote about the same tool."


def page(site: Site, me: Caller, path: str = MINE, **form: str) -> httpx.Response:
    """Open a page, or post a form of ours, as the visitor's browser would."""
    headers = {"Cookie": f"ballotpress_visitor={me.token}", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    return site.client.request("POST" if form else "GET", path, data=form, headers=headers)


def busy(site: Site, tool: str) -> Caller:
    """Make a visitor that voted twice, keeps the tool, reviewed it, had the review rejected, and reported another's."""
    me, other = site.visitor(), site.visitor()
    for choice in ("ship", "skip"):
        me.vote(tool, choice)
    assert me.put(f"/v1/bookmarks/{tool}", headers={"Idempotency-Key": "a-key-of-mine"}).status_code == 200
    review = submit(me, tool, display_name="Ada of the tests")["id"]
    decide(site, review, "reject", reason="too short", ground="off_topic")
    theirs = submit(other, tool, body=OTHERS_TEXT)["id"]
    position = report(me, tool, theirs, words="My words about it") if decide(site, theirs) else 0
    assert site.anyone.get("/v1/categories", after=position).status_code == 200
    return me


def test_a_visitor_gets_a_copy_of_everything(site: Site, tool: str) -> None:
    """Votes with their history, bookmarks, texts, decisions, words and receipts come back; nothing of another's does."""
    me = busy(site, tool)
    answer = me.get(OWN)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")
    copy = answer.json()
    assert copy["visitor"] == me.visitor
    (vote,), (bookmark,), (review,), (reported,) = copy["votes"], copy["bookmarks"], copy["reviews"], copy["reports"]
    assert (vote["tool"], vote["choice"], [step["choice"] for step in vote["history"]]) == (tool, "skip", ["ship", "skip"])
    assert (bookmark["tool"], bookmark["kept"], len(bookmark["history"])) == (tool, True, 1)
    steps = {step["what"]: step for step in review["history"]}
    assert (review["status"], steps["written"]["text"]) == ("rejected", TEXT)
    assert steps["written"]["display_name"] == "Ada of the tests"
    assert (steps["rejected"]["ground"], steps["rejected"]["reason"]) == ("off_topic", "too short")
    assert (reported["ground"], reported["words"]) == ("fake", "My words about it")
    assert [receipt["key"] for receipt in copy["receipts"]] == ["a-key-of-mine"]
    assert {counter["limit"] for counter in copy["counters"]} >= {"visitor", "copies"}
    assert OTHERS_TEXT not in answer.text
    assert {row["name"] for row in copy["explained"]} >= {"Votes", "Network marks", "Texts of reviews", "Reports", "Counters"}


def test_a_copy_is_made_so_often_and_for_its_visitor_alone(site: Site) -> None:
    """Without a token there is none; and nobody lets the site read all that there is again and again."""
    assert_problem(site.anyone.get(OWN), 401)
    me = site.visitor()
    answers = [me.get(OWN).status_code for _ in range(COPIES_PER_HOUR + 1)]
    assert answers == [200] * COPIES_PER_HOUR + [429]


def test_a_visitor_sees_on_a_page_what_is_kept_and_has_it_erased(site: Site, tool: str) -> None:
    """The page counts it and leads to the copy; its button needs a yes. Then text and bookmark are gone, and the vote stays."""
    me = busy(site, tool)
    shown = page(site, me)
    assert shown.headers["cache-control"] == "private, no-store"
    assert all(text in shown.text for text in ("Votes: on 1 tool", "Bookmarks: 1 kept", f'href="{OWN}"', "rejected"))
    assert me.visitor not in shown.text
    assert page(site, me, f"{MINE}/erase", sure="no").status_code == 400
    assert me.get(OWN).json()["bookmarks"][0]["kept"]
    erased = page(site, me, f"{MINE}/erase", sure="yes")
    assert erased.status_code == 303
    after = page(site, me, erased.headers["location"])
    assert "What you wrote is destroyed" in after.text and "is erased" in after.text
    copy = me.get(OWN).json()
    assert copy["votes"][0]["choice"] == "skip"
    assert [bookmark["kept"] for bookmark in copy["bookmarks"]] == [False]
    assert [step.get("text") for review in copy["reviews"] for step in review["history"] if step["what"] == "written"] == [None]
    assert copy["receipts"] == [] and len(copy["erasures"]) == 1
    assert_problem(me.put(f"/v1/bookmarks/{tool}"), 403)


def test_a_browser_without_a_cookie_is_told_that_nothing_is_kept(site: Site) -> None:
    """Opening the page gives nobody a number."""
    answer = site.anyone.get(MINE, {"Accept": "text/html"})
    assert "We keep nothing about this browser" in answer.text and "set-cookie" not in answer.headers


def test_the_page_for_everybody_says_every_row_of_the_table(site: Site) -> None:
    """What the table says about readers stands on /your-data in full: what, how long, why, and what an erasure leaves."""
    shown = " ".join(site.anyone.get("/your-data", {"Accept": "text/html"}).text.replace("&#39;", "'").split())
    for row in KEPT:
        if row.when != "operate":
            assert all(text in shown for text in (row.name, row.what, row.until, row.remains)), row.name
