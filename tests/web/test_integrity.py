"""Cohorts over HTTP: the queue, the evidence that names nobody, decisions, and what readers are told while one waits."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from services.integrity.cohorts import Cohort
from tests.support import servers
from tests.support.catalogs import new_id
from tests.support.cohorts import suspect
from tests.support.http import Caller, Site, assert_problem
from tests.support.processes import wait_for

Suspect = Callable[..., tuple[Cohort, list[Caller]]]


@pytest.fixture
def suspects(postgres: servers.Postgres, site: Site, tool: str) -> Suspect:
    """Let new visitors vote on the test's tool, and keep their votes as a cohort; return it, and them."""

    async def keep(**more: Any) -> Cohort:
        connection = await asyncpg.connect(postgres.dsn("site"))
        try:
            id_ = await connection.fetchval("select data->>'tool' from log.events where data->>'slug' = $1", tool)
            return await suspect(connection, id_, **more)
        finally:
            await connection.close()

    def made(count: int = 3, **more: Any) -> tuple[Cohort, list[Caller]]:
        callers = [site.visitor() for _ in range(count)]
        position = [caller.vote(tool, "ship") for caller in callers][-1:]
        site.anyone.get("/v1/categories", after=position[0] if position else site.head())
        return asyncio.run(keep(**more)), callers

    return made


def decide(caller: Caller, cohort: Cohort, decision: str, **more: Any) -> Any:
    return caller.post(f"/v1/ops/integrity/{cohort.id}/decision", {"decision": decision, "reason": "one hand", **more})


def card(site: Site, tool: str) -> Any:
    return site.anyone.get(f"/v1/tools/{tool}").json()


def test_the_queue_is_ordered_by_effect_and_paged(site: Site, suspects: Suspect, tool: str) -> None:
    """The largest effect comes first; a cursor leads on; each item has what the contract names."""
    small, _ = suspects(effect=1e6)
    large, _ = suspects(0, effect=2e6)
    voters = site.operator_for("voters")
    page = voters.get("/v1/ops/integrity", limit=1).json()
    (first,) = page["items"]
    assert first["id"] == large.id
    assert {"id", "tool", "choice", "from", "to", "votes", "scores", "p", "effect", "status", "revision"} <= set(first)
    assert (first["tool"], first["choice"], first["votes"], first["status"]) == (tool, "ship", 3, "waiting")
    assert (first["effect"]["before"]["ship"], first["effect"]["after"]["ship"]) == (40, 0)
    rest = voters.get("/v1/ops/integrity", limit=1, cursor=page["next"]).json()
    assert [item["id"] for item in rest["items"]] == [small.id]
    assert_problem(site.operator_for("moderate").get("/v1/ops/integrity"), 403)
    assert_problem(site.anyone.get("/v1/ops/integrity"), 401)
    for one in (small, large):
        decide(voters, one, "dismiss")


def test_the_evidence_names_nobody(site: Site, suspects: Suspect) -> None:
    """It has counts, shares and pseudonyms; no visitor's id is in it, nor on the pages."""
    cohort, callers = suspects(4)
    voters = site.operator_for("voters")
    answer = voters.get(f"/v1/ops/integrity/{cohort.id}")
    evidence = answer.json()["evidence"]
    assert evidence["voters"] == 4 and len(evidence["sample"]) == 4
    assert sum(bucket["votes"] for bucket in evidence["histogram"] if bucket["suspected"]) == 4
    assert evidence["ages"][0] == {"below": "1 minute", "percent": 100.0, "usual_percent": evidence["ages"][0]["usual_percent"]}
    assert sum(share["percent"] for share in evidence["spacing"]) == pytest.approx(100, abs=1)
    listed = voters.get("/v1/ops/integrity").text
    assert not any(caller.visitor in text for caller in callers for text in (answer.text, listed))
    assert_problem(voters.get(f"/v1/ops/integrity/{new_id()}"), 404)
    decide(voters, cohort, "dismiss")


def test_a_void_takes_the_votes_out_in_public_and_an_undo_gives_them_back(site: Site, suspects: Suspect, tool: str) -> None:
    """The answer says that it is done; the tally, the public correction and the queue agree; so does the undo."""
    cohort, callers = suspects()
    voters = site.operator_for("voters")
    done = decide(voters, cohort, "void").json()
    assert done["status"] == "voided"
    site.anyone.get("/v1/categories", after=done["position"])
    assert card(site, tool)["community"]["ship"] == 0
    assert_problem(callers[0].put(f"/v1/tools/{tool}/vote", {"choice": "skip"}), 403)
    correction = site.anyone.get("/v1/corrections").json()["items"][0]
    assert (correction["reason"], correction["voters"], correction["tools"][0]["tool"]) == ("one hand", 3, tool)
    (item,) = [one for one in voters.get("/v1/ops/integrity", status="voided").json()["items"] if one["id"] == cohort.id]
    assert (item["corrected"], item["voters"], item["by"], item["reason"]) == (3, 3, "voters", "one hand")
    back = decide(voters, cohort, "undo").json()
    assert back["status"] == "waiting"
    site.anyone.get("/v1/categories", after=back["position"])
    assert card(site, tool)["community"]["ship"] == 3
    decide(voters, cohort, "dismiss")


def test_a_retried_decision_answers_what_the_first_did(site: Site, suspects: Suspect) -> None:
    """An Idempotency-Key works as for other operators' writes; and the same decision without one is 200 and nothing new."""
    cohort, _ = suspects()
    voters, key = site.operator_for("voters"), {"Idempotency-Key": new_id()}
    path, body = f"/v1/ops/integrity/{cohort.id}/decision", {"decision": "void", "reason": "one hand"}
    first = voters.post(path, body, key).json()
    head = site.head()
    assert voters.post(path, body, key).json() == first
    assert decide(voters, cohort, "void").json() == first
    assert site.head() == head
    assert_problem(voters.post(path, body | {"reason": "another"}, key), 422)


def test_a_decision_on_what_has_changed_is_refused(site: Site, suspects: Suspect) -> None:
    """409 names the present revision, and what stands in the way."""
    cohort, _ = suspects()
    voters = site.operator_for("voters")
    assert_problem(decide(voters, cohort, "void", revision=7), 409)
    decide(voters, cohort, "watch", revision=1)
    assert assert_problem(decide(site.operator, cohort, "dismiss", revision=1), 409)["revision"] == 2
    decide(voters, cohort, "void")
    assert "undo" in assert_problem(decide(site.operator, cohort, "dismiss"), 409)["detail"]
    unknown = voters.post(f"/v1/ops/integrity/{new_id()}/decision", {"decision": "void", "reason": "x"})
    assert_problem(unknown, 404)
    assert_problem(voters.post(f"/v1/ops/integrity/{cohort.id}/decision", {"decision": "void", "reason": " "}), 400)


def test_a_large_void_waits_for_a_second_operator(site: Site, suspects: Suspect, tool: str) -> None:
    """Above the set size nothing is taken out until another operator confirms; the first can withdraw."""
    cohort, _ = suspects(votes=101)
    first, second = site.operator_for("voters"), site.operator
    assert decide(first, cohort, "void").json()["status"] == "pending"
    assert decide(first, cohort, "void").json()["status"] == "pending"
    assert card(site, tool)["community"]["ship"] == 3
    assert_problem(decide(second, cohort, "undo"), 409)
    assert decide(first, cohort, "undo").json()["status"] == "waiting"
    decide(first, cohort, "void")
    confirmed = decide(second, cohort, "void").json()
    assert confirmed["status"] == "voided"
    site.anyone.get("/v1/categories", after=confirmed["position"])
    assert card(site, tool)["community"]["ship"] == 0


def test_readers_are_told_while_votes_are_under_review(site: Site, suspects: Suspect, tool: str) -> None:
    """Card, list, comparison, page and stream say which days, until somebody decides."""
    other = site.add_tool()
    cohort, _ = suspects()
    day = f"{cohort.begins:%Y-%m-%d}"
    assert wait_for(lambda: card(site, tool).get("under_review")) == [{"from": day, "to": f"{cohort.ends:%Y-%m-%d}"}]
    pair = site.anyone.get(f"/v1/comparisons/{tool}-vs-{other}").json()
    assert pair["left"]["under_review"] == card(site, tool)["under_review"] and "under_review" not in pair["right"]
    said = f"{cohort.begins.day} {cohort.begins:%B} are under review."
    for path in (f"/tools/{tool}", f"/compare/{tool}-vs-{other}"):
        assert said in site.client.get(path).text
    with site.client.stream("GET", f"/v1/tallies/live?tool={tool}") as stream:
        events = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        assert next(events)["under_review"] == card(site, tool)["under_review"]
        decide(site.operator_for("voters"), cohort, "dismiss")
        assert "under_review" not in next(events)
    assert wait_for(lambda: "under_review" not in card(site, tool))
    assert "under_review" not in site.anyone.get(f"/v1/comparisons/{tool}-vs-{other}").json()["left"]


def test_what_settles_nothing_is_reviewed_in_silence(site: Site, suspects: Suspect, tool: str) -> None:
    """A cohort that leaves the settled verdict as it is isn't told to readers."""
    quiet, _ = suspects(unsettles=False)
    loud, _ = suspects(0)
    voters = site.operator_for("voters")
    assert wait_for(lambda: "under_review" in card(site, tool))
    decide(voters, loud, "dismiss")
    assert wait_for(lambda: "under_review" not in card(site, tool))
    assert voters.get(f"/v1/ops/integrity/{quiet.id}").json()["cohort"]["status"] == "waiting"
    decide(voters, quiet, "dismiss")


def test_the_metrics_count_the_cohorts(site: Site, suspects: Suspect) -> None:
    """What waits is in /metrics, for the alarm."""
    cohort, _ = suspects()
    text = site.anyone.get("/metrics").text
    waiting = [line for line in text.splitlines() if line.startswith('ballotpress_cohorts_unsettling{status="waiting"}')]
    assert len(waiting) == 1 and float(waiting[0].rpartition(" ")[2]) >= 1
    decide(site.operator_for("voters"), cohort, "dismiss")


def test_decisions_are_counted_for_everybody(site: Site, suspects: Suspect) -> None:
    """Everybody is told how many cohorts were voided, dismissed and taken back, and how often the suspicion was right."""
    voters, (bought, _), (honest, _) = site.operator_for("voters"), suspects(2), suspects(0)

    def counts() -> dict[str, Any]:
        found: dict[str, Any] = site.anyone.get("/v1/integrity", after=site.head()).json()["cohorts"]
        return found

    before = counts()
    decide(voters, bought, "void")
    decide(voters, honest, "dismiss")
    assert {name: counts()[name] - before[name] for name in ("voided", "dismissed", "undone")} == {
        "voided": 1, "dismissed": 1, "undone": 0
    }  # fmt: skip
    decide(voters, honest, "undo")
    now = counts()
    assert (now["dismissed"] - before["dismissed"], now["undone"] - before["undone"]) == (0, 1)
    assert 0 < now["precision"] < 100
