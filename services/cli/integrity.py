"""`ballotpress integrity`: show votes that look bought, and decide about them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import rich_click as click

from services.cli.database import asynchronous, committer_of, connected, operator_of
from services.cli.options import Reason, Whole, json_option
from services.cli.terminal import counted, progress, show, utc
from services.embedded.start import find_settings

if TYPE_CHECKING:
    from events.integrity import Judgement, Status
    from services.integrity.evidence import Evidence, Share
    from services.integrity.queue import Filter, Queued

MOST_LISTED: Final = 100


@click.group()
def integrity() -> None:
    """Show votes that look bought, and decide about them."""


@integrity.command()
@json_option
@asynchronous
async def scan(as_json: bool) -> None:
    """Judge the votes that have come since the last scan. The worker does so every ten minutes."""
    settings = find_settings(needs_keys=False)
    from services.integrity.marks import marks_of, unmarked
    from services.integrity.puzzle import slow_down
    from services.integrity.scan import scan, silent

    marks = marks_of if settings.network_marks else unmarked
    alarm = slow_down if settings.puzzle == "detector" else silent
    done = await scan(settings.database_url, settings.false_alarms, marks, alarm=alarm, seconds=float("inf"))
    if done is None:
        raise click.ClickException("Another scan is at work: what it finds is in the queue when it ends")
    until = "No votes to judge" if done.until is None else f"Judged until {utc(done.until)}"
    show(as_json, done, f"{until}: {counted(done.changed, 'cohort')} found or changed")


@integrity.command("list")
@click.option(
    "--status", type=click.Choice(["waiting", "voided", "dismissed", "watched"]), default="waiting", show_default=True
)
@json_option
@asynchronous
async def list_(status: "Filter", as_json: bool) -> None:
    """List cohorts of votes that look bought, the largest effect first."""
    settings = find_settings(needs_keys=False)
    from services.integrity.queue import FILTERS, queue

    async with connected(settings, seconds=60) as connection:
        found = await queue(connection, FILTERS[status], None, MOST_LISTED)
    lines = [line for one in found for line in _cohort(one)] or [f"No cohort is {status}"]
    show(as_json, {"cohorts": found}, *lines)


@integrity.command("show")
@click.argument("cohort")
@json_option
@asynchronous
async def show_(cohort: str, as_json: bool) -> None:
    """Show COHORT with the evidence about it."""
    settings = find_settings(needs_keys=False)
    from events.integrity import CohortUnknown
    from services.integrity import evidence, queue

    async with connected(settings, seconds=60) as connection:
        found = await queue.read(connection, cohort)
        if found is None:
            raise CohortUnknown(cohort)
        seen = await evidence.read(connection, found.cohort)
    show(as_json, {"cohort": found, "evidence": seen}, *_cohort(found), *_evidence(seen))


def _decides(name: "Judgement", text: str) -> None:
    """Register the command that makes one kind of decision."""

    @integrity.command(name, help=text)
    @click.argument("cohort")
    @click.option(
        "--reason", required=True, type=Reason(), help="Why, in one line. That of a void, and of its undo, is public."
    )
    @click.option("--revision", type=Whole(0, 2**63 - 1), help="Refuse if the cohort isn't as `show` said.  [default: any]")
    @json_option
    @asynchronous
    async def decided(cohort: str, reason: str, revision: int | None, as_json: bool) -> None:
        await _decide(cohort, name, reason, revision, as_json)


_decides("void", "Take the votes of COHORT, and all others of its voters, out of the tallies.")
_decides("dismiss", "Let the votes of COHORT count.")
_decides("watch", "Let the votes of COHORT count until it grows.")
_decides("undo", "Take the last decision on COHORT back, and give its voters' votes back.")


async def _decide(cohort: str, decision: "Judgement", reason: str, revision: int | None, as_json: bool) -> None:
    settings = find_settings(needs_keys=False)
    from events.integrity import Ruling
    from services.clock import fresh_id
    from services.integrity import decisions

    asked = Ruling(decision, reason, operator_of(settings), fresh_id(), settings.second_operator_above)
    async with committer_of(settings) as committer, connected(settings, seconds=60) as connection:
        await decisions.decide(connection, committer, cohort, asked, revision=revision)
        with progress("Correcting") as report:
            await decisions.carry_out(settings.database_url, committer, cohort, report)
        status, position = await decisions.status_of(connection, cohort)
    show(as_json, {"cohort": cohort, "status": status, "position": position}, _SAID[status])


_SAID: "Final[dict[Status, str]]" = {
    "pending": "Proposed: another operator must confirm, at /ops/integrity or by POST /v1/ops/integrity/{id}/decision",
    "voiding": "Decided: its votes are being taken out",
    "voided": "Voided: the correction is public at /corrections",
    "undoing": "Undone: its votes are being given back",
    "dismissed": "Dismissed: its votes count",
    "watched": "Watched: it comes back if it grows",
    "waiting": "It waits for a decision",
}


def _cohort(one: "Queued") -> list[str]:
    cohort = one.cohort
    sides = " → ".join(f"{ship} ship / {skip} skip" for ship, skip in (cohort.before, cohort.after))
    settled = ", changes a settled verdict" if cohort.unsettles else ""
    done = f", {one.corrected} of {one.voters} voters done" if one.status in ("voiding", "undoing") else ""
    return [
        f"{cohort.id}  {one.status}{done}  revision {one.revision}",
        f"  {counted(cohort.votes, f'{cohort.choice} vote')} on {one.slug}, {utc(cohort.begins)} to {utc(cohort.ends)}",
        f"  {sides}{settled}",
        *([f"  {one.by}: {one.reason}"] if one.by is not None and one.status != "waiting" else []),
    ]


def _evidence(seen: "Evidence") -> list[str]:
    networks = [] if seen.networks is None else [f"  votes of the largest networks: {', '.join(map(str, seen.networks))}"]
    return [
        f"  {counted(seen.voters, 'voter')} with {counted(seen.ballots, 'ballot')} on {counted(seen.tools, 'tool')}",
        "  how old they were, against the site's: " + _shares(seen.ages),
        "  time between two votes, against chance: " + _shares(seen.spacing),
        *(f"  {counted(other.voters, 'voter')} also on {other.tool}" for other in seen.shared),
        *networks,
        f"  pseudonyms of some of them: {', '.join(name[:12] for name in seen.sample)}",
    ]


def _shares(shares: "Sequence[Share]") -> str:
    return ", ".join(f"{one.below} {one.percent:g}% ({one.usual_percent:g}%)" for one in shares)
