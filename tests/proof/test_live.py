"""A running site's public log, checked by programs that know it only over HTTP: `verify.py`, and one in Go."""

import re
import subprocess
from pathlib import Path

import pytest

from projections import merkle
from services.proof import verify
from tests.support import go, node
from tests.support.live_log import VOTERS, Live, stranger
from tests.support.public_log import Signer


def check(live: Live, folder: Path, *words: str | Path) -> tuple[int, str]:
    """Run `verify.py` on the site, or as these words say."""
    return stranger(folder, *(words or (live.url,)))


def test_a_site_that_keeps_its_word_is_right(live: Live, tmp_path: Path) -> None:
    """Everything is compared: signature, root, every tile, the rules, every card, and tallies of the past."""
    status, said = check(live, tmp_path)
    assert status == 0, said
    assert "trusted from now on" in said
    assert re.search(r"[2-9]\d\d entries make the signed root", said)
    assert re.search(r"ok    [2-9] tiles are what the entries make", said)
    assert "4 corrections come to what they say" in said
    assert re.search(r"the site shows the same: [2-9] tools, and \d+ tallies of the past", said)


def test_the_next_time_only_what_is_new_is_fetched(live: Live, tmp_path: Path) -> None:
    """The entries are kept, and the checkpoint of the first run must be the beginning of the next one."""
    assert check(live, tmp_path)[0] == 0
    (kept,) = (tmp_path / "cache").rglob("entries.jsonl")
    before = kept.read_bytes()
    live.site.visitor().vote(live.tools[0], "ship")
    live.signed()
    status, said = check(live, tmp_path)
    assert status == 0, said
    assert "1 older checkpoint is their beginning" in said
    assert kept.read_bytes().startswith(before) and len(kept.read_bytes()) > len(before)


def test_a_key_that_was_trusted_once_can_not_be_exchanged(live: Live, tmp_path: Path) -> None:
    """Another key than the one that was pinned, or given, is named."""
    assert check(live, tmp_path)[0] == 0
    (pinned,) = (tmp_path / "cache").rglob("keys")
    pinned.write_text(Signer(live.vkey().partition("+")[0], seed=9).vkey + "\n")
    status, said = check(live, tmp_path)
    assert (status, "No key that is trusted signed" in said) == (2, True), said


def test_a_voter_finds_every_entry_and_the_receipt_is_right(live: Live, tmp_path: Path) -> None:
    """The receipt is checked by itself, and the ballots by the visitor's id."""
    voter = live.voters[3]
    first, second = live.tools
    live.signed()
    receipt = tmp_path / "vote.tlog-proof"
    receipt.write_text(voter.get(f"/v1/tools/{first}/vote/proof").text)
    words = ("--proof", receipt, "--key", live.vkey(), "--visitor")
    status, said = check(live, tmp_path, *words, voter.visitor)
    assert (status, "VoteCast" in said) == (0, True), said
    assert check(live, tmp_path, *words, live.voters[4].visitor)[0] == 2
    status, said = check(live, tmp_path, live.url, "--visitor", voter.visitor)
    assert status == 0, said
    lines = said.partition("ballots:\n")[2].splitlines()
    assert [line.split()[2:] for line in lines if second in line] == [[f"{second}:", "skip"], [f"{second}:", "retracted"]]
    assert len([line for line in lines if first in line]) == 3


def test_go_finds_the_same(live: Live, tmp_path: Path) -> None:
    """The code by which `go` checks its modules reads every tile, checks the site's proofs, and recounts every tool."""
    program = go.build("verifier", tmp_path)
    older = tmp_path / "older.note"
    older.write_text(live.signed())
    voted = live.site.visitor().vote(live.tools[1], "ship")
    live.signed()
    assert live.site.anyone.get(f"/v1/tools/{live.tools[1]}?after={voted}").status_code == 200
    done = subprocess.run((program, live.url, live.vkey(), older), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "tiles make the signed root" in done.stdout
    assert "are those that were signed" in done.stdout
    assert int(re.search(r"ok (\d+) ballots", done.stdout)[1]) >= VOTERS  # type: ignore[index]


@pytest.mark.parametrize("size", [1, 255, 256, 257, 270])
def test_proofs_that_the_site_serves_are_right_at_any_size(live: Live, size: int) -> None:
    """Those of consistency lead to the roots of entries that were fetched, and those of inclusion from the entry."""
    site = verify.Site(live.url)
    note = site.checkpoint()
    entries = [entry for part in site.fetch(0, note.size) for entry in part]
    site.close()
    leaves = [verify.leaf_hash(entry) for entry in entries]
    told = live.site.anyone.get("/v1/log/consistency", from_=size, to=note.size).json()
    proof = [verify.unbase64(text, "A hash") for text in told["hashes"]]
    assert proof == verify.prove_prefix(size, leaves)
    assert merkle.verify_consistency(size, note.size, proof, verify.fold(leaves[:size]), note.root)
    told = live.site.anyone.get("/v1/log/proof", position=size, size=note.size).json()
    path = [verify.unbase64(text, "A hash") for text in told["hashes"]]
    assert verify.root_by_inclusion(size - 1, note.size, leaves[size - 1], path) == note.root


def test_node_finds_the_same(live: Live, tmp_path: Path) -> None:
    """A verifier after docs/proof.md, in another language and on other cryptography, that shares no code with ours."""
    node.must_be_there()
    done = subprocess.run(("node", node.VERIFIER, live.url), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert re.search(r"ok [2-9]\d\d entries; [2-9] tools", done.stdout)
