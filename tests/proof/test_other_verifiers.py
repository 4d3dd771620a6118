"""The verifiers in Go and in Node keep the rules of docs/proof.md by themselves: what `verify.py` refuses, they refuse too."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import go, node
from tests.support.breaches import BREACHES, Breach
from tests.support.liar import Liar
from tests.support.processes import PATIENCE
from tests.support.public_log import PublicLog, a_log

pytestmark = pytest.mark.server

Said = tuple[int, str]
Verifier = Callable[[Liar], Said]


def ran(*command: str | Path) -> Said:
    """Run a program; return its status and what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["go", "node"])
def verifier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verifier:
    """Give a function that lets one of them check a site."""
    if request.param == "go":
        program = go.build("verifier", tmp_path_factory.mktemp("go"))
        return lambda site: ran(program, site.url, site.signer.vkey)
    node.must_be_there()
    return lambda site: ran("node", node.VERIFIER, site.url)


@pytest.fixture
def liar() -> Iterator[Liar]:
    """A site that serves a log which is right, until it is given another."""
    liar = Liar(a_log())
    yield liar
    liar.close()


def two_tools() -> tuple[PublicLog, str]:
    """Return a log of two tools, of which four voted for the first; and its id."""
    log = PublicLog()
    alpha, _ = log.tool("alpha"), log.tool("beta")
    for n in range(4):
        log.vote(f"v{n}", alpha, "ship")
    return log, alpha


def a_tool_passed_over() -> PublicLog:
    """Return a log whose first tool was passed over, and added again; its votes count from the first."""
    log, alpha = two_tools()
    log.event("EventDropped", projection="cards", position=1, reason="r")
    log.event("ToolDescribed", tool=alpha, name="n")
    tally = log.tallies[alpha]
    log.tool("alpha")
    log.tallies[alpha] = tally
    return log


def changes_passed_over() -> PublicLog:
    """Return a log that passes over a vote, a rename and a description, but not over a vote of the hours."""
    log, alpha = two_tools()
    position = log.vote("v4", alpha, "skip")
    renamed = log.event("ToolRenamed", tool=alpha, slug="gamma")
    described = log.event("ToolDescribed", tool=alpha, slug="delta", name="n")
    for place in (position, renamed, described):
        log.event("EventDropped", projection="cards", position=place, reason="r")
    log.event("EventDropped", projection="hours", position=log.last[alpha, "v1"], reason="r")
    log.tallies[alpha][1] -= 1
    log.vote("v3", alpha, "skip")
    log.correct({"v3"})
    return log


def taken_at_its_word() -> PublicLog:
    """Return a log with a correction that names no ballots."""
    log, alpha = two_tools()
    log.record([(alpha, "v1"), (alpha, "v2")], restore=False, correction="c1", voters=2)
    return log


def named_later(*voters: str) -> PublicLog:
    """Return a log where the ballots of a correction taken at its word are named later."""
    log = taken_at_its_word()
    alpha = next(iter(log.tallies))
    log.vote("v5", alpha, "ship")
    log.event("BallotsVoided", correction="c1", ballots=[log.last[alpha, voter] for voter in voters])
    log.seal()
    return log


SOUND: dict[str, Callable[[], PublicLog]] = {
    "a bit of everything": a_log,
    "a tool passed over and added again": a_tool_passed_over,
    "changes passed over": changes_passed_over,
    "a correction taken at its word": taken_at_its_word,
    "its ballots named later": lambda: named_later("v1", "v2"),
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_a_log_that_keeps_the_rules_is_right(verifier: Verifier, liar: Liar, make: Callable[[], PublicLog]) -> None:
    """Whatever an honest site may write is taken, and comes to what it shows."""
    liar.show(make())
    status, said = verifier(liar)
    assert status == 0, said
    assert "2 tools are what the site shows" in said


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_each_breach_of_a_rule_is_refused(verifier: Verifier, liar: Liar, breach: Breach) -> None:
    """The entry is named: one of those that broke the rule, and none before."""
    log = a_log()
    sound = len(log.entries)
    breach(log, next(iter(log.tallies)))
    liar.serve(log)
    status, said = verifier(liar)
    assert status == 2, said
    assert sound < int(re.search(r"entry (\d+)", said)[1]) <= len(log.entries), said  # type: ignore[index]


@pytest.mark.parametrize("voters", [("v1",), ("v0", "v1", "v2")])
def test_ballots_named_later_must_come_to_the_corrections_before(
    verifier: Verifier, liar: Liar, voters: tuple[str, ...]
) -> None:
    """One too few or too many is found, when the log ends."""
    liar.show(named_later(*voters))
    status, said = verifier(liar)
    assert (status, "don't come to those named later" in said) == (2, True), said


def test_what_the_site_shows_of_what_it_passes_over_is_found(verifier: Verifier, liar: Liar) -> None:
    """A vote that the log says to count for nothing, and that the card counts."""
    log = changes_passed_over()
    log.tallies[next(iter(log.tallies))][1] += 1
    liar.show(log)
    status, said = verifier(liar)
    assert (status, "alpha is" in said) == (2, True), said


def test_a_type_of_a_later_release_is_not_guessed_at(verifier: Verifier, liar: Liar) -> None:
    """It can't be checked, which is another answer than that something is wrong."""
    log = a_log()
    log.event("ToolPraised", tool="x")
    liar.show(log)
    status, said = verifier(liar)
    assert (status, "ToolPraised" in said) == (1, True), said
