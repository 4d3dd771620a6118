"""Who did what at a shell: each command that changes something leaves a line in the operators' log, or it is said why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import rich_click as click

from events.commands.subscribers import SuppressSubscriber
from events.log.committer import Committer
from projections.registry import named
from services.cli import commands
from services.clock import fresh_id
from services.operators.deeds import DEEDS
from services.operators.sessions import Sessions
from services.settings import OperatorToken
from tests.support.deeds import deeds_of
from tests.support.settings import settings
from tests.support.shell import Follow, Ran, Shell, Vote
from tests.support.signing_in import VISIT
from tests.support.witness import Witness

ANN = OperatorToken(name="ann", scopes=frozenset({"read"}), token="token-of-ann-in-the-tests")

_READS: Final = """
settings, verify, explain review, explain tally, explain tool, status, digest compile, digest holds, digest preview,
digest status, subscribers consent, subscribers suppressed, integrity list, integrity show, person kept, puzzle list,
proof export, proof status, proof witness list, webhooks list, webhooks show, quarantine list, operators log,
operators sessions, events export, events parts, events tail, backup
"""
READS: Final = " ".join(_READS.split()).split(", ")
"""The commands that change nothing here."""

LEAVES_NONE: Final = {
    "up": "it starts processes",
    "api": "it is a process",
    "projector": "it is a process",
    "worker": "it is a process",
    "migrate": "the table of migrations says which came when, and before them there is no log of acts",
    "integrity scan": "it finds what the worker finds every ten minutes, and decides nothing",
    "mail check": "it keeps what it found, as the worker does daily, and decides nothing",
    "mail ingest": "what others report stands in the log as theirs",
    "webhooks test": "a trial changes nothing",
    "purge": "caches forget, and nothing of ours changes",
    "keys sweep": "it removes what was destroyed, as the worker does daily",
    "restore": "it makes a home folder beside which nothing runs; the newsletter is held, and says why",
}
"""The commands that change something and leave no line, each with the reason."""

LEAVES: Final = {
    "catalog import": "ToolAdded",
    "replay": "rebuilt-view",
    "digest cancel": "cancelled-issue",
    "digest marks-lost": "gave-marks-up",
    "digest pause": "paused-digests",
    "digest resolve": "dropped-mails",
    "digest resume": "resumed-digests",
    "digest send": "sent-issue",
    "subscribers import": "SubscriberImported",
    "subscribers reinstate": "SubscriberReinstated",
    "subscribers export": "DataRequested",
    "subscribers erase": "PersonErased",
    "person export": "DataRequested",
    "person erase": "PersonErased",
    "visitors erase": "PersonErased",
    "mail waive": "waived-mail-check",
    "voters void": "CorrectionRecorded",
    "voters reinstate": "CorrectionRecorded",
    "puzzle on": "switched-puzzle-on",
    "puzzle off": "switched-puzzle-off",
    "webhooks add": "added-webhook",
    "webhooks off": "turned-webhook-off",
    "webhooks on": "turned-webhook-on",
    "webhooks replay": "replayed-webhook",
    "webhooks rotate": "rotated-secret",
    "webhooks remove": "removed-webhook",
    "operators end": "ended-session",
    "keys rewrap": "rewraps-keys",
    "proof witness add": "added-witness",
    "proof witness remove": "removed-witness",
}
"""The commands that leave a line, each with its type: the tests below run them all."""

LEAVES_ELSEWHERE: Final = {
    "quarantine drop": ("EventDropped", "cli/test_quarantine.py"),
    "integrity void": ("CohortDecided", "cli/test_integrity.py"),
    "integrity dismiss": ("CohortDecided", "cli/test_integrity.py"),
    "integrity watch": ("CohortDecided", "cli/test_integrity.py"),
    "integrity undo": ("CohortDecided", "cli/test_integrity.py"),
    "proof key": ("LogKeyAdded", "proof/test_recovery.py"),
    "proof restart": ("LogRestarted", "proof/test_recovery.py"),
    "proof resume": ("resumed-signing", "proof/test_recovery.py"),
    "events archive": ("archived-part", "archive/test_commands.py"),
    "events unarchive": ("unarchived-part", "archive/test_commands.py"),
    "events import": ("imported-log", "cli/test_events_transfer.py"),
}
"""Those that need more than a small site, each with the test that looks for its line."""


def all_commands() -> Iterator[str]:
    """Yield every command that does something."""
    context = click.Context(commands)

    def below(group: click.Group, path: str) -> Iterator[str]:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from below(command, f"{path}{name} ")
            else:
                yield f"{path}{name}"

    return below(commands, "")


def test_of_every_command_it_is_said_what_it_leaves() -> None:
    """Each command is in one of the four lists, each type has words, and a test that is named looks for the type."""
    listed = [*READS, *LEAVES_NONE, *LEAVES, *LEAVES_ELSEWHERE]
    assert sorted(listed) == sorted(all_commands())
    assert {*LEAVES.values(), *(type_ for type_, _ in LEAVES_ELSEWHERE.values())} <= DEEDS.keys()
    for type_, file in LEAVES_ELSEWHERE.values():
        assert type_ in (Path(__file__).parent.parent / file).read_text(), (type_, file)


class Ann:
    """An operator at a shell who says her name; each command is expected to leave its line, and none beside it."""

    def __init__(self, shell: Shell, database: Any) -> None:
        self._shell = shell
        self._database = database
        self.done: set[str] = set()

    async def __call__(self, command: str, *words: str, leaves: str | None = None) -> Ran:
        """Run a command with these words, and expect the line that it leaves."""
        before = await deeds_of(self._database, "shell:ann")
        ran = self._shell(*command.split(), *words, status=0, BALLOTPRESS_OPERATOR="ann")
        new = (await deeds_of(self._database, "shell:ann"))[: -len(before) or None]
        expected = leaves or LEAVES[command]
        assert expected in new, (command, new)
        assert expected[0].isupper() or new == [expected], (command, new)
        self.done.add(command)
        return ran

    async def leaves_none(self, *words: str) -> None:
        """Run a command that has nothing to do, and expect no line."""
        before = await deeds_of(self._database, "shell:ann")
        self._shell(*words, status=0, BALLOTPRESS_OPERATOR="ann")
        assert await deeds_of(self._database, "shell:ann") == before


@pytest.mark.server
async def test_each_command_that_changes_something_leaves_its_line(
    shell: Shell,
    connection: Any,
    dsn: str,
    committer: Committer,
    catalog_file: Path,
    tmp_path: Path,
    vote: Vote,
    follow: Follow,
) -> None:
    """Whatever it is about: with the name that was given, once, and in words."""
    ann = Ann(shell, connection)
    await ann("catalog import", str(catalog_file))
    await _about_votes(ann, vote, follow)
    await _about_webhooks(ann)
    await _about_readers(ann, connection, committer, tmp_path, follow)
    await _about_issues(ann, connection, tmp_path)
    await Sessions(connection, settings(dsn, "", operator_tokens=(ANN,))).begin_by_token(fresh_id(), fresh_id(), ANN, VISIT)
    await ann("operators end", "--all")
    witness = Witness()
    await ann("proof witness add", str(witness.verifier), "https://witness.example")
    await ann("proof witness remove", witness.verifier.name)
    await ann("keys rewrap")
    await ann("replay", "bookmarks", "--pause", "0", "--keep-previous")
    await ann("replay", "--rollback", "bookmarks", leaves="rolled-view-back")
    assert ann.done == LEAVES.keys()


async def _about_votes(ann: Ann, vote: Vote, follow: Follow) -> None:
    (voter,) = await vote("alpha", ["ship"])
    await follow()
    await ann("voters void", voter, "--reason", "one hand")
    await ann("voters reinstate", voter, "--reason", "two hands")
    await ann("puzzle on", "alpha")
    await ann("puzzle off", "alpha")
    await ann("visitors erase", voter, "--yes")


async def _about_webhooks(ann: Ann) -> None:
    made = await ann("webhooks add", "https://hooks.example/as-good-as-a-secret", "--json")
    id_ = made.json()["webhook"]["id"]
    await ann("webhooks off", id_, "--reason", "moving")
    await ann("webhooks on", id_)
    await ann("webhooks replay", id_, "--from", "1")
    await ann("webhooks rotate", id_)
    await ann("webhooks remove", id_, "--yes")


async def _about_readers(ann: Ann, connection: Any, committer: Committer, folder: Path, follow: Follow) -> None:
    file = folder / "readers.csv"
    file.write_text("\n".join(["email", *(f"{name}@example.com" for name in ("ada", "bea", "cid"))]))
    await ann("subscribers import", str(file), "--proof", "by hand in 2025")
    await follow()
    await ann("subscribers export", "ada@example.com")
    await ann("person export", "ada@example.com")
    await ann("subscribers erase", "ada@example.com", "--yes")
    await ann("person erase", "bea@example.com", "--yes")
    await follow()
    cid = await connection.fetchval(named("select subscriber from {subscribers}.subscribers where status = 'confirmed'"))
    await committer.submit(SuppressSubscriber(cid, "hard bounce"))
    await ann("subscribers reinstate", "cid@example.com", "--reason", "a full mailbox")
    await follow()


async def _about_issues(ann: Ann, connection: Any, folder: Path) -> None:
    await ann("digest send", "--now", "--yes")
    doubted = "update newsletter.mails set state = 'uncertain', reason = 'no answer', settled_at = now()"
    await connection.execute(doubted)
    await ann("digest resolve", "1", "--uncertain", "resend", leaves="resent-mails")
    await connection.execute("update newsletter.mails set state = 'rejected', reason = 'refused, about us (5.7.1)'")
    await ann("digest resolve", "1", "--refused", "resend", leaves="retried-mails")
    await connection.execute(doubted)
    reader = await connection.fetchval("select reader from newsletter.mails where issue = 1 limit 1")
    (folder / "relay.log").write_text(f"<issue-1.{reader}@example.com>\n")
    await ann("digest resolve", "1", "--by-log", str(folder / "relay.log"), leaves="settled-by-record")
    await ann.leaves_none("digest", "resolve", "1", "--by-log", str(folder / "relay.log"))
    await connection.execute(doubted)
    await ann("digest resolve", "1", "--uncertain", "drop")
    await ann("digest cancel", "1", "--yes")
    await ann("digest pause")
    await ann("digest resume")
    await connection.execute(
        "insert into newsletter.holds (provider, refused, held_for, held_at, probe_at)"
        " values ('google', 10, 'no', now(), now())"
    )
    await ann("digest resume", "--provider", "google", leaves="resumed-hold")
    await ann("digest marks-lost", "--yes")
    await ann("mail waive", "--reason", "a trial")
    await ann("mail waive", "--undo", leaves="took-waiver-back")
