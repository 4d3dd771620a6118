"""`verify.py` against a site that serves whatever it likes, with its key: nothing withheld or garbled passes for right."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.proof import verify
from tests.support.liar import Liar
from tests.support.public_log import PublicLog, Signer, a_log

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def log() -> PublicLog:
    """A log of fewer entries than a tile holds."""
    return a_log()


@pytest.fixture
def liar(log: PublicLog) -> Iterator[Liar]:
    """A site that hasn't lied yet."""
    liar = Liar(log)
    yield liar
    liar.close()


@pytest.fixture
def check(liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that checks the site, and returns the exit status and all that was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify.time, "sleep", lambda _: None)

    def run(*words: str | Path) -> tuple[int, str]:
        status = verify.main([liar.url, "--tools", "0", "--cache", str(tmp_path / "cache"), *map(str, words)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_a_site_that_does_not_lie_is_right(check: Run) -> None:
    """What the tests below change is all that is wrong there."""
    status, said = check()
    assert (status, "the site shows the same: 2 tools" in said) == (0, True), said


def test_a_renamed_tool_is_shown_by_its_present_slug(check: Run, liar: Liar, log: PublicLog) -> None:
    """A card under a slug of before is none that the log lists, and the tool's own is missing."""
    tool = next(iter(log.tallies))
    log.event("ToolRenamed", tool=tool, slug="gamma")
    liar.show(log)
    status, said = check()
    assert (status, "alpha is on the site, and not listed" in said, "gamma is listed by the log, and not" in said) == (
        2,
        True,
        True,
    )
    liar.cards[0]["slug"] = "gamma"
    liar.list_cards()
    status, said = check()
    assert status == 0, said


def test_numbers_can_not_be_called_news_for_ever(check: Run, liar: Liar) -> None:
    """Cards of positions that no checkpoint covers are not passed over."""
    liar.cards[0] |= {"position": 2**40, "community": verify.community(9000, 1)}
    liar.list_cards()
    status, said = check()
    assert (status, "positions that no checkpoint covers: alpha" in said) == (1, True), said


@pytest.mark.parametrize(("ship", "wanted"), [(0, 0), (1, 2)])
def test_a_card_that_changed_meanwhile_is_held_to_its_position(
    check: Run, liar: Liar, log: PublicLog, monkeypatch: pytest.MonkeyPatch, ship: int, wanted: int
) -> None:
    """A later checkpoint covers it, and says what stood there, however the log went on."""
    alpha = next(iter(log.tallies))
    log.vote("somebody", alpha, "ship")
    community = verify.community(log.tallies[alpha][0] + ship, log.tallies[alpha][1])
    liar.cards[0] |= {"position": len(log.entries), "community": community}
    liar.list_cards()
    log.vote("somebody else", alpha, "skip")
    monkeypatch.setattr(verify.time, "sleep", lambda _: liar.show(log))
    status, said = check()
    assert status == wanted, said


def test_a_list_of_tools_that_never_ends_is_left(check: Run, liar: Liar) -> None:
    """A cursor that leads to what was shown already ends it."""
    liar.list_cards(following="again")
    status, said = check()
    assert (status, "goes round in a circle" in said) == (1, True), said


def test_logs_without_an_end_are_left(check: Run, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a site can't keep the program busy for ever."""
    monkeypatch.setattr(verify, "MOST_LOGS", 5)
    liar.paths |= {f"/log/{number}/checkpoint": b"x" for number in range(2, 10)}
    status, said = check()
    assert (status, "more than 5 logs" in said) == (1, True), said


def test_an_answer_without_an_end_is_left(check: Run, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer takes more memory than a tile could."""
    monkeypatch.setattr(verify, "MOST_OF_ANSWER", 100_000)
    liar.paths["/log/1/checkpoint"] = bytes(200_000)
    status, said = check()
    assert (status, "doesn't end within 100,000 bytes" in said) == (1, True), said


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"items": 5, "next": null}', b"[" * 100_000, b'{"items":[{}],"next":null}'])
def test_an_answer_of_another_shape_is_said_to_be_one(check: Run, liar: Liar, body: bytes) -> None:
    """It ends with 1 and a sentence, not with a trace."""
    liar.paths["/v1/tools"] = body
    status, said = check()
    assert (status, "not what it should be" in said) == (1, True), said


def test_what_the_log_passes_over_is_said(check: Run, liar: Liar, log: PublicLog) -> None:
    """Votes that count for nothing by the site's word alone are counted out, and named."""
    alpha = next(iter(log.tallies))
    position = log.vote("unwanted", alpha, "skip")
    log.event("EventDropped", projection="cards", position=position, reason="in the way")
    log.tallies[alpha][1] -= 1
    liar.show(log)
    status, said = check()
    assert (status, f"1 entries count for nothing, as the log itself says (EventDropped): {position}" in said) == (0, True), (
        said
    )


def test_a_key_that_was_given_is_the_only_one(check: Run, liar: Liar, log: PublicLog) -> None:
    """One that was trusted at first sight in an earlier run doesn't count beside it."""
    assert check()[0] == 0
    status, said = check("--key", Signer(liar.signer.name, seed=9).vkey)
    assert (status, "No key that is trusted signed" in said) == (2, True), said


def test_a_mail_from_before_the_present_key_can_not_be_checked_without_the_old_one(
    check: Run, liar: Liar, log: PublicLog, tmp_path: Path
) -> None:
    """Who comes first with it is told what to give, and that is no contradiction: anybody can write such a note."""
    old = Signer(liar.signer.name, seed=9)
    text = log.note(10, origin=old.name).partition("\n\n")[0] + "\n"
    (tmp_path / "old.note").write_text(f"{text}\n{old.line(text)}")
    status, said = check("--old", tmp_path / "old.note")
    assert (status, "give both: --key OLD --key NEW" in said) == (1, True), said
    assert not (tmp_path / "evidence").exists()
    status, said = check("--old", tmp_path / "old.note", "--key", old.vkey, "--key", liar.signer.vkey)
    assert (status, "1 older checkpoint is their beginning" in said) == (0, True), said


def test_a_key_with_a_line_in_its_name_does_not_spoil_what_is_kept(check: Run, liar: Liar, log: PublicLog) -> None:
    """The file of trusted keys stays readable, so nobody has to remove it and trust anew."""
    log.event("LogKeyAdded", vkey=Signer("one\ntwo", seed=9).vkey)
    liar.show(log)
    assert [check()[0], check()[0]] == [0, 0]


def test_evidence_is_not_replaced(check: Run, liar: Liar, log: PublicLog, tmp_path: Path) -> None:
    """A second run, in which the site serves something else, keeps its own beside it."""
    assert check()[0] == 0
    rewritten = a_log()
    rewritten.entries[8] = rewritten.entries[8].replace(b"ship", b"skip")
    liar.show(rewritten)
    assert check()[0] == 2
    before = {file.name: file.read_bytes() for file in (tmp_path / "evidence").iterdir()}
    liar.paths["/log/1/checkpoint"] = liar.paths["/log/1/checkpoint"].replace(b"\n29", b"\n28")
    log.entries[3] = b"nothing"
    liar.show(log)
    assert check()[0] == 2
    assert {file.name: file.read_bytes() for file in (tmp_path / "evidence").iterdir()} == before
    assert (tmp_path / "evidence-2" / "why.txt").exists()


def test_nothing_that_is_served_commands_the_terminal(check: Run, liar: Liar) -> None:
    """Escapes are spelled out, so no answer can wipe a finding off the screen."""
    liar.paths["/log/1/checkpoint"] = "\x1b[2J\x9b2Kok    all is right".encode()
    liar.paths["/log/1/log.vkey"] = "\x1b[2J\x9b2K".encode()
    status, said = check()
    assert status == 1 and "\x1b" not in said and "\x9b" not in said


RECEIPTS = {
    "a vote with a key twice": b'{"type":"VoteCast","minute":1,"choice":"ship","choice":"skip"}',
    "a vote as another event": b'{"type":"VoteCast","minute":1,"data":{}}',
    "text for a terminal": b"\x1b[2J",
    "data in another spelling": b'{"type":"ToolListed","minute":1,"data":{ }}',
}


@pytest.mark.parametrize("entry", RECEIPTS.values(), ids=RECEIPTS)
def test_a_receipt_must_be_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: PublicLog, entry: bytes) -> None:
    """What the tree holds and no reader may read is no vote, though the proof leads to the root."""
    monkeypatch.chdir(tmp_path)
    log.entries.append(entry)
    file = tmp_path / "vote.tlog-proof"
    file.write_text(log.receipt(len(log.entries)))
    assert verify.main(["--key", log.signer.vkey, "--proof", str(file)]) == 2


BY_WORD = {
    "votes that nobody lost": ("reinstated", [3, 3], [900, 3]),
    "votes for the disqualified": ("disqualified", [3, 3], [4, 2]),
    "less than nothing": ("disqualified", [3, 3], [-1, 3]),
    "true for one": ("disqualified", [3, 3], [True, 3]),
}


@pytest.mark.parametrize(("action", "before", "after"), BY_WORD.values(), ids=BY_WORD)
def test_a_correction_at_its_word_gives_nobody_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, before: list[int], after: list[int]
) -> None:
    """It may take away and give back, and nothing more."""
    monkeypatch.chdir(tmp_path)
    log = PublicLog()
    tool = log.tool("alpha")
    for n in range(6):
        log.vote(f"visitor-{n}", tool, "ship" if n % 2 else "skip")
    votes = sum(abs(now - then) for now, then in zip(after, before, strict=True))
    tools = [{"tool": tool, "before": before, "after": after}]
    log.event("CorrectionRecorded", correction="c", action=action, reason="r", voters=1, votes=votes, tools=tools)
    assert verify.main([str(log.export(tmp_path / "log.jsonl")), "--key", log.signer.vkey]) == 2


def test_a_checkpoint_of_nothing_is_the_beginning_of_every_log(tmp_path: Path, log: PublicLog) -> None:
    """And one of nothing with another root is not."""
    exported = log.export(tmp_path / "log.jsonl")
    (tmp_path / "old.note").write_text(log.note(0))
    assert verify.main([str(exported), "--key", log.signer.vkey, "--old", str(tmp_path / "old.note")]) == 0


def test_lines_end_where_all_readers_end_them(log: PublicLog) -> None:
    """A separator of Unicode doesn't make one signature line two."""
    text, _, line = log.note().partition("\n\n")
    raw = base64.b64encode(bytes(68)).decode()
    with pytest.raises(verify.CannotCheck):
        verify.read_note(f"{text}\n\n\u2014 other {raw}\u2028{line}")
