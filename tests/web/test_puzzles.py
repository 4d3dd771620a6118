"""Puzzles: while one is on, a vote on the tool counts only with a moment of work, done once for one vote."""

import html
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from events.log.committer import Committer
from services.clock import fresh_id
from services.integrity.puzzle import read_switched
from services.settings import OperatorToken
from services.web.http.puzzles import SECONDS, Puzzles
from tests.support import calling, servers
from tests.support.catalogs import import_tools
from tests.support.http import Caller, Site, assert_problem, pointers, wait_until_ready
from tests.support.openapi import DOCUMENT
from tests.support.processes import PATIENCE, free_port, wait_for
from tests.support.puzzles import solution_of
from tests.support.runners import catch_up_all
from tests.support.settings import UNLIMITED, environ, settings
from tests.support.signing_in import session_cookie
from tests.support.sites import client
from tests.support.stem import forked

VOTERS = OperatorToken(name="voters", scopes=frozenset({"voters"}), token="token-of-who-sees-to-voters")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHIP = {"choice": "ship"}
OLD, NEW = "o" * 40, "n" * 40


@pytest.fixture
def puzzled(site: Site, tool: str) -> str:
    """A tool whose votes bring a solved puzzle along."""
    assert site.operator_for("voters").put(f"/v1/ops/tools/{tool}/puzzle", {"hours": 2}).status_code == 200
    return tool


def ask(who: Caller, slug: str) -> dict[str, Any]:
    """Vote without a solution; return the puzzle that is asked for."""
    puzzle: dict[str, Any] = assert_problem(who.put(f"/v1/tools/{slug}/vote", SHIP), 428)["puzzle"]
    return puzzle


def test_a_vote_counts_with_its_work_and_not_without(site: Site, puzzled: str) -> None:
    """Without a solution nothing is counted; with it the vote counts whole; taking it back needs none."""
    me, path = site.visitor(), f"/v1/tools/{puzzled}/vote"
    puzzle = ask(me, puzzled)
    assert me.get(path).json()["choice"] is None
    counted = me.put(path, SHIP, solution_of(puzzle))
    assert (counted.status_code, counted.json()["community"]["ship"]) == (200, 1)
    assert me.delete(path).json()["community"]["total"] == 0


def test_a_solution_is_used_once(site: Site, puzzled: str) -> None:
    """A second vote with the same solution is asked for work again, and that work counts."""
    me, path = site.visitor(), f"/v1/tools/{puzzled}/vote"
    solution = solution_of(ask(me, puzzled))
    assert me.put(path, SHIP, solution).status_code == 200
    again = assert_problem(me.put(path, {"choice": "skip"}, solution), 428)["puzzle"]
    assert me.get(path).json()["choice"] == "ship"
    assert me.put(path, {"choice": "skip"}, solution_of(again)).json()["choice"] == "skip"


def test_a_solution_is_for_one_visitor_and_one_tool(site: Site, puzzled: str) -> None:
    """Nobody else's vote counts with it, and none on another tool."""
    me, another = site.visitor(), site.add_tool()
    site.operator.put(f"/v1/ops/tools/{another}/puzzle", {})
    solution = solution_of(ask(me, puzzled))
    assert_problem(site.visitor().put(f"/v1/tools/{puzzled}/vote", SHIP, solution), 428)
    assert_problem(me.put(f"/v1/tools/{another}/vote", SHIP, solution), 428)
    assert me.put(f"/v1/tools/{puzzled}/vote", SHIP, solution).status_code == 200


def test_what_solves_nothing_is_asked_again(site: Site, puzzled: str) -> None:
    """Whatever stands in the header, a vote without a solution gets a puzzle that can be solved."""
    me, path = site.visitor(), f"/v1/tools/{puzzled}/vote"
    for sent in ("", ":", "x", "x:y", "ü:é", "a.b:" + "0" * 64, ":" + "g" * 64):
        headers = [(b"Authorization", f"Bearer {me.token}".encode()), (b"Ballotpress-Puzzle", sent.encode())]
        asked = assert_problem(site.client.put(path, json=SHIP, headers=headers), 428)["puzzle"]
        assert asked.keys() == ask(me, puzzled).keys(), sent
    token, _, key = solution_of(asked)["Ballotpress-Puzzle"].partition(":")
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert_problem(me.put(path, SHIP, {"Ballotpress-Puzzle": f"{token}:{wrong}"}), 428)
    assert me.put(path, SHIP, {"Ballotpress-Puzzle": f"{token}:{key}"}).status_code == 200


def test_a_solution_expires_and_outlives_a_change_of_keys() -> None:
    """It holds for five minutes, about what it was made for alone, and while its key is among the secret keys."""
    puzzle = Puzzles([OLD]).make("a tool and a visitor", fresh_id(), 7, NOON)
    solution = solution_of({name: getattr(puzzle, name) for name in puzzle.__struct_fields__})["Ballotpress-Puzzle"].encode()
    rotated, last = Puzzles([NEW, OLD]), NOON + timedelta(seconds=SECONDS - 1)
    assert rotated.solved("a tool and a visitor", solution, last) == puzzle.salt
    assert rotated.solved("a tool and a visitor", solution, last + timedelta(seconds=1)) is None
    assert rotated.solved("another tool and a visitor", solution, NOON) is None
    assert Puzzles([NEW]).solved("a tool and a visitor", solution, NOON) is None


def test_other_tools_ask_for_nothing(site: Site, puzzled: str) -> None:
    """A puzzle is one tool's; switched off, the tool's own votes are taken as they come again."""
    me = site.visitor()
    me.vote(site.add_tool(), "ship")
    off = site.operator.delete(f"/v1/ops/tools/{puzzled}/puzzle")
    assert off.json() == {"tool": puzzled, "until": None} == site.operator.delete(f"/v1/ops/tools/{puzzled}/puzzle").json()
    me.vote(puzzled, "ship")


def test_operators_switch_it_for_some_hours(site: Site, tool: str) -> None:
    """The answer and the list say until when, and who; a wrong tool, time or scope is refused, a repetition isn't another."""
    path, voters = f"/v1/ops/tools/{tool}/puzzle", site.operator_for("voters")
    key = {"Idempotency-Key": f"on-{tool}"}
    until = voters.put(path, {"hours": 168}, key).json()["until"]
    assert voters.put(path, {"hours": 168}, key).json()["until"] == until
    assert_problem(voters.put(path, {"hours": 1}, key), 422)
    assert {"tool": tool, "until": until, "by": "voters"} in voters.get("/v1/ops/puzzles").json()["items"]
    assert pointers(assert_problem(voters.put(path, {"hours": 169}), 400)) == ["/hours"]
    assert_problem(voters.put("/v1/ops/tools/no-such-tool/puzzle", {}), 404)
    assert_problem(site.operator_for("read").put(path, {}), 403)
    assert voters.put(path, {}).json()["until"] < until


async def test_it_ends_by_itself(site: Site, puzzled: str, postgres: servers.Postgres) -> None:
    """When its time has come, votes are taken as they come, and the list is without it."""
    connection = await asyncpg.connect(postgres.dsn("site"))
    for one in await read_switched(connection):
        await connection.execute("update integrity.puzzles set until = now() where tool = $1", one.tool)
    assert await read_switched(connection) == []
    await connection.close()
    me = site.visitor()
    assert wait_for(lambda: me.put(f"/v1/tools/{puzzled}/vote", SHIP).status_code == 200)


def test_all_processes_ask_and_take_alike(
    site: Site, tool: str, postgres: servers.Postgres, valkey_url: str, tmp_path: Path
) -> None:
    """Switched on in one process, another asks for work too; what was solved for one counts in the other, once."""
    port, environment = free_port(), environ(postgres.dsn("site"), valkey_url, **UNLIMITED)
    base = f"http://127.0.0.1:{port}"
    with (
        forked("api", "--port", str(port), environ=environment, output=tmp_path / "output"),
        calling.Client(base_url=base, timeout=PATIENCE) as second,
    ):
        wait_until_ready(base, lambda: (tmp_path / "output").read_text()[-2000:])
        site.operator.put(f"/v1/ops/tools/{tool}/puzzle", {})
        me, path = site.visitor(), f"/v1/tools/{tool}/vote"
        there = Caller(second, me.token)
        assert wait_for(lambda: there.put(path, SHIP).status_code == 428)
        solution = solution_of(ask(there, tool))
        assert me.put(path, SHIP, solution).status_code == 200
        assert_problem(there.put(path, {"choice": "skip"}, solution), 428)


@pytest.fixture
async def alpha(dsn: str, committer: Committer) -> str:
    """The only tool of the test's own database."""
    await import_tools(committer, "alpha")
    await catch_up_all(dsn)
    return "/v1/tools/alpha/vote"


async def visitor(http: httpx.AsyncClient) -> dict[str, str]:
    """Make a visitor; return the header that names it."""
    made = await http.post("/v1/visitors")
    http.cookies.clear()
    return {"Authorization": f"Bearer {made.json()['token']}"}


async def test_without_valkey_votes_go_on(dsn: str, alpha: str) -> None:
    """While Valkey is away work is asked for and counts, and one process still takes a solution once."""
    with servers.valkey() as (url, process):
        async with client(settings(dsn, url, operator_tokens=(VOTERS,))) as http:
            on = {"Authorization": f"Bearer {VOTERS.token}"}
            assert (await http.put("/v1/ops/tools/alpha/puzzle", json={}, headers=on)).status_code == 200
            process.kill()
            process.wait()
            me = await visitor(http)
            asked = (await http.put(alpha, json=SHIP, headers=me)).json()
            solution = me | solution_of(asked["puzzle"])
            assert (await http.put(alpha, json=SHIP, headers=solution)).status_code == 200
            assert (await http.put(alpha, json=SHIP, headers=solution)).status_code == 428


async def test_a_form_without_scripts_is_told_what_to_do(dsn: str, valkey_url: str, alpha: str) -> None:
    """It gets a page that says why, what to allow, and until when; taking back goes through as ever."""
    async with client(settings(dsn, valkey_url, operator_tokens=(VOTERS,))) as http:
        on = {"Authorization": f"Bearer {VOTERS.token}"}
        until = (await http.put("/v1/ops/tools/alpha/puzzle", json={}, headers=on)).json()["until"]
        token = (await visitor(http))["Authorization"].removeprefix("Bearer ")
        browser = {"cookie": f"ballotpress_visitor={token}", "sec-fetch-site": "same-origin", "accept": "text/html"}
        page = await http.post("/tools/alpha/vote", data=SHIP, headers=browser)
        assert page.status_code == 428
        assert "allow it for this site, and vote again" in page.text
        assert f"{until[11:16]} UTC" in page.text
        assert (await http.post("/tools/alpha/vote", data={"choice": "none"}, headers=browser)).status_code == 303


async def test_operators_have_a_page_for_it(dsn: str, valkey_url: str, alpha: str) -> None:
    """It switches a tool's puzzle on and off, shows until when, and says so of a tool that isn't there."""
    given = settings(dsn, valkey_url, operator_tokens=(VOTERS,))
    async with client(given) as http:
        cookie = await session_cookie(given, VOTERS)
        http.headers.update({"cookie": cookie, "sec-fetch-site": "same-origin", "accept": "text/html"})
        for form, said, has in (
            ({"tool": "alpha", "hours": "3"}, "Every vote on it brings its work along", True),
            ({"tool": "alpha"}, "need no work any more", False),
            ({"tool": "omega", "hours": "3"}, "No listed tool has this slug", False),
        ):
            done = await http.post("/ops/puzzles", data=form)
            page = (await http.get(done.headers["location"])).text
            assert said in html.unescape(page)
            assert ("switched on by voters" in page) == has


def test_the_document_says_how() -> None:
    """The API's document names the header and the refusal."""
    vote = DOCUMENT["paths"]["/v1/tools/{tool}/vote"]["put"]
    assert "428" in vote["responses"]
    assert "Ballotpress-Puzzle" in [parameter["name"] for parameter in vote["parameters"]]
    assert "PBKDF2" in vote["description"]
