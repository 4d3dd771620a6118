"""The stream of tallies: told at once, then what changes, at most once a second, and resumed where it broke off."""

import time
from collections.abc import Callable

import pytest

from tests.support import calling
from tests.support.processes import PATIENCE
from tests.support.streams import streaming

Votes = Callable[[str, str, int], None]
COMMUNITY = {"ship", "skip", "total", "ship_percent", "verdict", "interval", "provisional", "flips_to_change"}
COMMUNITY |= {"settled", "settled_interval"}


def test_every_tool_asked_for_is_told_at_once_as_its_community_object(base: str) -> None:
    """A new viewer gets one event a tool: the community object and the tool."""
    with streaming(base, "stackwarden-pull-request-reviewer", "plinthcast") as stream:
        told = [stream.next(), stream.next()]
    assert {event.data["tool"] for event in told} == {"stackwarden-pull-request-reviewer", "plinthcast"}
    for event in told:
        tool = event.data.pop("tool")
        assert event.data == calling.get(f"{base}/v1/tools/{tool}").json()["community"]
        assert event.data.keys() == COMMUNITY


def test_a_storm_of_votes_is_one_event_a_second(base: str, votes: Votes) -> None:
    """However many votes come, a tool is told at most once a second, and the last event counts them all."""
    with streaming(base, "plinthcast") as stream:
        before = stream.next().data["total"]
        began = time.monotonic()
        votes("plinthcast", "ship", 120)
        told = [stream.next()]
        while told[-1].data["total"] < before + 120:
            told.append(stream.next())
    assert len(told) <= told[-1].at - began + 2
    assert [event.id for event in told] == sorted(event.id for event in told)


def test_a_lonely_vote_is_told(base: str, votes: Votes) -> None:
    """After a quiet second a single vote is told, without another one to push it."""
    with streaming(base, "swatchmoor") as stream:
        before = stream.next().data["total"]
        time.sleep(1.2)
        votes("swatchmoor", "skip", 1)
        assert stream.next().data["total"] == before + 1


def test_who_comes_back_is_told_what_changed_and_nothing_else(base: str, votes: Votes, own_tool: str) -> None:
    """Last-Event-ID leaves out what was told before, and only that; one beyond the log is as none."""
    with streaming(base, own_tool, "scribewren") as stream:
        last = max(stream.next().id, stream.next().id)
    with streaming(base, own_tool, "scribewren", headers={"Last-Event-ID": str(last)}) as stream:
        assert stream.is_quiet(1.5)
    votes(own_tool, "ship", 1)
    with streaming(base, own_tool, "scribewren", headers={"Last-Event-ID": str(last)}) as stream:
        event = stream.next()
        assert (event.data["tool"], event.data["total"]) == (own_tool, 1)
        assert stream.is_quiet(1.5)
    with streaming(base, own_tool, "scribewren", headers={"Last-Event-ID": str(10**12)}) as stream:
        assert {stream.next().data["tool"], stream.next().data["tool"]} == {own_tool, "scribewren"}


@pytest.mark.parametrize(
    ("query", "status"),
    [("tool=no-such-tool", 404), ("", 400), ("tool=A", 400), ("&".join(f"tool=t{n}" for n in range(51)), 400)],
)
def test_what_cannot_be_watched_is_refused(base: str, query: str, status: int) -> None:
    """Unknown tools, none at all, or too many are refused as problems."""
    answer = calling.get(f"{base}/v1/tallies/live?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_head_of_the_stream_ends(base: str) -> None:
    """HEAD answers the headers and ends."""
    answer = calling.head(f"{base}/v1/tallies/live?tool=ollama", timeout=PATIENCE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
