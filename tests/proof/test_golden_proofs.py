"""A mail, a receipt and an export that somebody kept are right for ever: never change these files."""

from pathlib import Path

import pytest

from services.proof import verify

KEPT = Path(__file__).parents[1] / "golden" / "proof"
VKEY = (KEPT / "log.vkey").read_text().strip()


def run(*words: str | Path) -> int:
    """Run the program."""
    return verify.main([*map(str, words), "--key", VKEY])


def test_a_mail_that_was_kept_still_fits_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Its checkpoint is the beginning of a later export, and its numbers are those of its period."""
    assert run(KEPT / "log.jsonl", "--mail", KEPT / "issue-3.eml", "--from", "19") == 0
    said = capsys.readouterr().out
    assert "1 older checkpoint is their beginning" in said
    assert "4 sentences on 1 tool\n" in said


def test_a_receipt_that_was_kept_still_holds() -> None:
    """By itself, for its own voter, and as an older checkpoint of the log."""
    assert run("--proof", KEPT / "vote.tlog-proof", "--visitor", "v22") == 0
    assert run(KEPT / "log.jsonl", "--old", KEPT / "vote.tlog-proof") == 0


def test_a_kept_mail_shows_a_rewritten_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte of an entry before it is enough."""
    monkeypatch.chdir(tmp_path)
    rewritten = tmp_path / "log.jsonl"
    rewritten.write_bytes((KEPT / "log.jsonl").read_bytes().replace(b'"choice":"ship"', b'"choice":"skip"', 1))
    assert run(rewritten, "--mail", KEPT / "issue-3.eml", "--from", "19") == 2
