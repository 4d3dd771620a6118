"""The operators' log: in plain words what each did, as far as the caller's scopes open it, filtered, paged, and as a file."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.commands.catalog import ImportCatalog
from events.commands.erasure import EraseVisitor
from events.commands.quarantine import DropEvent
from events.commands.voters import CorrectVoters
from events.log.committer import Committer
from events.log.event import Event
from events.registry import REGISTRY
from projections.cards import tallies_at_head
from services.clock import fresh_id
from services.newsletter import issues
from services.operators import log
from services.operators.deeds import ACTS as ACTS_OF
from services.operators.deeds import DEEDS, KINDS, LOGGED, NAMED, SCOPES, TYPES
from services.operators.log import TOP, Asked
from services.settings import SCOPES as ALL_SCOPES
from services.settings import OperatorToken
from tests.support.catalogs import file, tool
from tests.support.cohorts import cast
from tests.support.runners import catch_up_all
from tests.support.settings import settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client

ANN = OperatorToken(name="ann", scopes=ALL_SCOPES, token="token-of-ann-in-the-tests")
MOD = OperatorToken(name="mod", scopes=frozenset({"moderate"}), token="token-of-a-moderator-of-tests")
READER = OperatorToken(name="reader", scopes=frozenset({"read"}), token="token-of-a-reader-of-the-tests")
OPERATORS = (ANN, MOD, READER)
ACTS = """
insert into operators.acts (position, operator, kind, subject, about)
select h.position, a.* from log.head h, (values
    ('ann', 'signed-in', 'session-of-ann', 'oidc'),
    ('ann', 'ended-session', 'session-of-mod', 'mod'),
    ('mod', 'signed-in', 'session-of-mod', 'token')
) a
"""
FILL = """
insert into log.events (stream, position, recorded_at, version, schema_version, type, data, meta)
select gen_random_uuid(), n, now(), 1, 1, case when n % 4 = 0 then 'ToolAdded' else 'VoteCast' end, '{}',
       case when n % 4 = 0 then '{"operator": "cat"}'::jsonb end
from generate_series(1, 8000) n
"""


@pytest.fixture
async def http(dsn: str, valkey_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A site with operators of several scopes."""
    async with client(settings(dsn, valkey_url, operator_tokens=OPERATORS)) as made:
        yield made


def bearer(operator: OperatorToken) -> dict[str, str]:
    """Return the header of an operator's program."""
    return {"authorization": f"Bearer {operator.token}"}


async def actions(http: httpx.AsyncClient, caller: OperatorToken = ANN, **query: Any) -> list[dict[str, Any]]:
    """Return the actions that an operator is shown."""
    answer = await http.get("/v1/ops/actions", params=query, headers=bearer(caller))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def told(items: list[dict[str, Any]]) -> list[str]:
    """Return the actions in words."""
    return [f"{one['operator']} {one['what']}" + (f": {one['reason']}" if one["reason"] else "") for one in items]


@pytest.fixture
async def happened(dsn: str, committer: Committer, connection: Any, http: httpx.AsyncClient) -> dict[str, str]:
    """What some operators did; the ids of the things concerned."""
    await committer.submit(ImportCatalog.of(file(tool("alpha"), tool("beta")), fresh_id, "cat"))
    alpha = await connection.fetchval("select data->>'tool' from log.events where data->>'slug' = 'alpha'")
    voters = await cast(committer, alpha, "ship", 3)
    await catch_up_all(dsn)
    review = {"verdict": "ship", "body": "It does what it says, and says what it does."}
    token = (await http.post("/v1/visitors")).json()
    me = {"authorization": f"Bearer {token['token']}"}
    reviewed = (await http.post("/v1/tools/alpha/reviews", json=review, headers=me)).json()["id"]
    decision = {"decision": "reject", "ground": "advertising", "reason": "=1+1"}
    done = await http.post(f"/v1/ops/reviews/{reviewed}/decision", json=decision, headers=bearer(MOD))
    assert done.status_code == 200, done.text
    correct = CorrectVoters(fresh_id(), voters, "One hand", tallies_at_head, reinstate=False, operator="judge")
    await committer.submit(correct)
    await committer.submit(DropEvent(["cards"], 10**9, "never written", "shell:dan"))
    await committer.submit(EraseVisitor(token["visitor"], "privacy"))
    await connection.execute(ACTS)
    await catch_up_all(dsn)
    return {"tool": alpha, "review": reviewed, "voter": voters[0], "visitor": token["visitor"]}


async def test_it_says_in_plain_words_who_did_what_and_why(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """Newest first, with the reason; what a correction is made of is told by its summary alone."""
    items = await actions(http)
    lines = told(items)
    assert lines[:3] == ["mod signed in by a token", "ann ended a session of mod", "ann signed in by the provider"]
    assert lines[-2:] == ["cat added Alpha", "cat added Beta"] or lines[-2:] == [
        "cat added Beta",
        "cat added Alpha",
    ]
    assert "mod rejected the review of Alpha: advertising, =1+1" in lines
    assert "judge disqualified 3 voters with 3 votes: One hand" in lines
    assert "shell:dan let cards skip position 1000000000: never written" in lines
    assert "privacy erased a person" in lines and "privacy destroyed the review of Alpha" in lines
    assert not any("disqualified a voter" in line for line in lines)
    positions = [one["position"] for one in items]
    assert positions == sorted(positions, reverse=True)
    by_type = {one["type"]: one for one in items}
    assert by_type["ReviewRejected"]["link"] == "/tools/alpha" and by_type["EventDropped"]["link"] == "/ops/quarantine"


async def test_what_was_erased_is_nowhere_in_it(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """Neither the text of the review nor its author is told, before and after; not in a file either."""
    for headers in ({}, {"accept": "text/csv"}, {"accept": "application/x-ndjson"}):
        text = (await http.get("/v1/ops/actions", headers=bearer(ANN) | headers)).text
        assert "does what it says" not in text and happened["visitor"] not in text


async def test_each_sees_what_their_scopes_open(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """A moderator sees decisions on reviews and their own sign-ins; a reader all that stands in the log, and no sign-ins."""
    assert told(await actions(http, MOD)) == [
        "mod signed in by a token",
        "mod rejected the review of Alpha: advertising, =1+1",
    ]
    assert await actions(http, MOD, kind="votes") == [] and await actions(http, MOD, operator="judge") == []
    kinds = {one["kind"] for one in await actions(http, READER)}
    assert kinds == {"catalog", "reviews", "votes", "quarantine", "erasures"}
    assert (await http.get("/v1/ops/actions")).status_code == 401


async def test_it_is_narrowed_to_one_thing(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """By a tool's slug or id, a review's, a voter's, or a stream: then also what a correction is made of is shown."""
    rejected = next(one for one in await actions(http) if one["type"] == "ReviewRejected")
    of_review = ["privacy destroyed the review of Alpha", "mod rejected the review of Alpha: advertising, =1+1"]
    for about, expected in (
        ("alpha", ["cat added Alpha"]),
        (happened["tool"], ["cat added Alpha"]),
        (happened["review"], of_review),
        (rejected["subject"], of_review),
        (happened["voter"], ["judge disqualified a voter with 1 ballot"]),
        ("nothing-of-the-kind", []),
    ):
        assert [line for line in told(await actions(http, about=about)) if "place for a review" not in line] == expected, about


async def test_it_is_narrowed_by_operator_kind_and_time(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """All filters hold together; times count from the first on, and end before the last."""
    assert {one["operator"] for one in await actions(http, operator="cat")} == {"cat"}
    for kind in ("reviews", "votes", "catalog", "quarantine", "erasures", "sessions"):
        found = await actions(http, kind=kind)
        assert found and {one["kind"] for one in found} == {kind}
    assert await actions(http, operator="cat", kind="reviews") == []
    everything = [one for one in await actions(http) if one["kind"] != "sessions"]
    middle = everything[len(everything) // 2]["at"]
    since, until = await actions(http, READER, since=middle), await actions(http, READER, until=middle)
    assert [one["position"] for one in since + until] == [one["position"] for one in everything]
    assert all(one["at"] >= middle for one in since) and all(one["at"] < middle for one in until)
    for time in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        for name in ("since", "until"):
            answer = await http.get("/v1/ops/actions", params={name: time}, headers=bearer(ANN))
            assert answer.status_code in (200, 400), (name, time)
    for wrong in ({"kind": "others"}, {"since": "yesterday"}, {"cursor": "x"}, {"limit": "0"}):
        assert (await http.get("/v1/ops/actions", params=wrong, headers=bearer(ANN))).status_code == 400


async def test_it_is_paged_by_position(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """Page by page all comes once and in order, also several acts at one position."""
    whole = await actions(http)
    for limit in (1, 2, 5):
        paged, cursor = list[dict[str, Any]](), None
        for _ in range(100):
            query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            answer = await http.get("/v1/ops/actions", params=query, headers=bearer(ANN))
            paged += answer.json()["items"]
            cursor = answer.json()["next"]
            if cursor is None:
                break
            assert f"cursor={cursor}" in answer.headers["link"]
        assert paged == whole and len(whole) > 9


async def test_a_file_holds_all_and_no_formula(http: httpx.AsyncClient, happened: dict[str, str]) -> None:
    """CSV and lines of JSON say the same; a reason that a spreadsheet would run is text."""
    whole = await actions(http)
    answer = await http.get("/v1/ops/actions", headers=bearer(ANN) | {"accept": "text/csv"})
    assert (
        answer.headers["content-type"] == "text/csv; charset=utf-8" and "actions.csv" in answer.headers["content-disposition"]
    )
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(int(row["position"]), row["what"]) for row in rows] == [(one["position"], one["what"]) for one in whole]
    answer = await http.get("/v1/ops/actions", headers=bearer(ANN) | {"accept": "application/x-ndjson"})
    assert [json.loads(line) for line in answer.text.splitlines()] == whole


async def test_no_cell_is_a_formula(http: httpx.AsyncClient, committer: Committer) -> None:
    """Whatever a reason begins with, the cell that is read back shows it as it is, behind a quote where one is needed."""
    reasons = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", 'a "b", c']
    for position, reason in enumerate(reasons, 7):
        await committer.submit(DropEvent(["cards"], position, reason, "=cmd|' /C calc'!A0"))
    answer = await http.get("/v1/ops/actions", headers=bearer(ANN) | {"accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["reason"].removeprefix("'") for row in reversed(rows)] == reasons
    for row in rows:
        assert row["operator"] == "'=cmd|' /C calc'!A0"
        assert not row["reason"].lstrip(" ").startswith(("=", "+", "-", "@", "\t"))


async def test_the_page_shows_an_import_as_a_line(
    http: httpx.AsyncClient, happened: dict[str, str], dsn: str, valkey_url: str
) -> None:
    """Alike actions of one batch are one line; filters stay in the links; names are offered to who may see them all."""
    given = settings(dsn, valkey_url, operator_tokens=OPERATORS)
    http.headers.update({"accept": "text/html", "cookie": await session_cookie(given, ANN)})
    page = (await http.get("/ops/actions")).text
    assert "and 1 more at once" in page and '<option value="judge">' in page
    assert "rejected the review of Alpha" in page and "advertising, =1+1" in page
    narrowed = (await http.get("/ops/actions?operator=cat&kind=&about=&since=&until=2999-01-01")).text
    assert "added Beta, and 1 more at once" in narrowed and "rejected" not in narrowed.split("<ol")[1]
    assert "/ops/actions/export?operator=cat&amp;until=2999-01-01&amp;form=csv" in narrowed
    export = await http.get("/ops/actions/export?operator=cat&until=2999-01-01&form=jsonl")
    assert [json.loads(line)["operator"] for line in export.text.splitlines()] == ["cat", "cat"]
    assert "Nothing found" in (await http.get("/ops/actions?since=2999-01-01")).text
    http.headers["cookie"] = await session_cookie(given, MOD)
    page = (await http.get("/ops/actions")).text
    assert "judge" not in page and "/ops/log/story" not in page and "as far as your scopes open it" in page


async def test_a_page_of_millions_costs_as_little(connection: Any) -> None:
    """Events are read by the index made for the question, so nothing rare is looked for among what is frequent."""
    await connection.execute(FILL)
    await connection.execute("analyze log.events")
    types = ["EventDropped", "ToolAdded"]
    for statement, more, index in (
        (log.ALL, (), "events_0_operators_idx"),
        (log.OF_OPERATOR, ("ann",), "events_0_operator_idx"),
        (log.OF_TYPES, (types,), "events_0_operator_type_idx"),
        (log.OF_BOTH, ("ann", types), "events_0_operator_each_type_idx"),
    ):
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"set plan_cache_mode = {mode}")
            plan = "\n".join(row[0] for row in await connection.fetch(f"explain {statement}", TOP.position, 0, 50, *more))
            assert index in plan and "Seq Scan" not in plan, plan
    plan = "\n".join(row[0] for row in await connection.fetch(f"explain {log.OPERATORS}", 10))
    assert "events_0_operator" in plan


async def test_what_is_done_to_the_mail_is_told(http: httpx.AsyncClient, connection: Any) -> None:
    """Holds, waivers and pauses are told with the name and reason, also what was taken back, to those with the scope alone."""
    await connection.execute(
        "insert into newsletter.holds (provider, refused, held_for, held_at, probe_at)"
        " values ('gmail.com', 10, 'no', now(), now())"
    )
    assert (await http.post("/v1/ops/holds/gmail.com/resumption", headers=bearer(ANN))).status_code == 200
    for _ in range(2):  # what isn't waived any more isn't taken back again
        await http.put("/v1/ops/mail-check/waiver", json={"reason": "A trial"}, headers=bearer(ANN))
    for _ in range(2):
        await http.delete("/v1/ops/mail-check/waiver", headers=bearer(ANN))
    await issues.set_paused(connection, "shell:dan", paused=True)
    await issues.set_paused(connection, "shell:dan", paused=False)
    found = await actions(http, kind="mail")
    assert told(found) == [
        "shell:dan let the newsletter go on",
        "shell:dan paused the newsletter",
        "ann let the first issue wait for the mail check again",
        *["ann let the first issue go though lines are red: A trial"] * 2,
        "ann let the held mails of gmail.com go on",
    ]
    assert [one["link"] for one in found] == [None, None, *["/ops/mail"] * 3, "/ops/holds"]
    for other in (MOD, READER):
        assert not [one for one in await actions(http, other) if one["kind"] == "mail"]


def test_every_event_that_an_operator_can_cause_has_words() -> None:
    """Each kind but one has its types or acts, each scope is one of ours, and no type is told that isn't an event."""
    names = {type_.__name__ for type_ in _subclasses(Event)}
    assert {type_ for type_ in DEEDS if type_[0].isupper()} <= names
    assert all(TYPES[kind] or ACTS_OF[kind] for kind in NAMED) and (*NAMED, "others") == KINDS
    assert {*KINDS} - {"sessions", "mail", "webhooks", "upkeep"} == LOGGED
    assert set(SCOPES.values()) <= ALL_SCOPES


OTHERS = {
    "BookmarksJoined", "IssueSent", "PreferencesSet", "ReviewEdited", "ReviewPlaced", "ReviewReported", "ReviewSubmitted",
    "SubscriberSuppressed", "SubscriptionConfirmed", "SubscriptionRequested", "TimeZoneSet", "ToolBookmarked",
    "UnsubscribeUndone", "Unsubscribed", "VoteCast", "VoteRetracted",
}  # fmt: skip
"""The types of what visitors, readers and the worker do."""


def test_the_manual_names_all_that_is_told_of() -> None:
    """Its table has every kind with every type of it, and each event of ours is there or nobody's at a desk."""
    manual = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ((?:`[\w-]+`(?:, )?)+) \|$", manual, re.MULTILINE)
    assert {kind: re.findall(r"[\w-]+", types) for kind, types in rows} == {k: [*TYPES[k], *ACTS_OF[k]] for k in NAMED}
    assert {name for name in REGISTRY.types if name not in DEEDS} == OTHERS


def _subclasses(type_: type) -> set[type]:
    return {one for child in type_.__subclasses__() for one in {child, *_subclasses(child)}}


async def test_it_is_asked_for_in_an_order_that_the_log_s_clock_gives(connection: Any, committer: Committer) -> None:
    """An empty log has no actions, and a span before the first event none either."""
    asked = Asked(kinds=frozenset(KINDS))
    assert await log.read(connection, asked, TOP, 10) == []
    await committer.submit(DropEvent(["cards"], 7, "why", "ann"))
    (one,) = await log.read(connection, asked, TOP, 10)
    until = Asked(kinds=frozenset(KINDS), until=one.at)
    since = Asked(kinds=frozenset(KINDS), since=one.at + timedelta(microseconds=1))
    assert [await log.read(connection, each, TOP, 10) for each in (until, since)] == [[], []]
