"""`verify.py`: signatures, trees, older checkpoints, receipts and mails, and what it says and keeps when they contradict."""

import ast
import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from projections import merkle, settled, tally
from services.proof import verify
from tests.support.public_log import ORIGIN, PublicLog, Signer, a_log, root_of

VECTORS = Path(__file__).parents[1] / "vectors"
SIGNATURES = json.loads((Path(__file__).parent / "ed25519_test.json").read_bytes())["testGroups"]
TREES: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "merkle.json").read_bytes())

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Give a function that runs the program, and returns the exit status and all that was said."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str]:
        status = verify.main([*map(str, words)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def write(file: Path, text: str | bytes) -> Path:
    """Write a file."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_every_vector_of_ed25519_is_judged_as_it_must_be() -> None:
    """All of Wycheproof's: what is valid is accepted, and what is not refused."""
    judged = [
        (
            verify.ed25519(*(bytes.fromhex(text) for text in (group["publicKey"]["pk"], case["msg"], case["sig"]))),
            case["result"],
        )
        for group in SIGNATURES
        for case in group["tests"]
    ]
    assert len(judged) == 151
    assert {said for said in judged if said[1] != "acceptable"} == {(True, "valid"), (False, "invalid")}


def unbase64(texts: list[str] | None) -> list[bytes]:
    """Decode hashes."""
    return [base64.b64decode(text) for text in texts or []]


@pytest.mark.parametrize("case", TREES["inclusion"], ids=lambda case: case["name"])
def test_every_vector_of_inclusion(case: dict[str, Any]) -> None:
    """A proof leads to the root, unless it must be refused; a root that is no hash, which others accept, is refused here."""
    root, leaf = unbase64([case["root"], case["leafHash"]])
    found = verify.root_by_inclusion(case["leafIdx"], case["treeSize"], leaf, unbase64(case["proof"]))
    assert (found == root and len(root) == 32) is not case["wantErr"]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 513, 1000, 65_536, 65_537])
def test_a_tree_grown_by_tiles_is_the_definitions(size: int) -> None:
    """The root is that of RFC 6962's definition, and each tile holds the roots of the full tiles below."""
    leaves = [sha256(str(n).encode()).digest() for n in range(size)]
    tiles: dict[tuple[int, int], bytes] = {}
    tree = verify.Tree(lambda level, n, hashes: tiles.update({(level, n): hashes}))
    for start in range(0, size, 256):
        tree.add(leaves[start : start + 256])
    tree.end()
    assert tree.root() == root_of(leaves)
    for (level, n), hashes in tiles.items():
        unit = 256**level
        wanted = [
            root_of(leaves[at : at + unit]) for at in range(256 * n * unit, min(size - unit + 1, 256 * (n + 1) * unit), unit)
        ]
        assert hashes == b"".join(wanted)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (6, 13), (128, 300), (255, 256), (299, 300)])
def test_the_proof_that_is_kept_as_evidence_is_one(old: int, new: int) -> None:
    """What `prove_prefix` makes shows the beginning, and no other root."""
    leaves = [sha256(str(n).encode()).digest() for n in range(new)]
    proof = verify.prove_prefix(old, leaves)
    assert merkle.verify_consistency(old, new, proof, root_of(leaves[:old]), root_of(leaves))
    assert not merkle.verify_consistency(old, new, proof, bytes(32), root_of(leaves))


@pytest.mark.parametrize(("ship", "skip"), [(0, 0), (1, 0), (4, 0), (5, 3), (50, 50), (333, 1000), (100_000, 99_000), (0, 7)])
def test_tallies_are_said_as_the_site_says_them(ship: int, skip: int) -> None:
    """Two separate arithmetics agree: this program's, and the site's."""
    assert verify.differences(verify.community(ship, skip), json.loads(json.dumps(site_says(ship, skip)))) == []


def site_says(ship: int, skip: int) -> dict[str, Any]:
    """Return a community as the site does."""
    told = tally.community(ship, skip)
    return {field: getattr(told, field) for field in told.__struct_fields__}


def test_a_number_that_the_site_says_wrongly_is_found() -> None:
    """One vote, or a verdict, is enough."""
    right = site_says(50, 30)
    for change in ({"ship": 51}, {"verdict": "skip"}, {"settled": "ship"}, {"interval": [50.0, 60.0]}, {"flips_to_change": 1}):
        assert verify.differences(verify.community(50, 30), {**right, **change})
    assert settled.settled(50, 30) == right["settled"]


def test_a_checkpoint_must_be_signed_by_the_key(run: Run, tmp_path: Path) -> None:
    """A signature that is wrong, or of another key, or under another name, is named."""
    log = a_log()
    other = Signer(seed=9)
    status, said = run(log.export(tmp_path / "log.jsonl"), "--key", other.vkey)
    assert (status, "No key that is trusted signed" in said) == (2, True), said
    note = log.note()
    forged = note.replace(f"\n{len(log.entries)}\n", f"\n{len(log.entries) - 1}\n")
    status, said = run(log.export(tmp_path / "log.jsonl", forged), "--key", log.signer.vkey)
    assert (status, "is wrong" in said) == (2, True), said


def test_what_a_key_and_a_note_must_look_like(run: Run, tmp_path: Path) -> None:
    """A damaged key, a note without a signature and a file that isn't there can't be checked, and say so."""
    log = a_log()
    export = log.export(tmp_path / "log.jsonl")
    assert run(export, "--key", log.signer.vkey.replace("+", "-", 1))[0] == 1
    assert run(export, "--key", log.signer.vkey[:-6] + "AAAAA=")[0] == 1
    assert run(export)[0] == 1
    assert run(tmp_path / "nothing.jsonl", "--key", log.signer.vkey)[0] == 1
    assert run(export, "--key", log.signer.vkey, "--checkpoint", write(tmp_path / "note", "x\n1\n"))[0] == 1
    assert run("http://127.0.0.1:9")[0] == 1


def test_witnesses_that_are_named_must_have_cosigned(run: Run, tmp_path: Path) -> None:
    """One that didn't is missed; a policy says how many are enough."""
    log = a_log()
    one, two, three = (Signer(f"w{n}.example", n, 4) for n in (2, 3, 4))
    now = 60 * log.minute
    export = log.export(tmp_path / "log.jsonl", log.note(None, (one, now), (two, now)))
    words = (export, "--key", log.signer.vkey)
    assert run(*words, "--witness", one.vkey, "--witness", two.vkey)[0] == 0
    assert run(*words, "--witness", three.vkey)[0] == 2
    known = f"log {log.signer.vkey}\n# ours\nwitness a {one.vkey}\nwitness b {two.vkey}\nwitness c {three.vkey}\n"
    for rule, wanted in (
        ("group g 2 a b c\nquorum g\n", 0),
        ("group g all a b c\nquorum g\n", 2),
        ("group x any a c\ngroup g all x b\nquorum g\n", 0),
        ("quorum none\n", 0),
        ("quorum c\n", 2),
        ("", 1),
        ("group g 4 a b c\nquorum g\n", 1),
        ("quorum d\n", 1),
    ):
        status, said = run(export, "--policy", write(tmp_path / "policy", known + rule))
        assert status == wanted, (rule, said)


REWRITES: dict[str, Callable[[PublicLog], None]] = {
    "a choice flipped": lambda log: log.entries.__setitem__(4, log.entries[4].replace(b"skip", b"ship")),
    "two swapped": lambda log: log.entries.__setitem__(slice(4, 6), log.entries[5:3:-1]),
    "one deleted": lambda log: log.entries.__delitem__(6),
    "one inserted": lambda log: log.entries.insert(6, b'{"sealed":"%s"}' % (b"0" * 64)),
    "a minute changed": lambda log: log.entries.__setitem__(7, log.entries[7].replace(b'"minute":294', b'"minute":293')),
}


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
def test_a_rewritten_log_that_is_signed_anew_contradicts_an_old_checkpoint(
    run: Run, tmp_path: Path, rewrite: Callable[[PublicLog], None]
) -> None:
    """With the right key, over the right root: the older note tells, and both are kept with the proof that fails."""
    log = a_log()
    old = write(tmp_path / "old.note", log.note(20))
    status, _ = run(log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--old", old)
    assert status == 0
    rewrite(log)
    status, said = run(log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--old", old)
    assert (status, "History was rewritten: the first 20 entries" in said) == (2, True), said
    kept = {file.name: file.read_text() for file in (tmp_path / "evidence").iterdir()}
    assert kept["older.note"] == old.read_text()
    assert kept["newer.note"] == log.note()
    first, *proof = kept["proof.txt"].partition("\n\n")[0].split("\n")
    older, newer = verify.read_note(kept["older.note"]), verify.read_note(kept["newer.note"])
    hashes = unbase64(proof)
    assert first == "old 20"
    assert not merkle.verify_consistency(20, newer.size, hashes, older.root, newer.root)
    assert merkle.verify_consistency(20, newer.size, hashes, root_of(log.leaves()[:20]), newer.root)


def test_a_log_that_shrank_is_found(run: Run, tmp_path: Path) -> None:
    """The last entry deleted, and what is left signed anew."""
    log = a_log()
    old = write(tmp_path / "old.note", log.note())
    del log.entries[-1]
    status, said = run(log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--old", old)
    assert (status, "has shrunk" in said) == (2, True), said


def test_entries_that_are_not_those_signed_are_found(run: Run, tmp_path: Path) -> None:
    """One bit of one entry."""
    log = a_log()
    note = log.note()
    log.entries[4] = log.entries[4].replace(b"skip", b"ship")
    status, said = run(log.export(tmp_path / "log.jsonl", note), "--key", log.signer.vkey)
    assert (status, "don't make the root" in said) == (2, True), said


def restarted(log: PublicLog, common: int) -> PublicLog:
    """Return a log that goes on from the first `common` entries of another, and says so."""
    new = a_log()
    new.entries = log.entries[:common]
    new.event("LogRestarted", former=ORIGIN, size=len(log.entries), root="r", common=common, reason="a disk")
    return new


@pytest.mark.parametrize(("size", "wanted"), [(10, 0), (20, 0), (21, 3), (30, 3), (31, 2)])
def test_a_restart_declares_what_it_loses(run: Run, tmp_path: Path, size: int, wanted: int) -> None:
    """Older checkpoints up to the common beginning still lead into the new log; those after it show the loss, or a lie."""
    log = a_log()
    del log.entries[31:]
    old = write(tmp_path / "old.note", log.note(size))
    del log.entries[30:]
    new = restarted(log, 20)
    export = new.export(tmp_path / "log.jsonl", new.note(origin="example.com/log/2"))
    status, said = run(export, "--key", log.signer.vkey, "--old", old)
    assert status == wanted, said


def test_a_restart_that_changed_the_common_beginning_is_no_loss_but_a_lie(run: Run, tmp_path: Path) -> None:
    """The same note, of a size that both logs have."""
    log = a_log()
    old = write(tmp_path / "old.note", log.note(10))
    log.entries[4] = log.entries[4].replace(b"skip", b"ship")
    new = restarted(log, 20)
    export = new.export(tmp_path / "log.jsonl", new.note(origin="example.com/log/2"))
    status, said = run(export, "--key", log.signer.vkey, "--old", old)
    assert (status, "rewritten" in said) == (2, True), said


def test_a_receipt_is_checked_by_itself(run: Run, tmp_path: Path) -> None:
    """It leads from the entry to the signed root; not from another index, entry or visitor."""
    log = a_log()
    position = log.vote("me", next(iter(log.tallies)), "ship")
    receipt = log.receipt(position)
    words = ("--key", log.signer.vkey, "--proof")
    status, said = run(*words, write(tmp_path / "vote.tlog-proof", receipt), "--visitor", "me")
    assert (status, f"entry {position} of" in said) == (0, True), said
    assert run(*words, tmp_path / "vote.tlog-proof", "--visitor", "you")[0] == 2
    index = f"\nindex {position - 1}\n"
    for was, now in (
        (index, f"\nindex {position - 2}\n"),
        ("extra ", "extra AAAA"),
        (f"\n{position}\n", f"\n{position + 1}\n"),
    ):
        assert run(*words, write(tmp_path / "bad.tlog-proof", receipt.replace(was, now)))[0] == 2
    assert run(*words, write(tmp_path / "bad.tlog-proof", "nothing"))[0] == 1


def test_a_visitor_sees_every_entry_of_its_ballots(run: Run, tmp_path: Path) -> None:
    """Also a change that it never made; one without any is told so."""
    log = a_log()
    tool = next(iter(log.tallies))
    positions = [log.vote("me", tool, choice) for choice in ("ship", "skip", None)]
    words = (log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--visitor")
    assert "ballots:\n      none: your number stands at /proof/mine" in run(*words, "nobody")[1]
    status, said = run(*words, "me")
    assert status == 0
    lines = said.partition("ballots:\n")[2].splitlines()
    assert [int(line.split()[0]) for line in lines] == positions
    assert [line.split()[-1] for line in lines] == ["ship", "skip", "retracted"]


def test_what_cannot_be_checked_is_no_contradiction(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in the command ends with 1 and a sentence that says what to give: 2 is for what is inconsistent alone."""
    for words, sentence in (
        ((), "?     give a site's address, an export, or --proof FILE\n"),
        (("log.jsonl", "--male", "issue.eml"), "?     unrecognized arguments: --male issue.eml\n"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(*words)
        assert ended.value.code == 1 and capsys.readouterr().err.endswith(sentence)
    whole = "Of a site give the whole address, such as https://example.com\n"
    assert run("example.com") == (1, f"?     example.com can't be read: No such file or directory. {whole}")
    assert run("log.jsonl", "--mail", "none.eml") == (1, "?     none.eml can't be read: No such file or directory\n")


def a_mail(log: PublicLog, end: int, start: int, **numbers: int) -> EmailMessage:
    """Write a digest about a log's first tool, with a note in its header and its text."""
    told = {"before": 75, "now": 74, "votes": 3, "ship": 14, "skip": 5, **numbers}
    note = log.note()
    mail = EmailMessage()
    mail["Subject"] = "Weekly"
    mail["Ballotpress-Checkpoint"] = base64.b64encode(note.encode()).decode()
    mail.set_content(
        "VERDICTS\nIssue 3, 20 to 27 November\n\nWHERE READERS CHANGED THEIR MINDS\n\n"
        f"* Alpha: {told['before']}% ship before, {told['now']}% now ({told['votes']} votes). Ship, so far\n"
        "  https://example.com/tools/alpha\n\nREADERS AGAINST THE PANEL\n\n* Alpha\n  Panel: Ship · 1 ship / 0 skip\n"
        f"  Readers: {told['now']}% ship · {told['ship']} ship / {told['skip']} skip\n  https://example.com/tools/alpha\n\n"
        f"This issue counts the first {end:,} entries of the public log.\n\n{note}\n",
        cte="quoted-printable",
    )
    return mail


@pytest.fixture
def mailed() -> tuple[PublicLog, int, int]:
    """Give a log, and the period of an issue about it: 12 to 4 votes before, 14 to 5 after; one of 20 votes voided."""
    log = PublicLog()
    tool = log.tool("alpha")
    log.event("PanelReviewPublished", tool=tool, persona="Builder", verdict="ship", take="Good.")
    for n in range(17):
        log.vote(f"v{n}", tool, "skip" if n in (0, 1, 2, 3) else "ship")
    start = len(log.entries)
    log.vote("v20", tool, "ship")
    log.vote("v21", tool, "ship")
    log.vote("v22", tool, "skip")
    log.vote("v16", tool, "skip")
    log.correct({"v16"})
    return log, start, len(log.entries)


def test_a_mail_is_checked_with_its_numbers(run: Run, tmp_path: Path, mailed: tuple[PublicLog, int, int]) -> None:
    """Later entries change nothing; a number that the log doesn't come to is named."""
    log, start, end = mailed
    mail = a_mail(log, end, start)
    log.vote("v30", next(iter(log.tallies)), "skip")
    words = (log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--from", str(start), "--mail", tmp_path / "3.eml")
    write(tmp_path / "3.eml", mail.as_bytes())
    status, said = run(*words)
    assert (status, "4 sentences on 1 tool\n" in said) == (0, True), said
    assert "1 older checkpoint is" in said
    for name in ("before", "now", "votes", "ship", "skip"):
        write(tmp_path / "3.eml", a_mail(log, end, start, **{name: 1}).as_bytes())
        status, said = run(*words)
        assert (status, "The mail says of alpha" in said) == (2, True), (name, said)


def test_a_number_in_other_words_is_not_passed_over(run: Run, tmp_path: Path, mailed: tuple[PublicLog, int, int]) -> None:
    """A mail that says its shares in a form that isn't known can't be checked, and isn't called right."""
    log, start, end = mailed
    words = (log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--from", str(start), "--mail", tmp_path / "3.eml")
    raw = a_mail(log, end, start).as_bytes()
    assert b"74% ship" in raw
    write(tmp_path / "3.eml", raw.replace(b"74% ship", b"99 % ship"))
    status, said = run(*words)
    assert (status, "what can't be compared: '99 % ship'" in said) == (1, True), said


def test_a_mail_with_two_checkpoints_or_none(run: Run, tmp_path: Path, mailed: tuple[PublicLog, int, int]) -> None:
    """The header and the text must carry the same one."""
    log, start, end = mailed
    mail = a_mail(log, end, start)
    words = (log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey, "--from", str(start), "--mail", tmp_path / "3.eml")
    mail.replace_header("Ballotpress-Checkpoint", base64.b64encode(log.note(5).encode()).decode())
    write(tmp_path / "3.eml", mail.as_bytes())
    assert run(*words)[0] == 2
    write(tmp_path / "3.eml", b"Subject: x\n\nHello\n")
    assert run(*words)[0] == 1


def pythons() -> Iterator[str]:
    """Yield the oldest Pythons that can be had here."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    yield from (str(found) for root in roots for found in sorted(root.glob("3.9.*/bin/python3")))
    yield from filter(None, [shutil.which("python3.9")])


def test_it_runs_by_itself_on_the_oldest_python(tmp_path: Path) -> None:
    """Nothing but the standard library, in syntax of Python 3.9; where there is a 3.9, it runs on it."""
    source = Path(verify.__file__)
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= {*sys.stdlib_module_names, "__future__"}
    log = a_log()
    words = (log.export(tmp_path / "log.jsonl"), "--key", log.signer.vkey)
    done = subprocess.run((next(pythons(), sys.executable), "-I", source, *words), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
