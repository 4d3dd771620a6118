"""What webhooks say: a function of the log, however it is cut up and whenever it is asked, that names nobody."""

import base64
import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from events import issues, reports, reviews, voters
from events.ballots import VoteCast
from events.catalog import PanelReviewPublished, PanelReviewRevised
from events.issues import IssueSent
from events.log import ids
from events.reports import ReviewReported
from events.reviews import ReviewEdited, ReviewSubmitted
from events.voters import CorrectionRecorded, ToolCorrected, VoterDisqualified
from projections.settled import settled
from projections.tally import verdict_of_a_look
from services.webhooks import spans
from services.webhooks.spans import Window
from tests.support.catalogs import new_id
from tests.support.log import record_at
from tests.support.runners import catch_up_all
from tests.support.webhooks import SPAN, START, Connection, Past, a_tool, a_vote, happen, said, told

pytestmark = pytest.mark.postgres


async def test_a_verdict_that_comes_and_goes_within_a_span_is_not_told(dsn: str, connection: Connection) -> None:
    """Each span tells at most one change of a tool's verdict, from before its first event to after its last."""
    past: Past = []
    tool = a_tool(past, "flips")
    for _ in range(8):
        a_vote(past, START + SPAN, tool, "ship")
    first = len(past)
    for n in range(3):
        a_vote(past, START + 2 * SPAN, tool, "skip" if n < 2 else "ship")
    await happen(dsn, connection, past)
    found = await told(connection)
    (looked,) = [one for one in found if one.kind == "verdict.changed"]
    data = said(looked)["data"]
    assert (data["tool"], data["of"]) == ("flips", "community") and looked.position == data["position"] < first
    assert [(data[when]["verdict"], data[when]["ship"]) for when in ("before", "after")] == [(None, 3), ("ship", 4)]


async def test_messages_are_what_a_fold_of_the_log_says_from_wherever(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same messages, byte for byte, whether the log is told at once, bit by bit, or again from any position on."""
    chance, past, at = random.Random(7), Past(), START
    tools = [a_tool(past, f"tool-{n}") for n in range(3)]
    lean = dict(zip(tools, (0.95, 0.5, 0.1), strict=True))
    for _ in range(400):
        at += timedelta(seconds=chance.choice([0, 0, 0.5, 1, 2, 7]))
        tool = chance.choice(tools)
        a_vote(past, at, tool, "ship" if chance.random() < lean[tool] else "skip")
    await happen(dsn, connection, past)
    whole = await told(connection)
    assert whole == sorted(whole, key=lambda one: (one.position, one.kind))
    monkeypatch.setattr(spans, "STRIDE", 3)
    for after in [0, *chance.sample(range(1, len(past)), 8)]:
        again = await told(connection, after)
        assert [(one.body, one.id_for("x")) for one in again] == [
            (one.body, one.id_for("x")) for one in whole if one.position > after
        ]
    assert len({one.id_for("x") for one in whole}) == len(whole) and whole[0].id_for("x") != whole[0].id_for("y")
    assert [(one.position, one.kind, said(one)["data"]["tool"]) for one in whole] == _folded(
        past, dict(zip(tools, range(3), strict=True))
    )


def _folded(past: Past, numbers: dict[str, int]) -> list[tuple[int, str, str]]:
    """Tell where verdicts changed from one span to the next, by counting."""
    counts: dict[str, list[int]] = {tool: [0, 0] for tool in numbers}
    before: dict[str, tuple[Any, Any]] = dict.fromkeys(numbers, (None, None))
    found, lasts = [], set[str]()

    def close() -> None:
        for tool in lasts:
            after = verdict_of_a_look(*counts[tool]), settled(*counts[tool])
            for n, kind in enumerate(("verdict.changed", "settled.changed")):
                if before[tool][n] != after[n]:
                    at = changes[tool, n][-1]
                    found.append((at, kind, f"tool-{numbers[tool]}"))
            before[tool] = after
        lasts.clear()
        changes.clear()

    changes: dict[tuple[str, int], list[int]] = {}
    present = None
    for position, (at, _, event) in enumerate(past, 1):
        span = int(at.timestamp()) // spans.SECONDS
        if span != present:
            close()
            present = span
        if isinstance(event, VoteCast):
            was = verdict_of_a_look(*counts[event.tool]), settled(*counts[event.tool])
            counts[event.tool][event.choice == "skip"] += 1
            now = verdict_of_a_look(*counts[event.tool]), settled(*counts[event.tool])
            for n in range(2):
                if was[n] != now[n]:
                    changes.setdefault((event.tool, n), []).append(position)
            lasts.add(event.tool)
    close()
    return sorted(found, key=lambda one: one[:2])


async def test_the_panel_a_correction_and_a_waiting_review_are_told(dsn: str, connection: Connection) -> None:
    """Each with what an integrator needs, and the slug as it was at the position."""
    past: Past = []
    tool = a_tool(past, "judged")
    stream = ids.stream_of(tool)
    for n, persona in enumerate(("Builder", "Skeptic", "Founder")):
        judged = PanelReviewPublished(tool=tool, persona=persona, verdict="ship", take="fine")
        past.append((START + SPAN * (1 + n), stream, judged))
    for persona in ("Builder", "Skeptic"):
        past.append((START + 5 * SPAN, stream, PanelReviewRevised(tool=tool, persona=persona, verdict="skip", take="no")))
    review, visitor, report = new_id(), new_id(), new_id()
    wrote = ReviewSubmitted(review=review, visitor=visitor, tool=tool, verdict="ship", text="c2VhbGVk", name="bmFtZQ==")
    edited = ReviewEdited(review=review, revision=2, verdict="skip", text="b3RoZXI=")
    reported = ReviewReported(report=report, visitor=new_id(), review=review, ground="fake", words="d29yZHM=")
    past += [(START + 6 * SPAN, reviews.stream(review), wrote), (START + 7 * SPAN, reviews.stream(review), edited)]
    past.append((START + 8 * SPAN, reports.stream(reported.visitor, review), reported))
    voter, correction = new_id(), new_id()
    out = VoterDisqualified(voter=voter, ballots=[], correction=correction)
    made = CorrectionRecorded(
        correction=correction, action="disqualified", reason='<script>"bought"', voters=1, votes=2,
        tools=[ToolCorrected(tool, (5, 1), (3, 1))],
    )  # fmt: skip
    past += [(START + 9 * SPAN, voters.stream(one), one) for one in (out, made)]
    await happen(dsn, connection, past)
    found = [(one.kind, said(one)["data"]) for one in await told(connection)]
    panel = [data for kind, data in found if kind == "verdict.changed"]
    assert [(one["of"], one["before"]["verdict"], one["after"]["verdict"]) for one in panel] == [
        ("panel", None, "ship"),
        ("panel", "ship", "skip"),
    ]
    waits = [data for kind, data in found if kind == "review.waits"]
    assert [one["why"] for one in waits] == ["submitted", "edited", "reported"]
    assert all(one.keys() == {"position", "review", "tool", "why"} and one["tool"] == "judged" for one in waits)
    (corrected,) = [data for kind, data in found if kind == "correction.made"]
    assert corrected["reason"] == '<script>"bought"' and (corrected["voters"], corrected["votes"]) == (1, 2)
    assert corrected["tools"] == [{"tool": "judged", "before": {"ship": 5, "skip": 1}, "after": {"ship": 3, "skip": 1}}]
    everything = msgspec.json.encode(found).decode()
    for secret in (visitor, voter, report, reported.visitor, correction, "c2VhbGVk", "bmFtZQ", "b3RoZXI", "d29yZHM"):
        assert secret not in everything
    assert base64.b64encode(b"sealed").decode() not in everything


async def test_a_span_is_told_once_it_is_over_and_the_views_have_it(dsn: str, connection: Connection) -> None:
    """What happened a moment ago waits for its span to end, and a view that lags holds the spans back that it lacks."""
    past: Past = []
    tool = a_tool(past, "late")
    a_vote(past, START + SPAN, tool, "ship")
    await record_at(connection, past)
    assert await spans.closed(connection) == 0
    await catch_up_all(dsn)
    assert await spans.closed(connection) == 2
    now: datetime = await connection.fetchval("select clock_timestamp()")
    coming: Past = []
    a_vote(coming, now + timedelta(seconds=60), tool, "ship")
    await happen(dsn, connection, coming)
    assert await spans.closed(connection) == 2
    assert await spans.window_after(connection, 2, 2) is None


async def test_a_window_is_whole_spans(dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many events a span has, it is in one window, from wherever in it the cursor stands."""
    monkeypatch.setattr(spans, "STRIDE", 2)
    past: Past = []
    tool = a_tool(past, "many")
    for n in range(6):
        a_vote(past, START + SPAN + timedelta(milliseconds=n), tool, "ship")
    a_vote(past, START + 2 * SPAN, tool, "ship")
    await happen(dsn, connection, past)
    begins = START + SPAN
    ended = {row["position"]: row["recorded_at"] for row in await connection.fetch("select * from log.events")}
    assert await spans.window_after(connection, 1, 8) == Window(1, 7, begins, ended[7])
    assert await spans.window_after(connection, 4, 8) == Window(1, 7, begins, ended[7])
    assert await spans.window_after(connection, 7, 8) == Window(7, 8, START + 2 * SPAN, ended[8])


async def test_an_issue_that_has_gone_out_is_told(dsn: str, connection: Connection) -> None:
    """By its number and counts, and no reader."""
    sent = IssueSent(issue=7, edition="weekly", planned=1000, accepted=990)
    await happen(dsn, connection, [(START, issues.stream(7), sent)])
    (found,) = await told(connection)
    assert found.kind == "issue.sent" and said(found)["data"] == {
        "position": 1, "issue": 7, "edition": "weekly", "planned": 1000, "accepted": 990,
    }  # fmt: skip
