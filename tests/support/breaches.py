"""What an operator may write into his log against the rules of docs/proof.md, and sign: each rule is broken once."""

from collections.abc import Callable
from typing import Final

from tests.support.public_log import PublicLog

Breach = Callable[[PublicLog, str], None]
"""Appends to a log that was sound; the second argument is the id of its first tool."""


def second_chain(log: PublicLog, tool: str) -> None:
    log.stands[tool, "visitor-2"] = None
    log.vote("visitor-2", tool, "ship")


def vote_while_voided(log: PublicLog, tool: str) -> None:
    log.vote("visitor-1", tool, "skip" if log.stands[tool, "visitor-1"] == "ship" else "ship")


def retract_nothing(log: PublicLog, tool: str) -> None:
    log.stands[tool, "visitor-99"] = "ship"
    log.vote("visitor-99", tool, None)


def same_again(log: PublicLog, tool: str) -> None:
    choice = log.stands[tool, "visitor-2"]
    log.vote("visitor-2", tool, choice)


def time_goes_back(log: PublicLog, tool: str) -> None:
    log.minute -= 1
    log.vote("visitor-77", tool, "ship")


def void_twice(log: PublicLog, tool: str) -> None:
    log.correct({"visitor-1"}, correction="c3")


def restore_what_counts(log: PublicLog, tool: str) -> None:
    log.correct({"visitor-2"}, restore=True, correction="c3")


def void_an_earlier_entry(log: PublicLog, tool: str) -> None:
    first = log.last[tool, "visitor-2"]
    log.vote("visitor-2", tool, "skip" if log.stands[tool, "visitor-2"] == "ship" else "ship")
    log.event("BallotsVoided", correction="c3", ballots=[first])


def void_what_is_no_vote(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[1])


def void_what_is_to_come(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[len(log.entries) + 5])


def void_out_of_order(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-4"], log.last[tool, "visitor-2"]])


def void_without_a_correction(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-2"]])
    log.event("ComparisonAnnounced", left="a", right="b")


def void_too_few(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-2"]])
    log.record([(tool, "visitor-2"), (tool, "visitor-4")], restore=False, correction="c3", voters=2)


def void_and_correct_later(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-2"]])
    log.seal()
    log.record([(tool, "visitor-2")], restore=False, correction="c3", voters=1)


def before_is_wrong(log: PublicLog, tool: str) -> None:
    log.tallies[tool][0] += 1
    log.correct({"visitor-2"}, correction="c3")


def votes_are_wrong(log: PublicLog, tool: str) -> None:
    log.correct({"visitor-2"}, correction="c3", votes=7)


def action_is_wrong(log: PublicLog, tool: str) -> None:
    log.correct({"visitor-2"}, correction="c3", action="reinstated")


def tool_unknown(log: PublicLog, tool: str) -> None:
    log.tallies["A" * 22] = [0, 0]
    log.vote("visitor-2", "A" * 22, "ship")


def unlisted_unknown(log: PublicLog, tool: str) -> None:
    log.event("ToolUnlisted", tool="A" * 22)
    tool_unknown(log, tool)


def described_unknown(log: PublicLog, tool: str) -> None:
    log.event("ToolDescribed", tool="A" * 22, name="n")


def judged_unknown(log: PublicLog, tool: str) -> None:
    log.event("PanelReviewPublished", tool="A" * 22, persona="Builder", verdict="ship", take="t")


def added_twice(log: PublicLog, tool: str) -> None:
    log.tool("alpha")


def added_as_another(log: PublicLog, tool: str) -> None:
    log.event("ToolAdded", tool="A" * 22, slug="alpha", name="n")


def renamed_unknown(log: PublicLog, tool: str) -> None:
    log.event("ToolRenamed", tool="A" * 22, slug="gamma")


def renamed_as_another(log: PublicLog, tool: str) -> None:
    log.event("ToolRenamed", tool=tool, slug="gamma")
    log.event("ToolRenamed", tool=log.tool("delta"), slug="alpha")


def former_slug_of_another(log: PublicLog, tool: str) -> None:
    log.event("FormerSlugAdded", tool=tool, slug="gamma")
    log.tool("gamma")


def slug_described(log: PublicLog, tool: str) -> None:
    log.event("ToolDescribed", tool=tool, slug="gamma", name="n")


def action_unknown(log: PublicLog, tool: str) -> None:
    log.correct({"visitor-2"}, correction="c3", action="Reinstated")


def data_of_a_vote(log: PublicLog, tool: str) -> None:
    log.event("VoteCast", tool=tool, choice="ship")


def void_nothing(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[])


def leave_a_tool_out(log: PublicLog, tool: str) -> None:
    own = [(of, "visitor-7") for of in log.tallies]
    log.event("BallotsVoided", correction="c3", ballots=sorted(log.last[ballot] for ballot in own))
    log.record(own[:1], restore=False, correction="c3", voters=1)


def say_a_tool_twice(log: PublicLog, tool: str) -> None:
    ship, skip = log.tallies[tool]
    twice = [{"tool": tool, "before": [ship, skip], "after": [ship - 1, skip]}] * 2
    log.correct({"visitor-2"}, correction="c3", votes=2, tools=twice)


def void_under_another_name(log: PublicLog, tool: str) -> None:
    log.event("BallotsVoided", correction="c3", ballots=[log.last[tool, "visitor-2"]])
    log.record([(tool, "visitor-2")], restore=False, correction="c4", voters=1)


def give_votes_by_word(log: PublicLog, tool: str) -> None:
    ship, skip = log.tallies[tool]
    tools = [{"tool": tool, "before": [ship, skip], "after": [ship + 5, skip]}]
    log.record([], restore=True, correction="c3", voters=1, votes=5, tools=tools)


def take_more_by_word_than_there_is(log: PublicLog, tool: str) -> None:
    ship, skip = log.tallies[tool]
    tools = [{"tool": tool, "before": [ship, skip], "after": [-1, skip]}]
    log.record([], restore=False, correction="c3", voters=1, votes=ship + 1, tools=tools)


def correct_what_was_passed_over(log: PublicLog, tool: str) -> None:
    position = log.vote("visitor-50", tool, "ship")
    log.event("EventDropped", projection="cards", position=position, reason="r")
    log.correct({"visitor-2"}, correction="c3")


def added_again_though_it_counts(log: PublicLog, tool: str) -> None:
    position = log.event("ToolUnlisted", tool=tool)
    log.event("EventDropped", projection="cards", position=position, reason="r")
    log.event("EventDropped", projection="hours", position=1, reason="r")
    log.tool("alpha")


BREACHES: Final[dict[Breach, str]] = {
    second_chain: "says that its ballot stood at nothing",
    vote_while_voided: "a ballot that is voided",
    retract_nothing: "it has no entry before",
    same_again: "it changes nothing",
    time_goes_back: "is before",
    void_twice: "a second time",
    restore_what_counts: "which is not voided",
    void_an_earlier_entry: "not the last entry of its ballot",
    void_what_is_no_vote: "which is no vote",
    void_what_is_to_come: "before its own",
    void_out_of_order: "must rise",
    void_without_a_correction: "no correction that says so follows",
    void_and_correct_later: "no correction that says so follows",
    void_too_few: "by its ballots, not at",
    before_is_wrong: "before it, alpha stood at",
    votes_are_wrong: "says that it changes 7 votes",
    action_is_wrong: "its ballots the opposite",
    tool_unknown: "never added",
    unlisted_unknown: "never added",
    described_unknown: "never added",
    judged_unknown: "never added",
    added_twice: "was added before",
    added_as_another: "alpha leads to another tool",
    renamed_unknown: "never added",
    renamed_as_another: "alpha leads to another tool",
    former_slug_of_another: "gamma leads to another tool",
    slug_described: "takes a rename",
    action_unknown: "no correction is Reinstated",
    data_of_a_vote: "another form",
    void_nothing: "must rise",
    leave_a_tool_out: "no correction that says so follows",
    say_a_tool_twice: "says that it changes 2 votes",
    void_under_another_name: "no correction that says so follows",
    give_votes_by_word: "votes that nobody lost",
    take_more_by_word_than_there_is: "is no tally",
    correct_what_was_passed_over: "before it, alpha stood at",
    added_again_though_it_counts: "was added before",
}
"""What `verify.py` says of each."""
