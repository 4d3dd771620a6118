"""Bookmarks over HTTP: kept once each, newest first, nobody else's."""

from tests.support.http import Caller, Site, assert_problem


def kept(visitor: Caller, after: int | None, **parameters: object) -> list[str]:
    """List a visitor's bookmarks once the views have reached a position."""
    answer = visitor.get("/v1/bookmarks", after=after or 0, **parameters)
    assert answer.status_code == 200, answer.text
    return [tool["slug"] for tool in answer.json()["items"]]


def test_bookmarks_are_kept_once_each_newest_first(site: Site) -> None:
    """Kept again is no news; removed is gone, and removed again is 200."""
    me, (one, two) = site.visitor(), (site.add_tool(), site.add_tool())
    first = me.put(f"/v1/bookmarks/{one}").json()
    assert (first["tool"], first["bookmarked"]) == (one, True)
    second = me.put(f"/v1/bookmarks/{two}").json()
    assert me.put(f"/v1/bookmarks/{one}").json() == first
    assert kept(me, second["position"]) == [two, one]
    gone = me.delete(f"/v1/bookmarks/{two}").json()
    assert (gone["tool"], gone["bookmarked"]) == (two, False)
    assert kept(me, gone["position"]) == [one]
    assert me.delete(f"/v1/bookmarks/{two}").json() == gone


def test_letting_go_of_what_was_never_kept_is_fine(site: Site, tool: str) -> None:
    """A bookmark that never was has no position."""
    answer = site.visitor().delete(f"/v1/bookmarks/{tool}")
    assert (answer.status_code, answer.json()["position"]) == (200, None)


def test_bookmarks_are_whole_cards_and_nobody_elses(site: Site, tool: str) -> None:
    """The list has each tool as its page shows it, and another visitor's list has none of it."""
    me = site.visitor()
    position = me.put(f"/v1/bookmarks/{tool}").json()["position"]
    items = me.get("/v1/bookmarks", after=position).json()["items"]
    assert items == [site.anyone.get(f"/v1/tools/{tool}").json()]
    assert kept(site.visitor(), position) == []


def test_a_tool_off_the_site_is_left_out(site: Site) -> None:
    """An unlisted tool can't be kept and isn't listed among those that are; listed again, it is back."""
    me, (one, two) = site.visitor(), (site.add_tool(), site.add_tool())
    me.put(f"/v1/bookmarks/{one}")
    position = me.put(f"/v1/bookmarks/{two}").json()["position"]
    site.add_tool(slug=two, listed=False)
    assert kept(me, position) == [one]
    assert_problem(me.put(f"/v1/bookmarks/{two}"), 404)
    site.add_tool(slug=two, listed=True)
    assert kept(me, position) == [two, one]


def test_bookmarks_page(site: Site) -> None:
    """Pages hold all bookmarks once each; a cursor of mine opens nobody else's list."""
    me, slugs = site.visitor(), [site.add_tool() for _ in range(5)]
    position = [me.put(f"/v1/bookmarks/{slug}").json()["position"] for slug in slugs][-1]
    page = me.get("/v1/bookmarks", limit=2, after=position)
    seen = [tool["slug"] for tool in page.json()["items"]]
    assert_problem(site.visitor().get("/v1/bookmarks", cursor=page.json()["next"]), 400)
    while page.json()["next"]:
        page = me.get(page.links["next"]["url"])
        seen += [tool["slug"] for tool in page.json()["items"]]
    assert seen == slugs[::-1]


def test_a_disqualified_visitor_keeps_nothing_new(site: Site, tool: str) -> None:
    """A disqualified visitor's bookmarks are 403 until it is reinstated."""
    me = site.visitor()
    me.vote(tool, "ship")
    path = f"/v1/ops/voters/{me.visitor}/disqualification"
    assert site.operator.post(path, {"reason": "why"}).status_code == 200
    assert_problem(me.put(f"/v1/bookmarks/{tool}"), 403)
    assert site.operator.delete(path).status_code == 200
    assert me.put(f"/v1/bookmarks/{tool}").status_code == 200
