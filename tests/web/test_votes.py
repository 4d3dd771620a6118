"""Votes over HTTP: what a vote answers, and that it is one vote whatever is repeated."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import Site, assert_problem, pointers


def test_a_votes_answer_counts_it(site: Site, tool: str) -> None:
    """Cast, repeated, changed, retracted: each answer has the tally with this vote, and the position of its event."""
    me = site.visitor()
    path = f"/v1/tools/{tool}/vote"
    first = me.put(path, {"choice": "ship"}).json()
    assert (first["tool"], first["choice"], first["community"]["ship"]) == (tool, "ship", 1)
    assert me.put(path, {"choice": "ship"}).json() == first
    changed = me.put(path, {"choice": "skip"}).json()
    assert (changed["community"]["ship"], changed["community"]["skip"]) == (0, 1)
    assert changed["position"] > first["position"]
    assert me.get(path).json() == {"tool": tool, "choice": "skip", "position": changed["position"]}
    gone = me.delete(path).json()
    assert (gone["choice"], gone["community"]["total"]) == (None, 0)
    assert me.delete(path).json()["position"] == gone["position"]
    assert me.get(path).json()["choice"] is None


def test_a_votes_answer_counts_the_votes_just_before_it(site: Site, tool: str) -> None:
    """Of visitors that vote one right after another, each answer counts all before it: no view needs to have followed."""
    answers = [site.visitor().put(f"/v1/tools/{tool}/vote", {"choice": "ship"}).json()["community"] for _ in range(30)]
    assert [one["ship"] for one in answers] == [*range(1, 31)]
    assert [one["settled"] for one in answers[:9]] == [None] * 7 + ["ship"] * 2


def test_a_visitor_without_a_vote_has_none(site: Site, tool: str) -> None:
    """Never voted is null, and retracting nothing is 200 without a position."""
    me = site.visitor()
    assert me.get(f"/v1/tools/{tool}/vote").json() == {"tool": tool, "choice": None, "position": None}
    assert me.delete(f"/v1/tools/{tool}/vote").json()["position"] is None


def test_a_write_is_seen_by_who_names_its_position(site: Site, tool: str) -> None:
    """With `after`, the next read of any view has the write in it."""
    for count in range(1, 11):
        position = site.visitor().vote(tool, "ship")
        assert site.anyone.get(f"/v1/tools/{tool}", after=position).json()["community"]["ship"] == count
        assert site.anyone.get(f"/v1/tools/{tool}/tally", after=position).json()["ship"] == count


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/choice"),
        ({"choice": "maybe"}, "/choice"),
        ({"choice": None}, "/choice"),
        ({"choice": 1}, "/choice"),
        ({"choice": "ship", "weight": 99}, "/weight"),
    ],
)
def test_a_bad_vote_names_what_is_wrong(site: Site, tool: str, body: object, pointer: str) -> None:
    """A vote that is none is a 400 that points at the field."""
    assert pointers(assert_problem(site.visitor().put(f"/v1/tools/{tool}/vote", body), 400)) == [pointer]


def test_a_repeated_key_answers_what_the_first_did(site: Site, tool: str) -> None:
    """The same Idempotency-Key and body give the first answer's vote again, though the visitor has voted otherwise since."""
    me = site.visitor()
    path = f"/v1/tools/{tool}/vote"
    key = {"Idempotency-Key": "one"}
    first = me.put(path, {"choice": "ship"}, key).json()
    me.vote(tool, "skip")
    again = me.put(path, {"choice": "ship"}, key).json()
    assert (again["choice"], again["position"]) == ("ship", first["position"])
    assert me.get(path).json()["choice"] == "skip"


def test_a_key_is_for_one_request_of_one_visitor(site: Site, tool: str) -> None:
    """Another body or method under a key is 422; another visitor's key is another's."""
    me, other = site.visitor(), site.visitor()
    path = f"/v1/tools/{tool}/vote"
    key = {"Idempotency-Key": "one"}
    assert me.put(path, {"choice": "ship"}, key).status_code == 200
    assert_problem(me.put(path, {"choice": "skip"}, key), 422)
    assert_problem(me.delete(path, key), 422)
    assert other.put(path, {"choice": "skip"}, key).status_code == 200


@pytest.mark.parametrize("key", ["", "k" * 256, "caf\u00e9"])
def test_a_bad_key_is_refused(site: Site, tool: str, key: str) -> None:
    """An Idempotency-Key that isn't 1 to 255 visible characters is a 400 that names it."""
    headers = {b"Idempotency-Key": key.encode("latin-1"), b"Authorization": f"Bearer {site.visitor().token}".encode()}
    answer = site.client.put(f"/v1/tools/{tool}/vote", json={"choice": "ship"}, headers=list(headers.items()))
    site.client.cookies.clear()
    assert pointers(assert_problem(answer, 400)) == ["/Idempotency-Key"]


def test_parallel_retries_are_one_vote(site: Site, tool: str) -> None:
    """One visitor's votes that race each other, with and without keys, come to one."""
    me = site.visitor()

    def vote(number: int) -> int:
        key = {"Idempotency-Key": "same"} if number % 2 else {}
        return me.put(f"/v1/tools/{tool}/vote", {"choice": "ship"}, key).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(vote, range(24))) == {200}
    assert me.put(f"/v1/tools/{tool}/vote", {"choice": "ship"}).json()["community"]["total"] == 1


def test_the_cookie_votes_and_bearer_wins(site: Site, tool: str) -> None:
    """The visitor's token counts from the cookie too; a Bearer token silences the cookie, valid or not."""
    me, other = site.visitor(), site.visitor()
    path, cookie = f"/v1/tools/{tool}/vote", {"Cookie": f"ballotpress_visitor={me.token}"}
    answer = site.client.put(path, json={"choice": "ship"}, headers=cookie)
    assert answer.json()["choice"] == "ship"
    assert me.get(path).json()["choice"] == "ship"
    assert other.get(path, cookie).json()["choice"] is None
    forged = site.client.get(path, headers={**cookie, "Authorization": "Bearer forged"})
    assert_problem(forged, 401)


def test_an_unlisted_tool_takes_no_votes(site: Site, tool: str) -> None:
    """A tool off the site is 404, and back on it, its votes are still there."""
    me = site.visitor()
    me.vote(tool, "ship")
    site.add_tool(slug=tool, listed=False)
    assert_problem(me.put(f"/v1/tools/{tool}/vote", {"choice": "skip"}), 404)
    assert_problem(me.get(f"/v1/tools/{tool}/vote"), 404)
    site.add_tool(slug=tool, listed=True)
    assert me.get(f"/v1/tools/{tool}/vote").json()["choice"] == "ship"
