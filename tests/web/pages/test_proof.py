"""A visitor's own votes in the public log, checked by the browser: what it accepts and finds, and what is there without it."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from services.proof import verify
from services.web.http.theme import STATIC
from tests.support import calling
from tests.support.accessibility import EVERY_VIEW, faults_of
from tests.support.browser import Windows

MOST_BYTES = 4096
Proofs = dict[str, Any]


def voted(page: Page, base: str, tool: str, *choices: str) -> None:
    """Vote by the buttons of a tool's page, and go to the visitor's own page."""
    for choice in choices:
        page.goto(f"{base}/tools/{tool}")
        page.locator(f'button[value="{choice}"]').click()
        expect(page.locator(f'[data-said="{tool}"]')).to_contain_text("taken back" if choice == "none" else choice)
    page.goto(f"{base}/proof/mine")


def verdict(page: Page) -> str:
    """Return what the script came to."""
    place = page.locator("[data-part=verdict]")
    expect(place).not_to_contain_text(re.compile("Checking|With JavaScript"))
    return place.inner_text()


def answering(page: Page, change: Callable[[Proofs], None]) -> None:
    """Let a dishonest site answer the script: `change` is made to what the honest one says."""

    def answer(route: Route) -> None:
        told = route.fetch()
        proofs = told.json()
        change(proofs)
        route.fulfill(response=told, body=json.dumps(proofs))

    page.route("**/proof/mine.json*", answer)


def test_the_script_is_small() -> None:
    """It is at most 4 kB, packed."""
    assert len(gzip.compress((STATIC / "proof.js").read_bytes(), 5)) <= MOST_BYTES


def test_honest_votes_are_right(window: Windows, base: str, own_tool: str) -> None:
    """Each entry of a vote cast, changed and taken back is in the signed log; a second look compares with the first."""
    page = window()
    voted(page, base, own_tool, "ship", "skip", "none")
    said = verdict(page)
    assert said.startswith("Right. All 3 entries are yours") and "keeps this checkpoint" in said
    assert page.locator("[data-part=said]").all_inner_texts() == ["✓ in the signed log"] * 3
    assert page.locator("[data-tool] li").all_inner_texts()[2].split(": ")[1].startswith("Taken back")
    voted(page, base, own_tool, "ship")
    assert "All 4 entries are yours" in verdict(page)
    assert re.search(r"begins with all [\d,]+ entries that your browser saw last time", verdict(page))


def test_a_page_with_votes_is_accessible(window: Windows, base: str, own_tool: str) -> None:
    """No violation that axe-core finds, on a phone and a wide window, in both schemes; nothing wider than the window."""
    page = window()
    voted(page, base, own_tool, "ship", "skip")
    verdict(page)
    assert faults_of(page, EVERY_VIEW) == []


def _flip(proofs: Proofs) -> None:
    for proof in proofs["entries"]:
        proof["entry"] = proof["entry"].replace('"choice":"ship"', '"choice":"skip"')


def _other_ballot(proofs: Proofs) -> None:
    for proof in proofs["entries"]:
        proof["entry"] = re.sub(r'"ballot":"(.)', lambda first: f'"ballot":"{"01"[first[1] == "0"]}', proof["entry"])


def _other_minute(proofs: Proofs) -> None:
    for proof in proofs["entries"]:
        proof["entry"] = re.sub(r'"minute":\d', '"minute":9', proof["entry"])


def _other_proof(proofs: Proofs) -> None:
    proofs["entries"][0]["hashes"][0] = base64.b64encode(b"x" * 32).decode()


def _no_proof(proofs: Proofs) -> None:
    proofs["entries"][0]["hashes"] = None


def _other_size(proofs: Proofs) -> None:
    origin, size, rest = proofs["checkpoint"].split("\n", 2)
    proofs["checkpoint"] = f"{origin}\n{int(size) + 1}\n{rest}"


def _hide(proofs: Proofs) -> None:
    del proofs["entries"][0]


def _spell(proofs: Proofs) -> None:
    for proof in proofs["entries"]:
        proof["entry"] = proof["entry"].replace("}", ',"choice":"ship"}')


def _no_key(proofs: Proofs) -> None:
    name = proofs["vkey"].partition("+")[0]
    key = b"\x01" + bytes(20)
    key_id = sha256(name.encode() + b"\n" + key).digest()[:4]
    proofs["vkey"] = f"{name}+{key_id.hex()}+{base64.b64encode(key).decode()}"
    text = proofs["checkpoint"].partition("\n\n")[0]
    proofs["checkpoint"] = f"{text}\n\n\u2014 {name} {base64.b64encode(key_id + bytes(64)).decode()}\n"


def _add(proofs: Proofs) -> None:
    proofs["entries"].append({**proofs["entries"][0], "position": 1})


LIES: list[tuple[Callable[[Proofs], None], str]] = [
    (_flip, "says something else than this page"),
    (_other_ballot, "isn’t under your name"),
    (_other_minute, "is not in the log that was signed"),
    (_other_proof, "is not in the log that was signed"),
    (_no_proof, "gives no proof"),
    (_other_size, "signature is wrong"),
    (_hide, "gives no proof"),
    (_spell, "isn’t spelled as a vote is"),
    (_no_key, "signature is wrong"),
    (_add, "that this page doesn’t show"),
]


def test_a_site_that_lies_is_found(window: Windows, base: str, own_tool: str) -> None:
    """Whatever it changes in its answer is said, and this checkpoint isn't kept."""
    page = window()
    for change, said in LIES:
        page.unroute_all()
        answering(page, change)
        if change is _flip:
            voted(page, base, own_tool, "ship")
        else:
            page.reload()
        assert said in verdict(page), change
        assert page.locator("[data-part=verdict].bad").count() == 1
        assert page.evaluate("() => localStorage.getItem('ballotpress proof')") is None


def test_a_vote_that_no_checkpoint_covers_yet_is_said_to_wait(window: Windows, base: str, own_tool: str) -> None:
    """The site answers with the checkpoint from before the vote, as it does while it doesn't sign."""
    page = window()
    before = page.request.get(f"{base}/log/1/checkpoint").text()

    def change(proofs: Proofs) -> None:
        proofs["checkpoint"] = before
        proofs["entries"][0]["hashes"] = None

    answering(page, change)
    voted(page, base, own_tool, "ship")
    assert verdict(page).startswith("Right. The entry is yours, says what stands here, and waits for the next checkpoint.")


def test_an_entry_that_the_page_hides_is_missed(window: Windows, base: str, own_tool: str) -> None:
    """A change in the visitor's name that the page doesn't tell of breaks the chain of the ballot."""
    page = window()

    def answer(route: Route) -> None:
        told = route.fetch()
        route.fulfill(
            response=told, body=re.sub(r'<li data-position="\d+" data-choice="skip">.*?</li>', "", told.text(), flags=re.S)
        )

    page.route("**/proof/mine", answer)
    voted(page, base, own_tool, "ship", "skip", "ship")
    assert "an entry before it is missing" in verdict(page)


def test_a_log_that_was_rewritten_is_found(window: Windows, base: str, own_tool: str) -> None:
    """What the browser saw last must be the beginning of the log; if not, both notes are shown, and the first is kept."""
    page = window()
    voted(page, base, own_tool, "ship")
    assert verdict(page).startswith("Right.")
    kept = json.loads(page.evaluate("() => localStorage.getItem('ballotpress proof')"))
    origin, size, root, rest = kept["note"].split("\n", 3)
    forged = {**kept, "note": f"{origin}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n{rest}"}
    page.evaluate("(kept) => localStorage.setItem('ballotpress proof', kept)", json.dumps(forged))
    page.reload()
    assert "is not what it was when you last looked" in verdict(page)
    shown = page.locator("[data-part=verdict] + pre").inner_text()
    assert bytes(32).hex() != root and base64.b64encode(bytes(32)).decode() in shown and shown.count(origin) >= 4
    assert json.loads(page.evaluate("() => localStorage.getItem('ballotpress proof')")) == forged


def test_without_script_all_of_it_is_there(
    window: Windows, base: str, own_tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page lists the entries in words, and gives a proof that `verify.py` accepts for this visitor alone."""
    monkeypatch.chdir(tmp_path)  # where the program would leave its evidence
    page = window(java_script_enabled=False)
    page.goto(f"{base}/proof/mine")
    expect(page.get_by_text("Nothing was cast from this browser yet.")).to_be_visible()
    page.goto(f"{base}/tools/{own_tool}")
    page.locator('button[value="skip"]').click()
    page.goto(f"{base}/proof/mine")
    expect(page.get_by_role("listitem").filter(has_text="Skip")).to_have_count(1)
    visitor = page.locator("[data-visitor]").get_attribute("data-visitor")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save proof").click()
    assert download.value.suggested_filename == f"{own_tool}.tlog-proof"
    download.value.save_as(tmp_path / "vote.tlog-proof")
    vkey = calling.get(f"{base}/log/1/log.vkey").text.strip()
    words = ["--proof", str(tmp_path / "vote.tlog-proof"), "--key", vkey, "--visitor"]
    assert verify.main([*words, str(visitor)]) == 0
    assert verify.main([*words, "AZAZAZAZAZAZAZAZAZAZAZ"]) != 0


def test_a_visitors_page_is_at_most_40_kb_in_4_requests(window: Windows, base: str, own_tool: str) -> None:
    """Page, style, script and proofs, and nothing from elsewhere."""
    page = window()
    voted(page, base, own_tool, "ship")
    verdict(page)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.reload(wait_until="networkidle")
    loaded = [request for request in asked if not request.url.startswith("data:")]
    assert len(loaded) <= 4 and all(request.url.startswith(base) for request in loaded)
    assert sum(request.sizes()["responseBodySize"] for request in loaded) <= 40_000
