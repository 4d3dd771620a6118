"""`verify.py` takes a log that keeps the rules, and refuses each entry that breaks one, with its position and why."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from services.proof import verify
from tests.support.breaches import BREACHES, Breach
from tests.support.public_log import PublicLog, Signer, a_log

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that checks the export of a log, and returns the exit status and all that was said."""
    monkeypatch.chdir(tmp_path)

    def run(log: PublicLog, *words: str | Path) -> tuple[int, str]:
        status = verify.main([str(log.export(tmp_path / "log.jsonl")), "--key", log.signer.vkey, *map(str, words)])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_a_right_log_is_right(check: Run) -> None:
    """Votes changed and retracted, ballots voided and restored, sealed entries: all of it adds up."""
    status, said = check(a_log())
    assert status == 0, said
    assert "entries make the signed root" in said
    assert "2 corrections come to what they say" in said


def recounted(log: PublicLog, folder: Path) -> dict[str, verify.Tool]:
    """Recount a log, here; return the tools."""
    file = log.export(folder / "log.jsonl")
    whole = verify.Log(file, len(log.entries))
    whole.fold((), lambda level, n, hashes: None)
    return {id_.decode(): tool for id_, tool in verify.recount(whole).tools.items()}


def counted(log: PublicLog, folder: Path) -> dict[str, tuple[int, int]]:
    """Recount a log, here; return the tallies."""
    return {id_: (tool.ship, tool.skip) for id_, tool in recounted(log, folder).items()}


@pytest.mark.parametrize("bucket", [10, 2_000_000])
def test_a_log_is_counted_whole_or_some_tools_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int) -> None:
    """The tallies are those that the writer of the log kept, however many tools are counted at once."""
    monkeypatch.setattr(verify, "BUCKET", bucket)
    log = a_log()
    assert counted(log, tmp_path) == {tool: tuple(tally) for tool, tally in log.tallies.items()}


VOTE = '{"type":"VoteCast","minute":30000000,"tool":"%s","ballot":"00000000000000000000000000000000","choice":"ship"}'
SPELLINGS: dict[str, Callable[[str], str]] = {
    "keys in another order": lambda vote: vote.replace(
        '"type":"VoteCast","minute":30000000', '"minute":30000000,"type":"VoteCast"'
    ),
    "a key in another case": lambda vote: vote.replace('"choice"', '"Choice"'),
    "a type in another case": lambda vote: vote.replace("VoteCast", "voteCast"),
    "a key twice": lambda vote: vote.replace('"choice":"ship"', '"choice":"skip","choice":"ship"'),
    "a key more": lambda vote: vote.replace("}", ',"weight":2}'),
    "a space": lambda vote: vote.replace(":", ": ", 1),
    "a space before": lambda vote: " " + vote,
    "a space after": lambda vote: vote + " ",
    "an escape": lambda vote: vote.replace("ship", "shi\\u0070"),
    "a null": lambda vote: vote.replace("}", ',"previous":null}'),
    "a minute with a zero before": lambda vote: vote.replace("30000000", "030000000"),
    "a minute with a fraction": lambda vote: vote.replace("30000000", "30000000.0"),
    "a minute as text": lambda vote: vote.replace("30000000", '"30000000"'),
    "a ballot in capitals": lambda vote: vote.replace("0" * 32, "A" * 32),
    "a tool with a second spelling": lambda vote: re.sub(r'(?<="tool":".{21}).', "B", vote),
    "another choice": lambda vote: vote.replace("ship", "shiP"),
    "a byte order mark": lambda vote: "\ufeff" + vote,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_vote_has_one_spelling(check: Run, spell: Callable[[str], str]) -> None:
    """What a reader of JSON takes for the same vote, or for another, is refused."""
    log = a_log()
    vote = VOTE % next(iter(log.tallies))
    position = log.add(vote)
    assert check(log)[0] == 0
    log.entries[-1] = spell(vote).encode()
    status, said = check(log)
    assert (status, f"Entry {position} is refused" in said) == (2, True), said


DATA: dict[str, Callable[[str], str]] = {
    "keys in another order": lambda entry: entry.replace('"left": "L", "right": "R"', '"right": "R", "left": "L"'),
    "a key twice": lambda entry: entry.replace('"left": "L"', '"left": "X", "left": "L"'),
    "a key in another case": lambda entry: entry.replace('"left"', '"Left"'),
    "no space": lambda entry: entry.replace(": ", ":"),
    "an escape": lambda entry: entry.replace('"L"', '"\\u004c"'),
    "a fraction": lambda entry: entry.replace('"L"', "1.0"),
    "a zero character": lambda entry: entry.replace('"L"', '"\\\\\\u0000"'),
    "not a number": lambda entry: entry.replace('"L"', "NaN"),
}


@pytest.mark.parametrize("spell", DATA.values(), ids=DATA)
def test_data_have_one_spelling(check: Run, spell: Callable[[str], str]) -> None:
    """The data of other public entries are spelled as PostgreSQL spells them, or refused."""
    log = a_log()
    position = log.event("ComparisonAnnounced", left="L", right="R")
    assert check(log)[0] == 0
    log.entries[-1] = spell(log.entries[-1].decode()).encode()
    status, said = check(log)
    assert (status, f"Entry {position} is refused" in said) == (2, True), said


def test_a_type_of_a_later_release_is_not_guessed_at(check: Run) -> None:
    """It can't be checked, and the answer says what to do."""
    log = a_log()
    log.event("ToolPraised", tool="x")
    status, said = check(log)
    assert (status, "get a newer one" in said) == (1, True), said


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_each_breach_of_a_rule_is_named(check: Run, tmp_path: Path, breach: Breach) -> None:
    """A log that its operator wrote and signed against the rules is refused, with the position and the reason."""
    log = a_log()
    sound = len(log.entries)
    breach(log, next(iter(log.tallies)))
    status, said = check(log)
    assert (status, BREACHES[breach] in said) == (2, True), said
    position = int(re.search(r"Entry (\d+) is refused", said)[1])  # type: ignore[index]
    assert sound < position <= len(log.entries)
    assert "evidence" in said
    assert log.entries[position - 1].decode() in (tmp_path / "evidence" / "entry.txt").read_text()


def test_a_tool_that_was_passed_over_may_be_added_again(check: Run, tmp_path: Path) -> None:
    """What an honest site writes is taken: a tool is passed over after votes and changes, and the next import adds it again."""
    log = PublicLog()
    tool = log.tool("alpha")
    log.event("ToolUnlisted", tool=tool)
    log.event("ToolListed", tool=tool)
    log.vote("somebody", tool, "ship")
    log.event("EventDropped", projection="cards", position=1, reason="r")
    log.event("ToolDescribed", tool=tool, name="n")
    assert check(log)[0] == 0
    assert not recounted(log, tmp_path)[tool].facts
    log.tool("alpha")
    status, said = check(log)
    assert status == 0, said
    assert recounted(log, tmp_path)[tool].facts["name"] == "Alpha"


def test_a_text_may_speak_of_the_zero_character(check: Run) -> None:
    """A backslash before `u0000` is no escape of it."""
    log = a_log()
    log.event("ComparisonAnnounced", left=r"\u0000", right="R")
    status, said = check(log)
    assert status == 0, said


def test_a_description_neither_lists_nor_unlists(tmp_path: Path) -> None:
    """A key `listed`, which it doesn't have, is ignored as every unknown key is: so no tool is kept from the comparison."""
    log = a_log()
    tool = next(iter(log.tallies))
    log.event("ToolDescribed", tool=tool, name="n", listed=0)
    facts = recounted(log, tmp_path)[tool].facts
    assert (facts["name"], facts["listed"]) == ("n", True)


def test_a_tool_is_known_by_the_slug_that_it_took(check: Run, tmp_path: Path) -> None:
    """A tool may take other slugs and its first one again; those of elsewhere, and personas, change nothing that counts."""
    log = a_log()
    tool = next(iter(log.tallies))
    before = counted(log, tmp_path)[tool]
    log.event("FormerSlugAdded", tool=tool, slug="omega")
    for slug in ("gamma", "omega", "alpha", "gamma"):
        log.event("ToolRenamed", tool=tool, slug=slug)
    log.event("PersonaDescribed", persona="Builder", role="Developer", excited_by=["a"])
    found = recounted(log, tmp_path)[tool]
    assert (found.facts["slug"], counted(log, tmp_path)[tool]) == ("gamma", before)
    status, said = check(log)
    assert status == 0, said


def test_a_rename_that_the_cards_passed_over_is_none(tmp_path: Path) -> None:
    """A dropped rename leaves the card under the slug before; the slug that it names is the tool's all the same."""
    log = a_log()
    tool = next(iter(log.tallies))
    position = log.event("ToolRenamed", tool=tool, slug="gamma")
    log.event("EventDropped", projection="cards", position=position, reason="r")
    assert recounted(log, tmp_path)[tool].facts["slug"] == "alpha"
    log.event("ToolRenamed", tool=tool, slug="gamma")
    assert recounted(log, tmp_path)[tool].facts["slug"] == "gamma"


def test_what_a_view_passed_over_is_not_counted(tmp_path: Path) -> None:
    """A dropped vote stays in its chain, and counts for nothing."""
    log = a_log()
    tool = next(iter(log.tallies))
    before = counted(log, tmp_path)[tool]
    position = log.vote("visitor-50", tool, "ship")
    log.event("EventDropped", projection="cards", position=position, reason="r")
    assert counted(log, tmp_path)[tool] == before


def test_corrections_of_an_older_release_are_taken_at_their_word(check: Run, tmp_path: Path) -> None:
    """They name no ballots; the ballots that a migration names later must come to them."""
    log = PublicLog()
    tool = log.tool("alpha")
    for n in range(4):
        log.vote(f"v{n}", tool, "ship")
    log.record([(tool, "v1"), (tool, "v2")], restore=False, correction="c1", voters=2)
    status, said = check(log)
    assert (status, "taken at their word" in said) == (0, True), said
    log.event("BallotsVoided", correction="c1", ballots=[log.last[tool, "v1"], log.last[tool, "v2"]])
    status, said = check(log)
    assert status == 0, said
    assert counted(log, tmp_path)[tool] == (2, 0)
    log.vote("v3", tool, "skip")
    log.correct({"v3"}, correction="c2")
    assert check(log)[0] == 0


def test_ballots_named_later_must_come_to_the_corrections_before(check: Run) -> None:
    """One ballot too few is found, and so is a correction without ballots in a log that names some."""
    log = PublicLog()
    tool = log.tool("alpha")
    for n in range(4):
        log.vote(f"v{n}", tool, "ship")
    log.record([(tool, "v1"), (tool, "v2")], restore=False, correction="c1", voters=2)
    log.event("BallotsVoided", correction="c1", ballots=[log.last[tool, "v1"]])
    status, said = check(log)
    assert (status, "name no ballots don't come to" in said) == (2, True), said


def test_a_correction_must_name_ballots_where_others_do(check: Run) -> None:
    """Whoever could still be taken at his word could void whatever he likes."""
    log = a_log()
    tool = next(iter(log.tallies))
    log.record([(tool, "visitor-2")], restore=False, correction="c3", voters=1)
    status, said = check(log)
    assert (status, "name no ballots don't come to" in said) == (2, True), said
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-2"]])
    assert check(log)[0] == 0


def test_a_witness_shows_back_dating(check: Run, tmp_path: Path) -> None:
    """An entry whose minute lies well before the time at which a witness saw all entries before it is back-dated."""
    log = a_log()
    witness = Signer("witness.example", 7, 4)
    seen = 60 * log.minute
    old = tmp_path / "old.note"
    old.write_text(log.note(None, (witness, seen)))
    log.minute += 1
    log.vote("late", next(iter(log.tallies)), "ship")
    words = ("--old", old, "--witness", witness.vkey, "--checkpoint", tmp_path / "new.note")
    (tmp_path / "new.note").write_text(log.note(None, (witness, seen + 60)))
    assert check(log, *words)[0] == 0
    old.write_text(log.note(len(log.entries) - 1, (witness, seen + 86_400)))
    (tmp_path / "new.note").write_text(log.note(None, (witness, seen + 86_460)))
    status, said = check(log, *words)
    assert (status, "back-dated" in said) == (2, True), said
