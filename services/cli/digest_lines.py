"""Lines that `ballotpress digest` prints of issues, their mails and held providers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.cli.terminal import counted, utc

if TYPE_CHECKING:
    from services.newsletter.holds import Hold
    from services.newsletter.issues import Issue, ServedEdition
    from services.newsletter.waiting import Waiting


def hold_line(hold: "Hold") -> str:
    """Return a line on a provider whose mails are held."""
    from services.newsletter.holds import named

    waiting = counted(hold.mails, "mail")
    return f"{named(hold.provider)}: {waiting} since {utc(hold.since)}, {hold.reason}; one is tried at {utc(hold.probe_at)}"


def sent_line(sent: "ServedEdition", counts: dict[str, int]) -> str:
    """Return a line on an issue that was asked for: its accounts, or when it had been sent before."""
    issue = sent.issue
    if sent.is_new:
        return f"Issue {issue.number}, {issue.edition}: {_in_words(counts)}"
    return f"Issue {issue.number} was sent at {utc(issue.compiled_at)} (--extra sends another)"


def issue_lines(issue: "Issue", counts: dict[str, int], waiting: list["Waiting"]) -> Iterator[str]:
    """Return the lines of an issue: its accounts, and what its mails wait for."""
    yield issue_line(issue, counts)
    yield from map(waiting_line, waiting)


def waiting_line(one: "Waiting") -> str:
    """Return a line on mails that wait."""
    return f"  {counted(one.mails, 'mail')} {'waits' if one.mails == 1 else 'wait'} for {one.reason}"


def issue_line(issue: "Issue", counts: dict[str, int]) -> str:
    """Return the line of an issue with its accounts."""
    state = f"settled but for {doubt}" if issue.state == "settled" and (doubt := _doubt(issue.number, counts)) else issue.state
    return f"Issue {issue.number}, {issue.edition}, {state}: planned {issue.planned} = {_in_words(counts)}"


def _doubt(number: int, counts: dict[str, int]) -> str:
    """Return the mails that may or may not have arrived, and the command that settles them; nothing if there are none."""
    uncertain = counts.get("uncertain", 0)
    return f"{counted(uncertain, 'uncertain mail')} (`digest resolve {number} --uncertain resend|drop`)" if uncertain else ""


def _in_words(counts: dict[str, int]) -> str:
    """Return accounts in words, without the states that have no mails."""
    return " + ".join(f"{number} {state}" for state, number in counts.items() if number) or "0 mails"
